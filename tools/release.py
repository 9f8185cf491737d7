"""The one version of all packages: where it stands, how it is raised, whether it may go out.

    python tools/release.py 0.2.0      make version VERSION=0.2.0
    python tools/release.py --check    make release-check

Each package says its version itself, in its ``_version.py``: an archive of it has to hold
it. The packages ask for each other by ranges of it, as the projects of ``examples`` ask for
the core, and the changelog dates it. The first
form writes all of these or, where something is wrong, nothing; the second says what is
still between this working tree and its release.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CORE = "wsrooms-core"
URLS = {"Changelog", "Documentation", "Source"}
"""Where somebody who has found a package on the index goes next."""

VERSION = re.compile(r'(?<=^__version__ = ")[^"]+(?="$)', re.MULTILINE)
PIN = re.compile(r'(?<=")(wsrooms-\w+(?:\[[\w,-]+\])?)>=[\d.]+,<[\d.]+(?=")')
UNRELEASED = "Unreleased"


class Refused(Exception):
    """Something that must not become a release; the text says what, and what to do."""


def packages(root: Path) -> dict[str, Path]:
    """The folder of each package, by its name."""
    return {
        path.parent.name: path.parent for path in sorted(root.glob("packages/*/pyproject.toml"))
    }


def project(folder: Path) -> dict[str, Any]:
    """What the package in ``folder`` says of itself."""
    table: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    described: dict[str, Any] = table["project"]
    return described


def version_file(folder: Path) -> Path:
    [file] = folder.glob("src/*/_version.py")
    return file


def version(root: Path) -> str:
    """The version of all packages.

    Raises:
        Refused: They have several.
    """
    found: dict[str, str] = {}
    for name, folder in packages(root).items():
        [found[name]] = VERSION.findall(version_file(folder).read_text("utf-8"))
    if len(set(found.values())) != 1:
        each = ", ".join(f"{name} {number}" for name, number in found.items())
        raise Refused(f"the packages have several versions: {each}")
    return found[CORE]


def parsed(number: str) -> tuple[int, int, int]:
    """``number`` as three integers.

    Raises:
        Refused: It is none. The ranges of the packages would not let a pre-release in.
    """
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", number):
        raise Refused(f"{number!r} is no version of ours: it is three numbers, such as 0.2.0")
    major, minor, patch = map(int, number.split("."))
    return major, minor, patch


def pin(number: str) -> str:
    """What one package asks of another that has the version ``number``: the same minor."""
    major, minor, _ = parsed(number)
    return f">={major}.{minor},<{major}.{minor + 1}"


def entry(changelog: str, heading: str) -> str | None:
    """What stands below ``## [heading]``, without the date; None where there is no such heading."""
    found = _section(changelog, heading)
    return found and found[1].strip()


def _section(changelog: str, heading: str) -> re.Match[str] | None:
    """What ``## [heading]`` heads; its group is all below that line."""
    return re.search(
        rf"^## \[{re.escape(heading)}\][^\n]*\n(.*?)(?=^## |\Z)",
        changelog,
        re.MULTILINE | re.DOTALL,
    )


def dated(changelog: str, number: str, today: datetime.date) -> str:
    """``changelog`` with what was unreleased as the entry of ``number``.

    Raises:
        Refused: It has that entry already, or nothing is unreleased.
    """
    if entry(changelog, number) is not None:
        raise Refused(f"CHANGELOG.md has an entry for {number}: that version is out")
    found = _section(changelog, UNRELEASED)
    if not found or not found[1].strip():
        raise Refused("CHANGELOG.md has nothing under Unreleased: what would the release be?")
    above, below = changelog[: found.start(1)], changelog[found.start(1) :]
    return f"{above}\n## [{number}] - {today}\n{below}"


def set_version(root: Path, number: str, today: datetime.date) -> list[Path]:
    """Make ``number`` the version of all packages, and return the files that were written.

    Raises:
        Refused: It is no version, or below the present one, or the changelog is not ready.
            Nothing was written.
    """
    if parsed(number) < parsed(version(root)):
        raise Refused(f"{number} is below {version(root)}: a version that is out stays out")
    changelog = root / "CHANGELOG.md"
    texts = {changelog: dated(changelog.read_text("utf-8"), number, today)}
    for folder in packages(root).values():
        file = version_file(folder)
        texts[file] = VERSION.sub(number, file.read_text("utf-8"))
    for kind in ("packages", "examples"):
        for settings in root.glob(f"{kind}/*/pyproject.toml"):
            texts[settings] = PIN.sub(rf"\1{pin(number)}", settings.read_text("utf-8"))
    written = [file for file, text in texts.items() if file.read_text("utf-8") != text]
    for file in written:
        file.write_text(texts[file], "utf-8")
    return written


def obstacles(root: Path, *, tagged: bool = False) -> list[str]:
    """What is between the working tree of ``root`` and the release of its version.

    Args:
        root: A clone of the repository.
        tagged: Whether the tag must be there. If not, it only must not be on another commit.
    """
    number = version(root)
    found: list[str] = []
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    if not entry(changelog, number):
        found.append(f"CHANGELOG.md has no entry for {number}: make version VERSION={number}")
    elif entry(changelog, UNRELEASED):
        found.append(
            f"CHANGELOG.md has something under Unreleased that would go out untold: it belongs "
            f"to the entry for {number}, or to a later version"
        )
    for name, folder in packages(root).items():
        if missing := sorted(URLS - project(folder).get("urls", {}).keys()):
            found.append(
                f"packages/{name}/pyproject.toml: [project.urls] lacks {', '.join(missing)}, "
                "so that nobody finds the way here from the index"
            )
    if changed := git(root, "status", "--porcelain"):
        found.append(f"what is not committed would go out, or would not:\n{changed}")
    tag = f"v{number}"
    if not git(root, "tag", "--list", tag):
        if tagged:
            found.append(f"there is no tag {tag}: nobody could tell what these archives are of")
    elif tag not in git(root, "tag", "--points-at").split():
        found.append(f"the tag {tag} is on another commit: raise the version, or check {tag} out")
    return found


def git(root: Path, *arguments: str) -> str:
    """What git answers.

    Raises:
        Refused: It failed.
    """
    command = ["git", "-C", str(root), *arguments]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode:
        raise Refused(f"git {' '.join(arguments)}: {asked.stderr.strip()}")
    return asked.stdout.rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("version", nargs="?")
    what.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    try:
        if not arguments.check:
            today = datetime.datetime.now(datetime.UTC).date()
            for file in set_version(ROOT, arguments.version, today):
                print(file.relative_to(ROOT))
        elif found := obstacles(ROOT):
            sys.exit("\n".join(found))
        else:
            print(f"{version(ROOT)} may go out")
    except Refused as refused:
        sys.exit(str(refused))


if __name__ == "__main__":
    main()
