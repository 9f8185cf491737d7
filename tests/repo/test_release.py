"""Raising the version: all places, or none; and what still keeps a release back."""

from __future__ import annotations

import datetime
import shutil
import subprocess
from pathlib import Path

import pytest
from release import (
    Refused,
    entry,
    obstacles,
    packages,
    parsed,
    pin,
    set_version,
    version,
    version_file,
)

ROOT = Path(__file__).resolve().parents[2]
TODAY = datetime.date(2031, 2, 3)
CHANGELOG = """\
# Changelog

## [Unreleased]

### Added

- A new thing.

## [0.0.1] - 2030-01-01

- The first thing.
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages as they are, with version 0.1.0 and a changelog that has something new."""
    for name, folder in packages(ROOT).items():
        there = tmp_path / "packages" / name
        there.mkdir(parents=True)
        shutil.copy(folder / "pyproject.toml", there)
        shutil.copy(folder / "README.md", there)
        file = tmp_path / version_file(folder).relative_to(ROOT)
        file.parent.mkdir(parents=True)
        file.write_text(f'"""Where."""\n\n__version__ = "{version(ROOT)}"\n', "utf-8")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, "utf-8")
    return tmp_path


def committed(root: Path) -> None:
    name = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.com")
    for words in (("init", "--quiet"), ("add", "."), (*name, "commit", "--quiet", "-m", "All")):
        subprocess.run(["git", "-C", str(root), *words], check=True)


def texts(root: Path) -> dict[Path, str]:
    return {path: path.read_text("utf-8") for path in root.rglob("*") if path.is_file()}


def raised(root: Path, *, minor: int = 0, patch: int = 0) -> str:
    """A version above that of ``root``."""
    now = parsed(version(root))
    return f"{now[0]}.{now[1] + minor}.{patch if minor else now[2] + patch}"


def test_a_new_minor_is_written_wherever_the_version_stands(copy: Path) -> None:
    old, new = version(copy), raised(copy, minor=1)
    written = set_version(copy, new, TODAY)
    assert version(copy) == new
    assert len(written) == 1 + 2 * len(packages(copy))
    settings = "".join(
        (folder / "pyproject.toml").read_text() for folder in packages(copy).values()
    )
    assert settings.count(f'"wsrooms-core{pin(new)}"') == len(packages(copy)) - 1
    for name in packages(copy).keys() - {"wsrooms-core"}:
        assert f'= ["{name}{pin(new)}"]' in settings
    assert pin(old) not in settings


def test_a_patch_leaves_the_ranges_as_they_are(copy: Path) -> None:
    new = raised(copy, patch=1)
    written = set_version(copy, new, TODAY)
    assert {path.name for path in written} == {"_version.py", "CHANGELOG.md"}
    assert pin(new) == pin(version(ROOT))


def test_what_was_unreleased_becomes_the_entry_of_the_version(copy: Path) -> None:
    new = raised(copy, minor=1)
    set_version(copy, new, TODAY)
    changelog = (copy / "CHANGELOG.md").read_text("utf-8")
    assert f"\n## [Unreleased]\n\n## [{new}] - 2031-02-03\n\n### Added\n" in changelog
    assert entry(changelog, new) == "### Added\n\n- A new thing."
    assert entry(changelog, "Unreleased") == ""
    assert entry(changelog, "0.0.1") == "- The first thing."
    assert entry(changelog, "0.0.2") is None


def test_the_present_version_may_be_dated_where_it_is_not_out_yet(copy: Path) -> None:
    assert set_version(copy, version(copy), TODAY) == [copy / "CHANGELOG.md"]


@pytest.mark.parametrize(
    ("number", "changelog", "told"),
    [
        ("0.0.0", CHANGELOG, "is below"),
        ("1.0", CHANGELOG, "three numbers"),
        ("1.0.0rc1", CHANGELOG, "three numbers"),
        ("1.00.0", CHANGELOG, "three numbers"),
        ("v1.0.0", CHANGELOG, "three numbers"),
        (
            "9.0.0",
            CHANGELOG.replace("### Added\n\n- A new thing.\n", ""),
            "nothing under Unreleased",
        ),
        ("9.0.0", CHANGELOG.replace("0.0.1", "9.0.0"), "that version is out"),
    ],
)
def test_a_refused_version_changes_nothing(
    copy: Path, number: str, changelog: str, told: str
) -> None:
    (copy / "CHANGELOG.md").write_text(changelog, "utf-8")
    before = texts(copy)
    with pytest.raises(Refused, match=told):
        set_version(copy, number, TODAY)
    assert texts(copy) == before


def test_packages_of_several_versions_are_named(copy: Path) -> None:
    file = version_file(packages(copy)["wsrooms-nats"])
    file.write_text('__version__ = "0.0.9"\n', "utf-8")
    with pytest.raises(Refused, match=r"wsrooms-nats 0\.0\.9, wsrooms-redis "):
        version(copy)


def with_urls(root: Path) -> None:
    table = (
        '\n[project.urls]\nChangelog = "https://example.com"\n'
        'Documentation = "https://example.com"\nSource = "https://example.com"\n'
    )
    for folder in packages(root).values():
        settings = folder / "pyproject.toml"
        described = settings.read_text("utf-8").partition("\n[project.urls]")[0]
        settings.write_text(described + table, "utf-8")


def test_nothing_keeps_back_what_is_dated_committed_and_has_addresses(copy: Path) -> None:
    set_version(copy, raised(copy, patch=1), TODAY)
    with_urls(copy)
    committed(copy)
    assert obstacles(copy) == []
    subprocess.run(["git", "-C", str(copy), "tag", f"v{version(copy)}"], check=True)
    assert obstacles(copy) == []


def test_a_release_is_kept_back_by_what_is_open(copy: Path) -> None:
    committed(copy)
    (copy / "new.py").write_text("")
    told = "\n".join(obstacles(copy))
    assert f"no entry for {version(copy)}: make version VERSION=" in told
    assert "what is not committed would go out, or would not:\n?? new.py" in told


def test_a_release_is_kept_back_where_nobody_finds_the_way_from_the_index(copy: Path) -> None:
    settings = packages(copy)["wsrooms-kafka"] / "pyproject.toml"
    with_urls(copy)
    settings.write_text(settings.read_text("utf-8").replace("Source = ", "Code = "), "utf-8")
    committed(copy)
    [told] = [line for line in obstacles(copy) if "project.urls" in line]
    assert told.startswith("packages/wsrooms-kafka/pyproject.toml: [project.urls] lacks Source,")


def test_a_tag_does_not_move(copy: Path) -> None:
    set_version(copy, raised(copy, patch=1), TODAY)
    with_urls(copy)
    committed(copy)
    subprocess.run(["git", "-C", str(copy), "tag", f"v{version(copy)}"], check=True)
    (copy / "new.py").write_text("")
    committed(copy)
    assert obstacles(copy) == [f"the tag v{version(copy)} is on another commit: raise the version"]


def test_where_git_knows_nothing_a_release_cannot_be_judged(copy: Path) -> None:
    with pytest.raises(Refused, match="git status"):
        obstacles(copy)
