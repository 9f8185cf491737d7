"""Prints the oldest versions that the given ``pyproject.toml`` files allow, as exact pins.

CI installs these and runs the core's tests: a floor that is too low fails there.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def floors(project: Path) -> list[str]:
    """The dependencies and extras of ``project`` with ``>=`` read as ``==``."""
    table = tomllib.loads(project.read_text("utf-8"))["project"]
    extras = table.get("optional-dependencies", {})
    requirements = [*table["dependencies"], *(r for extra in extras.values() for r in extra)]
    pinned = []
    for requirement in requirements:
        versions, *marker = requirement.split(";", 1)
        if versions.startswith("wsrooms-"):
            continue  # ours: the wheel just built
        if not re.search(r">=[\d.]+", versions):
            sys.exit(f"{project}: {requirement!r} has no floor")
        pinned.append(";".join([re.sub(r">=([\d.]+).*", r"==\1", versions), *marker]))
    return pinned


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(*floors(Path(argument)), sep="\n")
