"""Which environments `make combinations` makes; what comes of them only it can tell."""

from __future__ import annotations

import asyncio
import os
import signal
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
from bare import run
from combinations import (
    Archives,
    Trial,
    builders,
    is_there,
    lowest,
    main_python,
    needed,
    trials,
    try_all,
)
from release import CORE, Refused

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
        ("nats_py==2.8", True),
        ("Nats.py==2.7", False),
        ("aiokafka==0.13", False),
        ("uvloop==0.21; platform_system != 'Windows'", True),
    ],
)
def test_a_limit_holds_where_that_version_is_there_or_nothing_needs_it(
    limit: str, holds: bool
) -> None:
    there = {"redis": "5.0.1", "websockets": "17.0", "nats-py": "2.8"}
    assert is_there(limit, there, {"redis", "websockets", "nats-py", "aiokafka"}) is holds


def test_what_is_needed_is_what_is_installed_without_extras() -> None:
    assert needed([CORE]) == {"msgspec", "websockets"}
    assert needed([CORE, "wsrooms-redis", "wsrooms-nats"]) == {
        *("msgspec", "websockets", "redis", "hiredis", "nats-py")
    }


def test_what_only_some_machines_need_may_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["nats.py>=2", "uvloop>=0.21; platform_system != 'Windows'"]
    monkeypatch.setattr("combinations.project", lambda _: {"dependencies": asked})
    assert needed([CORE]) == {"nats-py"}


@pytest.fixture
def one_trial(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environments are one that takes no time; what comes back is the brokers' addresses."""

    async def make(*_: object) -> str:
        return "all is there"

    trial = Trial(EVERY, "from sdists", ("3.11", "/3.11"), ARCHIVES.sdist)
    monkeypatch.setattr("combinations.trials", lambda *_: [trial])
    monkeypatch.setattr("combinations.Trial.make", make)
    monkeypatch.setattr("combinations.Mixed.build", lambda _: pytest.fail("nothing needs it"))
    return dict.fromkeys(EVERY, "nowhere")


async def test_words_that_no_line_has_are_told(one_trial: dict[str, str]) -> None:
    with pytest.raises(Refused, match=r"no combination whose line has '9\.99'"):
        await try_all(ARCHIVES, one_trial, "9.99")


async def test_words_of_some_lines_make_those_alone(
    one_trial: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    await try_all(ARCHIVES, one_trial, "from sdists")
    first, told = capsys.readouterr().out.splitlines()
    assert first.startswith("Python 3.11, from sdists: core kafka nats redis (")
    assert told == "    all is there"


async def test_a_command_that_does_not_end_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    create, made = asyncio.create_subprocess_exec, list[asyncio.subprocess.Process]()

    async def create_and_wait(*command: str, **options: Any) -> asyncio.subprocess.Process:
        made.append(await create(*command, **options))
        await asyncio.to_thread(started.read_text)
        return made[0]

    monkeypatch.setattr("asyncio.create_subprocess_exec", create_and_wait)
    monkeypatch.setattr("bare.DEADLINE", 0.01)
    # Its child holds the pipe on which it is read.
    with pytest.raises(TimeoutError):
        await run("sh", "-c", f"sleep 40 & echo > '{started}'; wait")
    assert made[0].returncode == -signal.SIGKILL


def test_an_archive_is_asked_for_by_its_address() -> None:
    where = Path("dist").resolve().as_uri()
    assert ARCHIVES.wheel("wsrooms-redis") == (
        f"wsrooms-redis @ {where}/wsrooms_redis-0.3.1-py3-none-any.whl"
    )
    assert ARCHIVES.sdist(CORE) == f"wsrooms-core @ {where}/wsrooms_core-0.3.1.tar.gz"
