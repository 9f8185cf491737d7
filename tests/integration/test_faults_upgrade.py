"""A fleet is upgraded one instance after the other: two builds in it lose and double nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import time
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.faults_traffic import ROOM
from tests.integration.faults_trial import HEALED, Trial
from tests.integration.nursery import Nursery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.buses import Broker
    from tests.integration.clients import Member

CHANNEL = f"ws:room:{ROOM}"


@pytest.fixture(scope="module")
def next_nursery(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Where processes of the next build are made."""
    found = [str(Path(each).resolve()) for each in sys.path if each]
    build = tmp_path_factory.mktemp("next")
    make_next_build(build)
    nursery = Nursery(os.pathsep.join([str(build), *found]))
    yield nursery
    nursery.close()


def make_next_build(folder: Path) -> None:
    """Put the packages into ``folder`` as they may be in the next version.

    It has another number, and tells other instances something that this one does not know.
    """
    points = entry_points(group="wsrooms.transports")
    for package in {"wsrooms", *(point.module.partition(".")[0] for point in points)}:
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(
            Path(spec.origin).parent,
            folder / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        _replace(
            folder / package / "_version.py", r'__version__ = "[^"]+"', '__version__ = "99.0.0"'
        )
    broadcast = folder / "wsrooms" / "broadcast.py"
    _replace(broadcast, r"(    excludeId: .*\n)", r'\1    build: str = "this"\n')
    _replace(broadcast, r"(raw, params, exclude)\)", r'\1, "the next")')


def _replace(file: Path, pattern: str, by: str) -> None:
    text, count = re.subn(pattern, by, file.read_text("utf-8"))
    assert count == 1, f"{file.name} is not as this test knows it: {pattern}"
    file.write_text(text, "utf-8")


async def test_a_rolling_upgrade_loses_and_doubles_nothing(
    nursery: Nursery, next_nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    async with Trial(nursery, broker, tmp_path) as trial, broker.overhear(CHANNEL) as overheard:
        builds: dict[str, str] = {}
        async with trial.fault("rolling upgrade", outage=False) as fault:
            for index, old in enumerate(trial.processes):
                following = (index + 1) % len(trial.processes)
                leaving = [each for each in trial.members if each.instance == old.name]
                moving = [
                    asyncio.create_task(_reconnect(trial, member, following))
                    for member in leaving
                    if member.is_open
                ]
                await trial.terminate(index)
                await asyncio.gather(*moving)
                await trial.restart(index, nursery=next_nursery)
                trial.traffic.resume()
                await trial.listener(index)
                await trial.traffic.reaches_all(time.monotonic(), HEALED)
                while builds.get(trial.processes[index].publisher or "") != "the next":
                    heard = await overheard.next()
                    builds[heard.instance] = json.loads(heard.payload).get("build", "this")
                old.assert_clean()
        fault.assert_served()
        fault.assert_nothing_lost()
        assert not trial.gaps
        assert sorted(builds.values()) == ["the next"] * 3 + ["this"] * 3


async def _reconnect(trial: Trial, member: Member, index: int) -> None:
    """Do as a client does whose server goes: join again on another instance."""
    code, _ = await member.wire.gone
    assert code == 1001
    await trial.listener(index)
