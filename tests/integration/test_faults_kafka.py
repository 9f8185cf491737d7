"""What only Kafka does: it keeps a log, so that an instance which was away hears what it missed."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import promised
from tests.integration.buses import BUSES, Bus
from tests.integration.buses.kafka import BRIEF, KafkaBroker, KafkaBus
from tests.integration.faults_brokers import KafkaBreaking
from tests.integration.faults_traffic import ROOM
from tests.integration.faults_trial import AT_ONCE, HEALED, NOTICED, QUICK, Trial
from tests.integration.waiting import until_equal
from wsrooms import WsError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.clients import Client, Member
    from tests.integration.fleet import Fleet
    from tests.integration.nursery import Nursery


@pytest.fixture(scope="session")
def bus() -> Bus:
    """Kafka alone."""
    [found] = [each for each in BUSES if isinstance(each, KafkaBus)]
    found.prepare()
    return found


STALLED = 20.0
WAITING: dict[str, str | float] = {"outbox_age": 10.0}
"""Seconds, in which messages wait for the broker: less than it is away."""


async def test_a_broker_that_stalls_for_longer_than_messages_wait_doubles_nothing(
    nursery: Nursery, broker: KafkaBroker, tmp_path: Path
) -> None:
    async with Trial(nursery, broker, tmp_path, given=WAITING) as trial:
        async with trial.fault(f"SIGSTOP for {STALLED:g} s") as fault:
            await trial.server.stop()
            await fault.noticed(NOTICED)
            await asyncio.sleep(fault.began + STALLED - time.monotonic())
            await trial.server.cont()
        fault.assert_told_once()
        refused = [each.note for each in trial.history if each.kind == "send_failed"]
        assert refused
        assert all("TransportUnavailable" in note or "OutcomeUnknown" in note for note in refused)
        await trial.all_up()


AWAY = 30.0
JOIN_TIMEOUT = promised(2.0)


async def test_who_was_away_for_half_a_minute_hears_what_it_missed_or_if_it_ended_what_is_new(
    nursery: Nursery, broker: KafkaBroker, tmp_path: Path
) -> None:
    options = {"join_timeout": JOIN_TIMEOUT}
    async with Trial(nursery, broker, tmp_path, given=WAITING, options=options) as trial:
        joiner, there = await trial.client(1), await trial.client(0)
        await there.call("enter", "/room", "new here")
        late = await trial.member(1)
        async with trial.fault("30 s: one without its link, one dead", broken=[1]) as fault:
            trial.proxies[1].refuse()
            trial.proxies[1].cut()
            await trial.kill(2)
            await fault.noticed(NOTICED)
            joined = len(trial.history)
            await late.join(ROOM)  # which its instance has had all the time
            began = time.monotonic()
            with pytest.raises(WsError) as refusal:
                await joiner.call("enter", "/room", "new here")
            assert refusal.value.code == 503
            assert time.monotonic() - began < JOIN_TIMEOUT + AT_ONCE
            await there.call("say", "/room", ["new here", "missed"])

            await asyncio.sleep(fault.began + AWAY - time.monotonic())
            returned = len(trial.history)
            await trial.restart(2)
            received = (await trial.stats("received"))[2]
            assert received <= _sent_since(trial, returned)
            newcomer = await trial.listener(2)
            trial.proxies[1].heal()
            await trial.processes[1].until("up", timeout=HEALED)
            await joiner.call("enter", "/room", "new here")
            await there.call("say", "/room", ["new here", "live"])
            assert await _next_in(joiner, "new here") == "live"

        fault.assert_told_once()
        assert _earliest(trial, late, "i0") < joined
        assert _earliest(trial, newcomer, "i0") > returned
        assert fault.row.refused > 0  # of its own, what waited for too long
        assert [stats["slow_clients"] for stats in await trial.ask("stats")] == [0] * 3
        await trial.all_up()


async def _next_in(client: Client, room: str) -> object:
    """What comes next in ``room``, whatever comes for everybody."""
    while (push := await client.receive())["path"] != room:
        pass
    return push["data"]


def _sent_since(trial: Trial, at: int) -> int:
    """How many messages to everybody were sent since that moment of the history."""
    records = list(trial.history)[at:]
    return sum((each.kind, each.room) == ("send", None) for each in records)


def _earliest(trial: Trial, member: Member, instance: str) -> int:
    """Where in the history ``instance`` sent the oldest message that ``member`` had of the room."""
    heard = set(member.received)
    return min(
        at
        for at, each in enumerate(trial.history)
        if (each.kind, each.instance, each.room) == ("send", instance, ROOM)
        and each.message in heard
    )


PIECE = "x" * 100_000
PIECES = 60
"""In all 6 MB, six times as many as may wait for a client."""


async def test_an_instance_that_stood_still_while_megabytes_were_published_catches_up(
    nursery: Nursery, broker: KafkaBroker, tmp_path: Path
) -> None:
    async with Trial(nursery, broker, tmp_path) as trial:
        slow, client = trial.processes[2], await trial.client(2)
        await client.call("enter", "/room", "/bulk")
        async with trial.fault("an instance stands still, 6 MB", broken=[2], outage=False):
            slow.signal(signal.SIGSTOP)
            more = {"data": PIECE}
            sends = (
                trial.processes[0].ask("broadcast", room="/bulk", event="x", more=more)
                for _ in range(PIECES)
            )
            assert await asyncio.gather(*sends) == [None] * PIECES
            slow.signal(signal.SIGCONT)
            for _ in range(PIECES):
                assert await _next_in(client, "/bulk") == PIECE
        assert not trial.gaps
        await trial.all_up()
        assert (await trial.stats("reconnects"))[:2] == [0, 0]
        assert await trial.stats("slow_clients") == [0] * 3


async def test_what_was_removed_from_the_log_before_it_was_read_is_told_as_a_gap(
    nursery: Nursery, broker: KafkaBroker, tmp_path: Path
) -> None:
    async with Trial(nursery, broker, tmp_path) as trial:
        async with trial.fault("too old for the log", broken=[1]) as fault:
            trial.proxies[1].refuse()
            trial.proxies[1].cut()
            await fault.noticed(NOTICED)
            ends = await broker.ends()
            for id in (*await trial.say(0, [ROOM]), await trial.announce(0)):
                for member in trial.members:
                    if member.instance != trial.processes[1].name:
                        member.await_(id)
            await trial.arrived()  # so that the others have read what comes before that
            await broker.forget(ends)
            trial.proxies[1].heal()
        assert fault.row.reported > 0
        told = trial.gaps.pop(trial.processes[1].name)
        assert told.count((None, None, None)) == 1
        assert not trial.gaps
        fault.assert_served()
        await trial.all_up()


async def test_a_login_that_has_lasted_too_long_for_the_server_is_renewed_and_nothing_is_lost(
    nursery: Nursery, broker: KafkaBroker, tmp_path: Path
) -> None:
    ways = KafkaBreaking(broker, BRIEF)
    await ways.allow()
    async with Trial(nursery, broker, tmp_path, given=ways.given, login=ways.login) as trial:
        before = await trial.stats("reconnects")
        async with trial.fault("a login that is too old") as fault:
            await until_equal(lambda: _all_more(trial, before), True)
        fault.assert_told_once()
        fault.assert_served()


async def _all_more(trial: Trial, before: list[int]) -> bool:
    """Whether each instance has connected again."""
    return all(now > had for now, had in zip(await trial.stats("reconnects"), before, strict=True))


async def test_rights_that_are_taken_away_are_told_and_once_given_back_nothing_is_missing(
    nursery: Nursery, broker: KafkaBroker, tmp_path: Path
) -> None:
    ways = KafkaBreaking(broker)
    await ways.allow()
    given = {**QUICK, **ways.given}
    options = {"join_timeout": JOIN_TIMEOUT}
    async with Trial(
        nursery, broker, tmp_path, given=given, login=ways.login, options=options
    ) as trial:
        client = await trial.client(0)
        async with trial.fault("rights on the topic taken, given back") as fault:
            await ways.deny()
            await fault.noticed(NOTICED)
            await until_equal(lambda: _denied(trial), [True] * 3)
            with pytest.raises(WsError) as refusal:
                await client.call("enter", "/room", "meanwhile")
            assert refusal.value.code == 503
            await ways.permit()
        fault.assert_told_once()
        fault.assert_served()
        await trial.all_up()
        await client.call("enter", "/room", "afterwards")


async def _denied(trial: Trial) -> list[bool]:
    """Whether each instance says that it is denied its topic."""
    topic = trial.broker.topic()  # type: ignore[attr-defined]  # of Kafka
    told = [health["error"] or "" for health in await trial.ask("health")]
    return ["denies" in each and topic in each for each in told]


CHANNEL = f"ws:room:{ROOM}".encode()
GOOD = [("v", b"1"), ("i", b"feedfacefeedface"), ("e", b"1"), ("s", b"1")]
PAYLOAD = b'{"event": "x", "path": "/steady", "data": "forged"}'

ODD: dict[str, tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = {
    "no key": (None, PAYLOAD, GOOD),
    "a key that is no text": (b"\xff\xfe", PAYLOAD, GOOD),
    "an empty key": (b"", PAYLOAD, GOOD),
    "neither key nor header": (None, b"", []),
    "nothing but a key": (CHANNEL, None, []),
    "no value": (CHANNEL, None, GOOD),
    "no header": (CHANNEL, PAYLOAD, []),
    "a header too few": (CHANNEL, PAYLOAD, GOOD[:3]),
    "a header too many": (CHANNEL, PAYLOAD, [*GOOD, ("x", b"")]),
    "a header twice": (CHANNEL, PAYLOAD, [*GOOD, GOOD[3]]),
    "headers in another order": (CHANNEL, PAYLOAD, GOOD[::-1]),
    "headers by other names": (CHANNEL, PAYLOAD, [(name.upper(), what) for name, what in GOOD]),
    "empty headers": (CHANNEL, PAYLOAD, [(name, b"") for name, _ in GOOD]),
    "a space in a header": (CHANNEL, PAYLOAD, [*GOOD[:3], ("s", b"1 1")]),
    "a header that is no text": (CHANNEL, PAYLOAD, [GOOD[0], ("i", b"\xff"), *GOOD[2:]]),
    "a value that is no text": (CHANNEL, b"\xff\xfe", GOOD),
}
"""Records that only Kafka can carry: key, value and headers."""


async def test_records_that_no_instance_writes_are_dropped_and_counted_where_they_are_for_it(
    fleet: Fleet, broker: KafkaBroker
) -> None:
    members = [await fleet.member(index) for index in range(3)]
    for member in members:
        await member.join(ROOM)

    for key, value, headers in ODD.values():
        await broker.record(key, value, headers)
    await asyncio.gather(*(member.say(ROOM) for member in members))

    await fleet.assert_ok()
    assert [len(member.heard) for member in members] == [2] * 3
    ours = sum(key == CHANNEL for key, _, _ in ODD.values())
    assert await fleet.stats("foreign") == [ours] * 3
    assert not fleet.gaps
