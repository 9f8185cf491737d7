"""The broker dies, stalls, forgets, ends connections: nothing twice, nothing lost unsaid."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE, promised
from tests.integration.faults_brokers import breaking
from tests.integration.faults_trial import AT_ONCE, HEALED, NOTICED, Trial
from wsrooms import WsError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.buses import Broker
    from tests.integration.clients import Client
    from tests.integration.nursery import Nursery

JOIN_TIMEOUT = AT_ONCE

PATIENT = {"connect_timeout": promised(9.0), "start_timeout": promised(9.0)}

UNNOTICED: dict[str, str | float] = dict.fromkeys(
    ("ping_interval", "confirm_timeout", "probe_interval"), 2 * DEADLINE
)
"""With these a broker that stalls is borne with until a test that waits for it has failed."""

STARTED = promised(5.0)
"""Seconds in which three apps serve: they wait for no broker."""


async def test_a_broker_that_is_killed_and_started_again_loses_nothing_unsaid(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    async with Trial(nursery, broker, tmp_path) as trial:
        async with trial.fault("SIGKILL and restart") as fault:
            await trial.server.kill()
            await fault.noticed(AT_ONCE)
            await trial.server.start()
        fault.assert_told_once()

        await trial.all_up()
        fault.assert_served()


async def test_a_broker_that_stalls_is_noticed_in_time_and_nothing_is_doubled(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    async with Trial(nursery, broker, tmp_path) as trial:
        async with trial.fault("SIGSTOP for 5 s") as fault:
            await trial.server.stop()
            noticed = await fault.noticed(NOTICED)
            await asyncio.sleep(5.0 - noticed)
            await trial.server.cont()
        fault.assert_told_once()

        await trial.all_up()
        fault.assert_served()


async def test_what_an_instance_has_itself_waits_for_no_broker_that_stalls(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    async with Trial(nursery, broker, tmp_path, given=UNNOTICED) as trial:
        async with trial.fault("SIGSTOP, not noticed", outage=False) as fault:
            await trial.server.stop()
            await trial.traffic.served()  # nothing goes on before, if they wait for the broker
            await trial.server.cont()
        fault.assert_nothing_lost()
        assert await trial.stats("reconnects") == [0] * 3


async def test_a_broker_that_forgets_what_it_stores_changes_nothing(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    ways = breaking(broker)
    if ways.unforgetting is not None:
        pytest.skip(ways.unforgetting)
    async with Trial(nursery, broker, tmp_path) as trial:
        async with trial.fault("all that is stored is lost", outage=False) as fault:
            await ways.forget()
        fault.assert_nothing_lost()


async def test_a_broker_that_ends_connections_loses_nothing_unsaid(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    ways = breaking(broker)
    if not ways.drops:
        pytest.skip(f"{broker.name} ends no connection by itself while its client is welcome")
    async with Trial(nursery, broker, tmp_path) as trial:
        for drop in ways.drops:
            async with trial.fault(drop.name, outage=drop.deafens) as fault:
                assert await drop.do() == 3
            if drop.deafens:
                fault.assert_told_once()
            else:
                fault.assert_nothing_lost()
        await trial.all_up()


@pytest.mark.parametrize("way", ["gone", "silent"])
async def test_an_app_that_starts_before_its_broker_serves_at_once_and_heals(
    nursery: Nursery, broker: Broker, tmp_path: Path, way: str
) -> None:
    options = {"start_without_broker": True, "join_timeout": JOIN_TIMEOUT}
    server = broker.server
    await (server.kill() if way == "gone" else server.stop())
    began = time.monotonic()
    async with Trial(nursery, broker, tmp_path, given=PATIENT, options=options) as trial:
        trial.history.outage(note="no broker yet")
        assert time.monotonic() - began < STARTED
        clients = [await trial.client(index) for index in range(3)]
        await asyncio.gather(*(_joins_are_refused(client) for client in clients))
        for client in clients:  # who is on this instance is served all the same
            await client.call("here", "/all", "local")
            assert (await client.receive())["data"] == "local"
        for proxy, health in zip(trial.proxies, await trial.ask("health"), strict=True):
            assert health["state"] == "down"
            assert f"127.0.0.1:{proxy.port}" in health["error"]

        await (server.start() if way == "gone" else server.cont())
        started = time.monotonic()
        await asyncio.gather(*(each.until("up", timeout=HEALED) for each in trial.processes))
        await asyncio.gather(*(client.call("enter", "/room", "later") for client in clients))
        async with trial.fault(f"up after the app: {way}", outage=False, load=False) as fault:
            await trial.begin()
            fault.over_at = started
        fault.assert_nothing_lost()


async def _joins_are_refused(client: Client) -> None:
    """A join waits as long as it may, later ones not at all."""
    for within in (JOIN_TIMEOUT + AT_ONCE, AT_ONCE, AT_ONCE):
        began = time.monotonic()
        with pytest.raises(WsError) as refusal:
            await client.call("enter", "/room", "early")
        assert refusal.value.code == 503
        assert time.monotonic() - began < within
