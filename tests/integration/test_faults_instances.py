"""An instance is killed, or stands still: the others lose nothing between them."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.deadlines import promised
from tests.integration.faults_traffic import BURST
from tests.integration.faults_trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.buses import Broker
    from tests.integration.nursery import Nursery

PING_INTERVAL = promised(1.0)
STOPPED = promised(2.5)
"""Seconds: longer than a silent broker is borne with, which is two ping intervals."""

BORNE = {"connect_timeout": promised(2.0), "confirm_timeout": promised(2.0)}
"""Shorter than an instance stands still, and long enough for those that do not."""


async def test_an_instance_that_is_killed_under_load_takes_nothing_of_the_others_with_it(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    async with Trial(nursery, broker, tmp_path) as trial:
        trial.proxies[0].slow(latency=0.5)  # the others hear what it sends before it knows
        async with trial.fault("SIGKILL of an instance", broken=[0], outage=False) as fault:
            await trial.kill(0)
        trial.proxies[0].heal()
        fault.assert_served()
        fault.assert_nothing_lost()
        assert fault.row.unknown >= BURST  # it died with these on their way

        async with trial.fault("it is started again", outage=False) as fault:
            await trial.restart(0)
            await trial.listener(0)
        fault.assert_served()
        fault.assert_nothing_lost()
        assert not trial.gaps
        await trial.all_up()


async def test_an_instance_that_stands_still_keeps_its_link_and_misses_nothing(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    given = {"ping_interval": PING_INTERVAL, **BORNE}
    async with Trial(nursery, broker, tmp_path, given=given) as trial:
        before = await trial.stats("reconnects")
        still, *others = trial.processes
        name = f"SIGSTOP of an instance for {STOPPED:g} s"
        async with trial.fault(name, outage=False, load=False) as fault:
            for other in others:
                trial.traffic.send(other)  # so that one link of the other is idle
            still.signal(signal.SIGSTOP)
            await asyncio.sleep(STOPPED)
            still.signal(signal.SIGCONT)
        fault.assert_nothing_lost()
        assert not trial.gaps
        assert await trial.stats("reconnects") == before
