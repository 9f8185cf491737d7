"""What does not fit while the broker is away: refused to its sender, missed by number elsewhere."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import promised
from tests.integration.faults_brokers import breaking
from tests.integration.faults_trial import AT_ONCE, Trial
from tests.integration.waiting import until_equal
from wsrooms import WsError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.buses import Broker
    from tests.integration.clients import Client
    from tests.integration.nursery import Nursery
    from tests.integration.process import Process

LIMITS: dict[str, tuple[dict[str, Any], str]] = {
    "messages": ({"outbox_messages": 100}, "OutboxFull"),
    "bytes": ({"outbox_bytes": 20_000}, "OutboxFull"),
    "the oldest": ({"outbox_messages": 100, "outbox_policy": "drop_oldest"}, "OutboxFull"),
    "age": ({"outbox_age": 2.0}, "TransportUnavailable"),
}


@pytest.mark.parametrize("limit", LIMITS)
async def test_what_the_outbox_does_not_keep_is_told_to_its_sender_and_counted_elsewhere(
    nursery: Nursery, broker: Broker, tmp_path: Path, limit: str
) -> None:
    given, error = LIMITS[limit]
    async with Trial(nursery, broker, tmp_path, given=given) as trial:
        async with trial.fault(f"outbox full: {limit}", broken=[0]) as fault:
            trial.proxies[0].refuse()
            trial.proxies[0].cut()
            await trial.traffic.burst([])
            await fault.noticed(AT_ONCE)
            await until_equal(lambda: _told(trial), True)
            trial.proxies[0].heal()
        fault.assert_served()
        told = {record.note for record in trial.history if record.kind == "send_failed"}
        assert all(error in note or "OutcomeUnknown" in note for note in told), told
        assert any(error in note for note in told)
        for publisher in trial.processes:
            for other in trial.processes[1:]:  # whose links were whole
                if other is not publisher:
                    assert _missing(trial, other, publisher) == _lost(trial, other, publisher)
        assert _lost(trial, trial.processes[1], trial.processes[0]) > 0


async def _told(trial: Trial) -> bool:
    """Whether any sender was told that its message has failed."""
    return any(record.kind == "send_failed" for record in trial.history)


def _lost(trial: Trial, listener: Process, publisher: Process) -> int:
    """How many messages of ``publisher`` have failed and did not reach ``listener``.

    One whose outcome is unknown may have arrived all the same.
    """
    there = {member.name for member in trial.members if member.instance == listener.name}
    failed = {each.message for each in trial.history if each.kind == "send_failed"}
    failed -= {each.message for each in trial.history if each.client in there}
    return sum(
        each.message in failed
        for each in trial.history
        if each.kind == "send" and each.instance == publisher.name
    )


def _missing(trial: Trial, listener: Process, publisher: Process) -> int:
    """How many messages of ``publisher`` the gaps of ``listener`` miss."""
    told = trial.gaps.get(listener.name, [])
    return sum(missing or 0 for _, name, missing in told if name == publisher.publisher)


AGE = promised(4.0)
OUTAGE = promised(6.0)
JOIN_TIMEOUT = promised(3.0)
"""Seconds: of the three limits none is reached by chance, and each is within the outage."""

OUTBOX = 16 * 1024 * 1024
"""Bytes that may wait, as by default."""

PIECE = "x" * 800_000
PIECES = OUTBOX // len(PIECE) + 4
"""All at once: the outbox is full long before the first gets too old."""

EVERY = 0.1
"""Seconds between two joins."""


async def test_an_outage_that_outlasts_all_limits_costs_no_more_than_the_outbox_and_heals(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    given, options = {"outbox_age": AGE}, {"join_timeout": JOIN_TIMEOUT}
    async with Trial(nursery, broker, tmp_path, given=given, options=options) as trial:
        clients = [await trial.client(index) for index in range(3)]
        before = await trial.ask("resources")
        async with trial.fault(f"{OUTAGE:g} s without a broker") as fault:
            await trial.server.kill()
            await fault.noticed(AT_ONCE)
            until = time.monotonic() + OUTAGE
            filling = [asyncio.create_task(_fill(each)) for each in trial.processes]
            joining = [asyncio.create_task(_join(each, until)) for each in clients]
            for refused, slowest, later in await asyncio.gather(*joining):
                assert refused > 1
                assert slowest < JOIN_TIMEOUT + AT_ONCE
                assert later < AT_ONCE
            during = await trial.ask("resources")
            await trial.server.start()
        errors = {error for some in await asyncio.gather(*filling) for error in some}
        fault.assert_served()
        assert fault.row.refused > 0
        assert any("OutboxFull" in str(error) for error in errors)
        assert any("TransportUnavailable" in str(error) for error in errors)
        for was, now in zip(before, during, strict=True):
            assert now["resident"] - was["resident"] < 3 * OUTBOX
        await trial.all_up()
        await asyncio.gather(*(each.call("enter", "/room", "afterwards") for each in clients))


async def _fill(process: Process) -> list[str | None]:
    """Publish more than may wait; return what its senders were told."""
    sends: list[asyncio.Task[str | None]] = []
    for _ in range(PIECES):
        asking = process.ask("broadcast", room="/unheard", event="x", more={"data": PIECE})
        sends.append(asyncio.create_task(asking))
        await asyncio.sleep(0)  # each is a megabyte to encode
    return await asyncio.gather(*sends)


async def _join(client: Client, until: float) -> tuple[int, float, float]:
    """Join again and again; how often it was refused, how late at first and how late afterwards."""
    times: list[float] = []
    while (began := time.monotonic()) < until or len(times) < 3:
        with pytest.raises(WsError) as refusal:
            await client.call("enter", "/room", "meanwhile")
        assert refusal.value.code == 503
        times.append(time.monotonic() - began)
        await asyncio.sleep(EVERY)
    return len(times), times[0], max(times[1:])


BUFFER = 1024 * 1024
"""Bytes that the broker keeps for a subscriber."""

BULK = "x" * 1_000_000
AT_A_TIME = 5
MOST = 50
"""Turns within which that buffer runs over, and those of the kernels on the way."""


async def test_a_subscriber_that_is_too_slow_for_the_broker_recovers_and_tells_its_loss(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    ways = breaking(broker)
    await ways.limit_buffers(BUFFER)
    async with Trial(nursery, broker, tmp_path) as trial:
        slow = trial.processes[2]
        await (await trial.client(2)).call("enter", "/room", "/bulk")
        connected = len(await broker.connections() or ())
        async with trial.fault("slow subscriber", broken=[2]):
            slow.signal(signal.SIGSTOP)
            for _ in range(MOST):
                sends = (
                    trial.processes[0].ask(
                        "broadcast", room="/bulk", event="x", more={"data": BULK}
                    )
                    for _ in range(AT_A_TIME)
                )
                assert await asyncio.gather(*sends) == [None] * AT_A_TIME
                if len(await broker.connections() or ()) < connected:
                    break
            else:
                pytest.fail(f"{broker.name} has ended no connection")
            slow.signal(signal.SIGCONT)
        assert (None, None, None) in trial.gaps[slow.name]
        assert not any(trial.gaps.get(each.name) for each in trial.processes[:2])
        await trial.all_up()
