"""Raising the version: all places, or none; and what still keeps a release back."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
from pathlib import Path

import make_dist
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
EXAMPLE = "examples/fleet_project/pyproject.toml"
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
    """The packages and the example as they are, with a changelog that has something new."""
    for name, folder in packages(ROOT).items():
        there = tmp_path / "packages" / name
        there.mkdir(parents=True)
        shutil.copy(folder / "pyproject.toml", there)
        shutil.copy(folder / "README.md", there)
        file = tmp_path / version_file(folder).relative_to(ROOT)
        file.parent.mkdir(parents=True)
        file.write_text(f'"""Where."""\n\n__version__ = "{version(ROOT)}"\n', "utf-8")
    (tmp_path / EXAMPLE).parent.mkdir(parents=True)
    shutil.copy(ROOT / EXAMPLE, tmp_path / EXAMPLE)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, "utf-8")
    return tmp_path


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(root), *words], check=True)


def committed(root: Path) -> None:
    name = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.com")
    for words in (("init", "--quiet"), ("add", "."), (*name, "commit", "--quiet", "-m", "All")):
        git(root, *words)


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
    assert len(written) == 2 + 2 * len(packages(copy))
    settings = "".join(
        (folder / "pyproject.toml").read_text() for folder in packages(copy).values()
    )
    assert settings.count(f'"wsrooms-core{pin(new)}"') == len(packages(copy)) - 1
    for name in packages(copy).keys() - {"wsrooms-core"}:
        assert f'= ["{name}{pin(new)}"]' in settings
    assert pin(old) not in settings
    assert f'"wsrooms-core[redis]{pin(new)}"' in (copy / EXAMPLE).read_text("utf-8")


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


def test_what_ends_the_line_of_a_heading_keeps_no_version_undated(copy: Path) -> None:
    (copy / "CHANGELOG.md").write_text(CHANGELOG.replace("[Unreleased]", "[Unreleased] "), "utf-8")
    new = raised(copy, minor=1)
    set_version(copy, new, TODAY)
    changelog = (copy / "CHANGELOG.md").read_text("utf-8")
    assert entry(changelog, new) == "### Added\n\n- A new thing."
    assert entry(changelog, "Unreleased") == ""


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


def ready(root: Path) -> str:
    """Make ``root`` a clone that may go out, and return the tag that it lacks."""
    set_version(root, raised(root, patch=1), TODAY)
    with_urls(root)
    committed(root)
    return f"v{version(root)}"


def test_nothing_keeps_back_what_is_dated_committed_and_has_addresses(copy: Path) -> None:
    tag = ready(copy)
    assert obstacles(copy) == []
    git(copy, "tag", tag)
    assert obstacles(copy) == obstacles(copy, tagged=True) == []


def test_what_came_after_the_version_is_not_left_untold(copy: Path) -> None:
    ready(copy)
    changelog = copy / "CHANGELOG.md"
    text = changelog.read_text("utf-8")
    changelog.write_text(text.replace("[Unreleased]\n", "[Unreleased]\n\n- More.\n"), "utf-8")
    committed(copy)
    [told] = obstacles(copy)
    assert told.startswith("CHANGELOG.md has something under Unreleased that would go out untold")


def archives_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Why ``make dist-check`` looks at no archive."""
    monkeypatch.setattr(make_dist, "ROOT", root)
    monkeypatch.setattr(make_dist, "check", lambda *_: pytest.fail("it has looked at them"))
    with pytest.raises(SystemExit) as ended:
        make_dist.main(["--check", "--into", str(root)])
    return str(ended.value)


def test_archives_are_checked_only_where_the_tag_is_and_nothing_has_changed(
    copy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tag, empty_folder = ready(copy), tmp_path_factory.mktemp("dist")
    assert archives_are_refused(copy, monkeypatch).startswith(f"there is no tag {tag}:")
    git(copy, "tag", tag)
    (copy / "new.py").write_text("")
    assert archives_are_refused(copy, monkeypatch) == (
        "what is not committed would go out, or would not:\n?? new.py"
    )
    committed(copy)
    assert archives_are_refused(copy, monkeypatch).startswith(f"the tag {tag} is on another commit")
    git(copy, "checkout", "--quiet", tag)
    monkeypatch.setattr(make_dist, "check", lambda *_: [])
    make_dist.main(["--check", "--into", str(empty_folder)])


def test_archives_that_are_built_say_of_which_commit(copy: Path) -> None:
    assert make_dist.commit_of(copy) == ""
    ready(copy)
    assert re.fullmatch("[0-9a-f]{7,}", clean := make_dist.commit_of(copy))
    (copy / "new.py").write_text("")
    assert make_dist.commit_of(copy) == f"{clean}, changed: not for an upload"


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
    tag = ready(copy)
    git(copy, "tag", tag)
    (copy / "new.py").write_text("")
    committed(copy)
    assert obstacles(copy) == [
        f"the tag {tag} is on another commit: raise the version, or check {tag} out"
    ]


def test_where_git_knows_nothing_a_release_cannot_be_judged(copy: Path) -> None:
    with pytest.raises(Refused, match="git status"):
        obstacles(copy)
