"""Builds the wheels and sdists of all packages into ``dist/``, and checks them.

    python tools/make_dist.py                   make dist
    python tools/make_dist.py --check           make dist-check: those that are there
    python tools/make_dist.py --into FOLDER     elsewhere

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
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from archives import Package, problems, read_packages, trespasses
from release import ROOT, Refused, entry, packages, version


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
    if not (entry(changelog, number) or entry(changelog, "Unreleased")):
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--into", type=Path, default=ROOT / "dist", metavar="FOLDER")
    arguments = parser.parse_args()
    folder: Path = arguments.into
    try:
        epoch = time_of(ROOT)
        if not arguments.check:
            shutil.rmtree(folder, ignore_errors=True)
            build(packages(ROOT).values(), folder, epoch)
        if not folder.is_dir():
            raise Refused(f"there is no {folder}: make dist builds it")
        found = list(check(ROOT, folder, epoch))
    except Refused as refused:
        sys.exit(str(refused))
    if found:
        sys.exit("\n".join(found))
    for path in sorted(folder.iterdir()):
        print(f"{digest(path)}  {path.name}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
