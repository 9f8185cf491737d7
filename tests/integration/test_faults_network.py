"""The network between instances and the broker is cut, silent or slow."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.deadlines import promised
from tests.integration.faults_trial import NOTICED, QUICK, Trial

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.buses import Broker
    from tests.integration.nursery import Nursery

PING_INTERVAL = promised(1.0)
"""Seconds: half of the default, and so is the time until a silent peer is noticed."""

UNSENT = 6 * 1024 * 1024
"""Bytes of one message: more than the buffers of two kernels take."""

MAX_PAYLOAD = 8 * 1024 * 1024
"""Bytes that a message may have."""


SLOWLY = promised(30.0)
"""Seconds within which a burst has gone through a slow network, and what was sent after it."""


async def test_links_that_are_cut_lose_nothing_unsaid_and_double_nothing(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    async with Trial(nursery, broker, tmp_path) as trial:
        async with trial.fault("every instance cut") as fault:
            for proxy in trial.proxies:
                proxy.cut()
        fault.assert_told_once()
        fault.assert_served()

        async with trial.fault("one instance cut", broken=[1]) as fault:
            trial.proxies[1].cut()
        fault.assert_told_once()
        fault.assert_served()

        trial.proxies[0].slow(latency=0.5)  # the others hear what it sends before it knows
        async with trial.fault("cut with answers on their way", broken=[0]) as fault:
            trial.proxies[0].cut()
            trial.proxies[0].heal()
        fault.assert_served()
        assert fault.row.resent > 0
        assert fault.row.dropped > 0
        await trial.all_up()


async def test_a_link_that_falls_silent_while_idle_is_noticed_in_time(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    given = {"ping_interval": PING_INTERVAL}
    async with Trial(nursery, broker, tmp_path, given=given) as trial:
        async with trial.fault("half-open, idle", load=False) as fault:
            for proxy in trial.proxies:
                proxy.hole()
            await fault.noticed(NOTICED / 2)
            for proxy in trial.proxies:
                proxy.heal()
        fault.assert_nothing_lost()
        await trial.all_up()


async def test_a_link_that_falls_silent_with_unsent_bytes_is_given_up(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    given = {**QUICK, "max_payload": MAX_PAYLOAD}
    async with Trial(nursery, broker, tmp_path, given=given) as trial:
        before = await trial.stats("reconnects")
        async with trial.fault("half-open, unsent bytes") as fault:
            for proxy in trial.proxies:
                proxy.hole(new_ones_work=True)
            sends = [
                asyncio.create_task(
                    process.ask(
                        "broadcast", room="/unheard", event="x", more={"data": "x" * UNSENT}
                    )
                )
                for process in trial.processes
            ]
        fault.assert_served()
        assert await asyncio.gather(*sends) == [None] * 3
        assert await trial.stats("reconnects") > before


async def test_a_slow_network_delays_and_loses_nothing(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    async with Trial(nursery, broker, tmp_path) as trial:
        before = await trial.stats("reconnects")
        for proxy in trial.proxies:
            proxy.slow(100_000, 0.2)
        async with trial.fault("200 ms and 100 KB/s", outage=False) as fault:
            await trial.traffic.reaches_all(time.monotonic(), SLOWLY)
            for proxy in trial.proxies:
                proxy.heal()
        fault.assert_served()
        fault.assert_nothing_lost()
        assert await trial.stats("reconnects") == before
