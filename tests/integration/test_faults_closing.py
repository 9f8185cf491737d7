"""A transport may be closed at any moment: it ends in time and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.deadlines import promised
from tests.integration.faults_trial import AT_ONCE, QUICK, Trial
from wsrooms.errors import TransportError
from wsrooms.transports import BrokerTransport, SupportsReplica
from wsrooms.transports.urls import transport_from_url

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.buses import Broker
    from tests.integration.nursery import Nursery
    from wsrooms.testing import TcpProxy

CLOSES = 200
SIDE_BY_SIDE = 25
LONGEST = 0.2
"""Seconds after which a transport is closed, at the latest: it takes less to start."""

CLOSE_TIMEOUT = promised(3.0)
LATE = promised(2.5)
"""Seconds by which all at once may be late."""

START_TIMEOUT = 2 * (CLOSE_TIMEOUT + LATE)
"""Seconds for which none waits."""

TROUBLES = ("none", "cut", "hole", "hole for old ones", "refuse", "slow")


@pytest.mark.may_block("many transports are at work in each turn of the loop")
async def test_two_hundred_closes_at_random_moments_hang_never_and_leave_nothing(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(6)
    address = urlsplit(broker.url(close_timeout=CLOSE_TIMEOUT, start_timeout=START_TIMEOUT))
    with caplog.at_level(logging.ERROR, "wsrooms"):
        async with broker.proxied() as proxy:
            url = f"{address.scheme}://127.0.0.1:{proxy.port}?{address.query}"
            like = transport_from_url(url)
            assert isinstance(like, BrokerTransport)
            descriptors, tasks = _descriptors(), len(asyncio.all_tasks())
            slowest = 0.0
            for turn in range(CLOSES // SIDE_BY_SIDE):
                trouble = TROUBLES[turn % len(TROUBLES)]
                closing = (
                    _closed_at_random(_another(like), proxy, trouble, chance)
                    for _ in range(SIDE_BY_SIDE)
                )
                slowest = max(slowest, *await asyncio.gather(*closing))
                proxy.heal()
                proxy.cut()
            assert slowest < CLOSE_TIMEOUT + LATE
            assert proxy.connections == 0
            assert (_descriptors(), len(asyncio.all_tasks())) == (descriptors, tasks)
            gc.collect()  # which tells of errors that nobody has heard
    assert not caplog.records


def _another(like: BrokerTransport) -> BrokerTransport:
    assert isinstance(like, SupportsReplica)
    made = like.replica()
    assert isinstance(made, BrokerTransport)
    return made


def _descriptors() -> int:
    return len(os.listdir("/dev/fd"))


async def _closed_at_random(
    transport: BrokerTransport, proxy: TcpProxy, trouble: str, chance: random.Random
) -> float:
    """Close a transport while it starts, works, or has lost its broker; the seconds of that."""
    starting = asyncio.create_task(transport.start(), name="start")
    await asyncio.sleep(chance.uniform(0, LONGEST))
    receipts = []
    with contextlib.suppress(TransportError):  # it has not started, which is one of the moments
        for number in range(chance.randrange(20)):
            receipts.append(transport.subscribe(f"ws:room:{number}", _nothing))
            receipts.append(transport.publish(f"ws:room:{number}", "x" * 1000))
            if chance.random() < 0.5:
                await asyncio.sleep(0)
    match trouble:
        case "cut":
            proxy.cut()
        case "hole":
            proxy.hole()
        case "hole for old ones":
            proxy.hole(new_ones_work=True)
        case "refuse":
            proxy.refuse()
            proxy.cut()
        case "slow":
            proxy.slow(10_000, 0.05)
        case _:
            pass
    await asyncio.sleep(chance.uniform(0, LONGEST) * (chance.random() < 0.5))
    if chance.random() < 0.5:
        starting.cancel()
    began = time.monotonic()
    await transport.close()
    took = time.monotonic() - began
    await asyncio.wait([starting])
    if not starting.cancelled():
        assert isinstance(starting.exception(), TransportError | None)
    await transport.close()  # a start that ended last would have left it open
    for receipt in receipts:
        assert receipt.done
    return took


def _nothing(_: str) -> None:
    pass


APP_CLOSES = 5.0
"""Seconds that an app gives its transport at most."""


async def test_apps_that_end_while_their_broker_is_silent_end_in_time_and_cleanly(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    async with Trial(nursery, broker, tmp_path, given=QUICK) as trial:
        await trial.traffic.burst([])
        await trial.server.stop()
        await trial.traffic.burst([])
        await asyncio.gather(*(trial.terminate(index) for index in range(3)))
        await trial.server.cont()
        for process in trial.processes:
            process.assert_clean()
            assert process.closed is not None
            assert process.closed["seconds"] < APP_CLOSES + AT_ONCE
