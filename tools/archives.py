"""What must hold of the wheel and the sdist of a package before anybody gets them.

``problems`` compares the two with the folder that they were made from, file by file: what
is in a package and not in its archive is missing, what is in the archive and not in the
package was not meant to go out. It reads and never builds; ``make_dist.py`` does that.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.parser import Parser
from typing import TYPE_CHECKING

from release import CORE, packages, pin, project, version

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

NO_PLACE = re.compile(
    r"(^|/)(tests?|benchmarks?|examples|docs|__pycache__|\.[^/]+|[^/]+\.py[cod])(/|$)"
)
"""Paths that no package has for good, whatever its folder holds."""

RELATIVE = re.compile(r"\]\((?!https?://|mailto:|#)([^)\s]+)")
"""A link or an image of a README that leads nowhere on the index."""

# hatchling puts git's list of what is no source into an sdist that is made in a clone.
ALLOWED = {".gitignore"}


@dataclass
class Package:
    """A package as it is in the repository: what its archives must be made of.

    Attributes:
        files: What its folder holds, each by its path there; what git does not know is none of it.
        siblings: The other packages.
    """

    name: str
    version: str
    files: Mapping[str, bytes]
    siblings: tuple[str, ...]
    licence: bytes
    urls: Mapping[str, str] = field(default_factory=dict[str, str])
    python: str = ""
    entry_points: bool = False

    @property
    def stem(self) -> str:
        """What the names of its archives start with."""
        return f"{self.name.replace('-', '_')}-{self.version}"

    @property
    def wheel(self) -> str:
        return f"{self.stem}-py3-none-any.whl"

    @property
    def sdist(self) -> str:
        return f"{self.stem}.tar.gz"

    @property
    def modules(self) -> dict[str, bytes]:
        """What is installed: each file of ``src``, by its path below that."""
        source = "src/"
        return {
            path.removeprefix(source): data
            for path, data in self.files.items()
            if path.startswith(source)
        }

    @property
    def imported(self) -> set[str]:
        """The names under which it is imported."""
        return {path.partition("/")[0] for path in self.modules}


def read_packages(root: Path, known: set[str] | None) -> list[Package]:
    """The packages of the repository in ``root``.

    Args:
        root: Its folder.
        known: The files that git knows, by their paths in ``root``; None where there is no
            git, and every file but caches is taken.
    """
    folders = packages(root)
    number = version(root)
    licence = (root / "LICENSE").read_bytes()
    return [
        Package(
            name=name,
            version=number,
            files=dict(_files(root, folder, known)),
            siblings=tuple(other for other in folders if other != name),
            licence=licence,
            urls=project(folder).get("urls", {}),
            python=project(folder)["requires-python"],
            entry_points="entry-points" in project(folder),
        )
        for name, folder in folders.items()
    ]


def _files(root: Path, folder: Path, known: set[str] | None) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).as_posix()
        if path.is_file() and (
            not NO_PLACE.search(inside)
            if known is None
            else path.relative_to(root).as_posix() in known
        ):
            yield inside, path.read_bytes()


def problems(package: Package, folder: Path) -> Iterator[str]:
    """What is wrong with the wheel and the sdist of ``package`` in ``folder``, a line each."""
    wheel, sdist = folder / package.wheel, folder / package.sdist
    if absent := [path.name for path in (wheel, sdist) if not path.is_file()]:
        yield from (f"{name} is not there" for name in absent)
        return
    in_wheel, in_sdist = read_wheel(wheel), read_sdist(sdist)
    info = f"{package.stem}.dist-info/"
    described = in_wheel.pop(f"{info}METADATA", b"")
    written = {f"{info}WHEEL", f"{info}RECORD"}
    if package.entry_points:
        written.add(f"{info}entry_points.txt")
    licence = f"{info}licenses/LICENSE"
    for missing in sorted(written - in_wheel.keys()):
        yield f"{wheel.name} lacks {missing}"
    inside = {path: data for path, data in in_wheel.items() if path not in written}
    yield from _differences(wheel.name, {**package.modules, licence: package.licence}, inside)

    top = f"{package.stem}/"
    if stray := sorted(path for path in in_sdist if not path.startswith(top)):
        yield f"{sdist.name} unpacks {stray[0]} beside its folder"
    inside = {path.removeprefix(top): data for path, data in in_sdist.items()}
    repeated = inside.pop("PKG-INFO", b"")
    inside = {path: data for path, data in inside.items() if path not in ALLOWED}
    yield from _differences(sdist.name, {**package.files, "LICENSE": package.licence}, inside)

    if repeated != described:
        yield f"{sdist.name} and {wheel.name} describe themselves differently"
    for path in sorted(package.modules):
        if NO_PLACE.search(path):
            yield f"{package.name}: {path} has no place in a package"
    for name in sorted(package.imported):
        if f"{name}/py.typed" not in in_wheel:
            yield f"{wheel.name}: without {name}/py.typed no checker sees the types of {name}"
    yield from (f"{wheel.name}: {wrong}" for wrong in _wrong(package, described.decode()))


def _differences(
    name: str, wanted: Mapping[str, bytes], there: Mapping[str, bytes]
) -> Iterator[str]:
    yield from (f"{name} lacks {path}" for path in sorted(wanted.keys() - there.keys()))
    yield from (f"{name} has {path}" for path in sorted(there.keys() - wanted.keys()))
    for path in sorted(wanted.keys() & there.keys()):
        if wanted[path] != there[path]:
            yield f"{name}: {path} is not the one of the repository"


def _wrong(package: Package, described: str) -> Iterator[str]:
    """What its metadata say that they must not, and the reverse."""
    metadata: Message = Parser().parsestr(described)
    wanted = {
        "Name": [package.name],
        "Version": [package.version],
        "License-Expression": ["MIT"],
        "License-File": ["LICENSE"],
        "Requires-Python": [package.python],
        "Description-Content-Type": ["text/markdown"],
        "Project-URL": [f"{label}, {url}" for label, url in package.urls.items()],
    }
    for key, values in wanted.items():
        if (said := metadata.get_all(key, [])) != values:
            yield f"{key} is {said}, not {values}"
    classifiers = metadata.get_all("Classifier", [])
    for classifier in ("Typed", "Python :: 3.11", "Development Status"):
        if not any(classifier in each for each in classifiers):
            yield f"no classifier tells of {classifier}"
    readme = str(metadata.get_payload())
    if readme.strip() != package.files["README.md"].decode().strip():
        yield "its description is not the README"
    for link in RELATIVE.findall(readme):
        yield f"{link} in the README leads nowhere on the index"
    asked = [each.replace(" ", "") for each in metadata.get_all("Requires-Dist", [])]
    yield from _family(package, [each for each in asked if each.startswith("wsrooms-")])


def _family(package: Package, asked: list[str]) -> Iterator[str]:
    """Whether the packages ask for each other as they must: the core by extras."""
    low, high = pin(package.version).split(",")
    if package.name != CORE:
        wanted = {f"{CORE}{high},{low}"}
    else:
        wanted = {
            f"{sibling}{high},{low};extra=='{extra}'"
            for sibling in package.siblings
            for extra in (sibling.removeprefix("wsrooms-"), "all")
        }
    yield from (f"it does not ask for {each}" for each in sorted(wanted - set(asked)))
    yield from (f"it asks for {each}" for each in sorted(set(asked) - wanted))


def trespasses(found: list[Package]) -> Iterator[str]:
    """Names under which more than one of the packages would be imported."""
    owners: dict[str, str] = {}
    for package in found:
        for name in sorted(package.imported):
            if (owner := owners.setdefault(name, package.name)) != package.name:
                yield f"{package.name} installs into {name}, which is {owner}'s"


def read_wheel(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read_sdist(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        members = [member for member in archive if not member.isdir()]
        read = {member.name: archive.extractfile(member) for member in members}
        return {name: file.read() if file else b"" for name, file in read.items()}
