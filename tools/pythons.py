"""Finds the other Pythons of this machine: one ``VERSION=PATH`` a line, for each 3.x >= 3.11.

They are looked for on PATH and among pyenv's versions. A name on PATH proves nothing (it
may be a version manager's empty shim), so each is asked for its version.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ASK = (
    "import os, sys, sysconfig;"
    "sys.version_info >= (3, 11) and not sysconfig.get_config_var('Py_GIL_DISABLED')"
    " and sys.version_info.releaselevel == 'final'"
    " and print('%d.%d' % sys.version_info[:2], os.path.realpath(sys.executable))"
)


def candidates() -> Iterator[str]:
    for minor in range(11, 20):
        yield shutil.which(f"python3.{minor}") or ""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob("versions/3.*/bin/python3")))


def pythons() -> dict[str, str]:
    """One interpreter for each minor version, the one on PATH first."""
    found: dict[str, str] = {}
    for candidate in filter(None, candidates()):
        asked = subprocess.run([candidate, "-Ic", ASK], capture_output=True, text=True, check=False)
        if asked.returncode == 0 and asked.stdout:
            version, path = asked.stdout.strip().split(" ", 1)
            found.setdefault(version, path)
    return found


def minor_version(python: str) -> str:
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.check_output([python, "-Ic", ask], text=True).strip()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--other-than", metavar="PYTHON", required=True)
    skipped = minor_version(parser.parse_args().other_than)
    for version, path in sorted(pythons().items()):
        if version != skipped:
            print(f"{version}={path}")
