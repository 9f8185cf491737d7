"""Renews ``constraints.txt``: one version of everything that any group or extra may install.

    make constraints                                  the newest of everything
    make constraints ARGS="--upgrade-package ruff"    the newest of one, the rest as it is
    make check                                        fails if the file lacks a requirement

One resolution serves every platform and every supported Python. The file holds names,
versions and markers only: no index address, no path of the machine that made it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "constraints.txt"
HEADER = "# Compiled by `make constraints` for every platform, group and extra.\n"


def main(arguments: list[str]) -> None:
    """Check the file, or compile it anew."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    paths = sorted(ROOT.glob("packages/*/pyproject.toml"))
    packages = {path: tomllib.loads(path.read_text("utf-8"))["project"] for path in paths}
    if arguments == ["--check"]:
        check(groups, list(packages.values()))
        return
    command = [
        *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
        *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
        *("--all-extras", *(str(path.relative_to(ROOT)) for path in packages)),
        *(part for group in groups for part in ("--group", group)),
        *(part for package in packages.values() for part in ("--no-emit-package", package["name"])),
        *("--output-file", str(OUTPUT), *(arguments or ["--upgrade"])),
    ]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    OUTPUT.write_text(HEADER + OUTPUT.read_text("utf-8"), "utf-8")


def check(groups: dict[str, list[Any]], packages: list[dict[str, Any]]) -> None:
    """Fail unless every requirement of a group, package or extra has its version in the file."""
    entries = [entry for group in groups.values() for entry in group if isinstance(entry, str)]
    for package in packages:
        extras = package.get("optional-dependencies", {}).values()
        entries += [*package["dependencies"], *(entry for extra in extras for entry in extra)]
    wanted = {name_of(entry) for entry in entries} - {package["name"] for package in packages}
    there = {name_of(line) for line in OUTPUT.read_text("utf-8").splitlines()[1:]}
    if missing := wanted - there:
        sys.exit(f"constraints.txt lacks {', '.join(sorted(missing))}: run make constraints")


def name_of(requirement: str) -> str:
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(sys.argv[1:])
