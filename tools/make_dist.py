"""Builds the wheels and sdists of all packages into ``dist/``, and checks them.

    python tools/make_dist.py                   make dist
    python tools/make_dist.py --check           make dist-check: may those that are there go out?
    python tools/make_dist.py --into FOLDER     elsewhere

A folder is emptied of archives of ours before new ones come, and refused where anything
else is in it. ``--check`` is the last look before an upload: it compares with the files that
are here, so it refuses these unless they are those of the version's tag.

The same commit gives the same bytes, whoever builds and wherever: the time in the archives
is the commit's (or SOURCE_DATE_EPOCH), and the builder is the one that constraints.txt
names. That is checked too: each sdist is unpacked elsewhere and built there, and gives
itself and its wheel again. What else must hold is in ``archives.py``; that the index can
show it, twine says.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from archives import Package, problems, read_packages, trespasses
from release import ROOT, UNRELEASED, Refused, entry, obstacles, packages, version


def build(
    folders: Iterable[Path], into: Path, epoch: str, kinds: Sequence[str] = ("sdist", "wheel")
) -> None:
    """Build the archives of each of ``folders`` into ``into``."""
    variables = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    into = into.resolve()

    def one(folder: Path) -> None:
        targets = [word for kind in kinds for word in ("-t", kind)]
        built = subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-d", str(into), *targets],
            cwd=folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if built.returncode:
            raise Refused(f"{folder.name} cannot be built:\n{built.stdout}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, folders))


def emptied(folder: Path, names: Iterable[str]) -> None:
    """Make ``folder`` one without archives of the packages ``names``, of whatever version.

    Raises:
        Refused: Anything else is there. Nothing was removed.
    """
    if folder.exists() and not folder.is_dir():
        raise Refused(f"{folder} is no folder")
    stems = "|".join(names).replace("-", "_")
    ours = re.compile(rf"({stems})-\d[\d.]*(-py3-none-any\.whl|\.tar\.gz)")
    there = [path for path in folder.glob("*") if path.name != ".gitignore"]
    for path in sorted(there):
        if not (ours.fullmatch(path.name) and path.is_file()):
            raise Refused(
                f"{folder} has {path.name} in it, which is no archive of ours: "
                "name another folder, an empty one or a new one"
            )
    for path in there:
        path.unlink()


def time_of(root: Path) -> str:
    """The time that its archives bear, in seconds since 1970."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    # Without git, what hatchling takes: 2020-02-02.
    return _git(root, "log", "-1", "--format=%ct") or "1580601600"


def known_files(root: Path) -> set[str] | None:
    """The files that git knows in ``root``, or None where it is no clone."""
    listed = _git(root, "ls-files", "-z", "packages")
    return set(listed.split("\0")) if listed else None


def commit_of(root: Path) -> str:
    """Of which commit the archives are that are built now; nothing where git knows none."""
    commit = _git(root, "rev-parse", "--short", "HEAD")
    changed = _git(root, "status", "--porcelain")
    return f"{commit}, changed: not for an upload" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    """What git answers; nothing for a copy of the repository that is no clone."""
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def check(root: Path, folder: Path, epoch: str) -> Iterator[str]:
    """What is wrong with the archives in ``folder``, or lacks for them."""
    found = read_packages(root, known_files(root))
    yield from trespasses(found)
    for package in found:
        yield from problems(package, folder)
    wanted = {name for package in found for name in (package.wheel, package.sdist)}
    there = {path.name for path in folder.iterdir()} - {".gitignore"}
    yield from (f"{name} is of another version, or none of ours" for name in sorted(there - wanted))
    number, changelog = version(root), (root / "CHANGELOG.md").read_text("utf-8")
    if not (entry(changelog, number) or entry(changelog, UNRELEASED)):
        yield f"CHANGELOG.md tells nothing of {number}"
    if wanted <= there:
        yield from _not_repeated(found, folder, epoch)
        yield from _twine(sorted(folder / name for name in wanted))


def _not_repeated(found: list[Package], folder: Path, epoch: str) -> Iterator[str]:
    """Archives that are not built again by the sdists."""
    with tempfile.TemporaryDirectory() as name:
        elsewhere = Path(name)
        for package in found:
            with tarfile.open(folder / package.sdist) as archive:
                archive.extractall(elsewhere / "unpacked", filter="data")
        again = elsewhere / "dist"
        build((elsewhere / "unpacked" / package.stem for package in found), again, epoch)
        for package in found:
            for archive_name in (package.sdist, package.wheel):
                if digest(folder / archive_name) != digest(again / archive_name):
                    yield (
                        f"{archive_name} is another one when {package.sdist} is built, "
                        "or when this commit is"
                    )


def _twine(archives: list[Path]) -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "twine",
        "--no-color",
        "check",
        "--strict",
        *map(str, archives),
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode:
        yield f"twine check --strict:\n{said.stdout}{said.stderr}"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(given: Sequence[str] | None = None) -> None:
    """Build and check what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--into", type=Path, default=ROOT / "dist", metavar="FOLDER")
    arguments = parser.parse_args(given)
    folder: Path = arguments.into
    try:
        epoch, commit = time_of(ROOT), commit_of(ROOT)
        if not arguments.check:
            emptied(folder, packages(ROOT))
            build(packages(ROOT).values(), folder, epoch)
        elif not folder.is_dir():
            raise Refused(f"there is no {folder}: make dist builds it")
        elif untied := obstacles(ROOT, tagged=True):
            raise Refused("\n".join(untied))
        found = list(check(ROOT, folder, epoch))
    except Refused as refused:
        sys.exit(str(refused))
    if found:
        sys.exit("\n".join(found))
    for path in sorted(folder.iterdir()):
        print(f"{digest(path)}  {path.name}  {path.stat().st_size:,} bytes")
    if commit:
        print(f"of {commit}")


if __name__ == "__main__":
    main()
