"""Which environments `make combinations` makes; what comes of them only it can tell."""

from __future__ import annotations

from itertools import chain, combinations
from pathlib import Path

import pytest
from combinations import Archives, builders, is_there, lowest, main_python, trials
from release import CORE

ARCHIVES = Archives(Path("dist"), "0.3.1")
EVERY = ("kafka", "nats", "redis")
SETS = [set(each) for each in chain.from_iterable(combinations(EVERY, size) for size in range(4))]


def made(monkeypatch: pytest.MonkeyPatch, *others: str) -> dict[str, list[tuple[str, set[str]]]]:
    """The environments of each kind: which Python, which transports."""
    monkeypatch.setattr("combinations.pythons", lambda: {each: f"/{each}" for each in others})
    monkeypatch.setattr("combinations.minor_version", lambda _: "3.11")
    found: dict[str, list[tuple[str, set[str]]]] = {}
    for trial in trials(ARCHIVES, EVERY):
        found.setdefault(trial.kind, []).append((trial.python[0], set(trial.transports)))
    return found


def test_every_set_has_the_lowest_on_the_main_python_and_the_newest_on_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = made(monkeypatch, "3.11", "3.12", "3.13")
    assert found["lowest"] == [("3.11", each) for each in SETS]
    assert found["newest"] == [(python, each) for each in SETS for python in ("3.12", "3.13")]
    assert found["from sdists"] == [("3.11", set(EVERY))]


def test_the_only_python_has_the_lowest_and_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(monkeypatch)
    assert found["lowest"] == found["newest"] == [("3.11", each) for each in SETS]
    assert Path(main_python()).is_file()


def test_the_lowest_versions_are_those_of_what_is_installed() -> None:
    alone, with_redis = lowest([CORE]), lowest([CORE, "wsrooms-redis"])
    assert [line.partition("==")[0] for line in alone] == ["msgspec", "uvloop", "websockets"]
    assert {line.partition("==")[0] for line in set(with_redis) - set(alone)} == {
        "hiredis",
        "redis",
    }
    assert [line.partition("==")[0] for line in builders()] == ["hatchling"]


@pytest.mark.parametrize(
    ("limit", "holds"),
    [
        ("redis==5.0.1", True),
        ("redis==5.0.0", False),
        ("websockets==17", True),
        ("websockets==17.0.1", False),
        ("uvloop==0.21; platform_system != 'Windows'", True),
    ],
)
def test_a_limit_holds_where_that_version_is_there_or_nothing(limit: str, holds: bool) -> None:
    assert is_there(limit, {"redis": "5.0.1", "websockets": "17.0"}) is holds


def test_an_archive_is_asked_for_by_its_address() -> None:
    where = Path("dist").resolve().as_uri()
    assert ARCHIVES.wheel("wsrooms-redis") == (
        f"wsrooms-redis @ {where}/wsrooms_redis-0.3.1-py3-none-any.whl"
    )
    assert ARCHIVES.sdist(CORE) == f"wsrooms-core @ {where}/wsrooms_core-0.3.1.tar.gz"
