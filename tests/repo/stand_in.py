"""Builds the packages that stand for the real ones in test_bootstrap.py, in which it is copied.

As hatchling does it builds a wheel that leads to ``src``, but it needs nothing itself.
"""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path


def build_editable(folder: str, *_: object) -> str:
    """Make the wheel in ``folder``; returns its name. Installers call this (PEP 660)."""
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    name = project["name"].replace("-", "_")
    info = f"{name}-{project['version']}.dist-info"
    about = [f"Name: {project['name']}", f"Version: {project['version']}"]
    about += [f"Requires-Dist: {each}" for each in project["dependencies"]]
    points = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
    ]
    files = {
        f"{name}.pth": [str(Path("src").resolve())],
        f"{info}/METADATA": ["Metadata-Version: 2.1", *about],
        f"{info}/WHEEL": ["Wheel-Version: 1.0", "Root-Is-Purelib: true", "Tag: py3-none-any"],
        f"{info}/entry_points.txt": points,
    }
    files[f"{info}/RECORD"] = [f"{path},," for path in (*files, f"{info}/RECORD")]
    wheel = f"{name}-{project['version']}-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder, wheel), "w") as archive:
        for path, lines in files.items():
            archive.writestr(path, "".join(f"{line}\n" for line in lines))
    return wheel
