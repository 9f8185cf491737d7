"""Faults one upon another, while members join and leave: whoever was told something heard it."""

from __future__ import annotations

import asyncio
import contextlib
import operator
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import promised
from tests.integration.faults_brokers import breaking
from tests.integration.faults_trial import QUICK, Trial
from tests.integration.waiting import until_equal
from wsrooms import WsError
from wsrooms.testing import Disconnected

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.buses import Broker
    from tests.integration.clients import Member
    from tests.integration.nursery import Nursery

SEEDS = range(int(os.environ.get("WSROOMS_STORMS", "1")))
LASTS = 5.0
CALM = (0.05, 1.2)
"""Seconds between two faults: often shorter than what the last one takes to heal."""

ROOMS = [f"/flap/{number}" for number in range(6)]
FLAPPERS = 4
"""Of each instance."""

LOOKS = 20
"""How often it is asked what an instance holds: at least once it is at rest then."""

Held = tuple[int, ...]
"""Descriptors and tasks of an instance."""

GIVEN = {**QUICK, "probe_interval": promised(1.5)}
OUTBOXES: list[dict[str, str | float]] = [
    {},
    {"outbox_messages": 150},
    {"outbox_bytes": 30_000},
    {"outbox_age": 0.5},
    {"outbox_age": 0.5, "outbox_messages": 400, "outbox_policy": "drop_oldest"},
]
"""One of these is chosen: those after the first lose messages also by themselves."""

OPTIONS = {"join_timeout": promised(1.5)}


@pytest.mark.parametrize("seed", SEEDS)
async def test_members_that_come_and_go_in_a_storm_of_faults_are_told_the_truth(
    nursery: Nursery, broker: Broker, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    given = {**GIVEN, **chance.choice(OUTBOXES)}
    async with Trial(nursery, broker, tmp_path, given=given, options=OPTIONS) as trial:
        flappers = [await trial.member(index) for index in range(3) for _ in range(FLAPPERS)]
        await trial.traffic.pause()
        before = await _least_held(trial)
        trial.traffic.resume()
        async with trial.fault("a storm") as fault:
            flapping = [
                asyncio.create_task(_flap(each, random.Random(f"{seed} {each.name}")))
                for each in flappers
            ]
            sending = [asyncio.create_task(_send(trial, index)) for index in range(3)]
            await _storm(trial, chance)
            for task in sending:
                task.cancel()
            await asyncio.wait(sending)
            fault.end()
            await trial.all_up()
            for task in flapping:
                task.cancel()
            await asyncio.wait(flapping)
            for task in (*flapping, *sending):
                with contextlib.suppress(asyncio.CancelledError):
                    task.result()
        await trial.all_up()
        assert any(member.joined() for member in flappers)
        await trial.traffic.pause()
        await until_equal(lambda: _more_held(trial, before), [])


async def _least_held(trial: Trial) -> list[Held]:
    """What each instance holds at rest: a client has a task more now and again."""
    looks = [await _held(trial) for _ in range(LOOKS)]
    return [tuple(map(min, zip(*each, strict=True))) for each in zip(*looks, strict=True)]


async def _more_held(trial: Trial, before: list[Held]) -> list[tuple[Held, Held]]:
    """What they held and hold, of those that hold more of anything."""
    pairs = zip(before, await _least_held(trial), strict=True)
    return [(was, now) for was, now in pairs if any(map(operator.gt, now, was))]


async def _held(trial: Trial) -> list[Held]:
    held = await trial.ask("resources")
    return [(each["descriptors"], each["tasks"]) for each in held]


async def _storm(trial: Trial, chance: random.Random) -> None:
    ways = breaking(trial.broker)
    until = time.monotonic() + LASTS
    while time.monotonic() < until:
        index = chance.randrange(3)
        proxies = [trial.proxies[index]] if chance.random() < 0.6 else trial.proxies
        trial.history.outage(note="a storm")
        match chance.randrange(8):
            case 0 | 1:
                for proxy in proxies:
                    proxy.cut()
            case 2:
                for proxy in proxies:
                    proxy.hole(new_ones_work=chance.random() < 0.5)
                await asyncio.sleep(chance.uniform(0.1, 1.0))
                for proxy in proxies:
                    proxy.heal()
                    if chance.random() < 0.5:
                        proxy.cut()
            case 3:
                for proxy in proxies:
                    proxy.slow(50_000, chance.uniform(0, 0.2))
                await asyncio.sleep(chance.uniform(0.1, 0.5))
                if chance.random() < 0.5:
                    for proxy in proxies:
                        proxy.cut()
                for proxy in proxies:
                    proxy.heal()
            case 4:
                await trial.server.kill()
                await asyncio.sleep(chance.uniform(0, 0.8))
                await trial.server.start()
            case 5:
                await trial.server.stop()
                await asyncio.sleep(chance.uniform(0.1, 1.0))
                await trial.server.cont()
            case 6:
                trial.processes[index].signal(signal.SIGSTOP)
                await asyncio.sleep(chance.uniform(0.1, 1.5))
                trial.processes[index].signal(signal.SIGCONT)
            case _ if ways.drops:
                await ways.drops[-1].do()
            case _:
                for proxy in trial.proxies:
                    proxy.refuse()
                    proxy.cut()
                await asyncio.sleep(chance.uniform(0, 0.5))
                for proxy in trial.proxies:
                    proxy.heal()
        await asyncio.sleep(chance.uniform(*CALM))


async def _flap(member: Member, chance: random.Random) -> None:
    while True:
        room = chance.choice(ROOMS)
        if room in member.joined() or chance.random() < 0.3:
            wish = member.leave(room)
        else:
            wish = member.join(room, waiting=chance.random() < 0.5)
        if chance.random() < 0.7:
            with contextlib.suppress(WsError, Disconnected):
                await wish
        else:
            wish._take_error()
        await asyncio.sleep(chance.uniform(0, 0.05))


async def _send(trial: Trial, index: int) -> None:
    saying: set[asyncio.Task[list[str]]] = set()
    try:
        while True:
            saying.add(asyncio.create_task(trial.say(index, ROOMS)))
            await asyncio.sleep(0.05)
    finally:
        await asyncio.gather(*saying)
