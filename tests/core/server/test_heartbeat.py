"""Pings from one timer: who is asked when, what counts as an answer, and who is given up."""

from __future__ import annotations

import gc
import heapq
import itertools
import weakref
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.deadlines import promised
from wsrooms import WsLimits
from wsrooms.server.heartbeat import SLOTS, Heartbeat

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Timer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """A loop that has timers and nothing else; time passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def call_later(self, delay: float, callback: Callable[..., None], *args: Any) -> Timer:
        timer = Timer(lambda: callback(*args))
        heapq.heappush(self.timers, (self.now + delay, next(self._order), timer))
        return timer

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self.timers and self.timers[0][0] <= until:
            self.now, _, timer = heapq.heappop(self.timers)
            if not timer.cancelled:
                timer.call()
        self.now = until

    @property
    def waiting(self) -> int:
        return sum(not timer.cancelled for _, _, timer in self.timers)


class Peer:
    def __init__(self, clock: Clock, *, answers: bool = True) -> None:
        self.clock = clock
        self.answers = answers
        self.heard = False
        self.reading = True
        self.pings: list[float] = []
        self.looked_at: list[float] = []
        self.failed_at: float | None = None

    def ping(self) -> None:
        self.pings.append(self.clock.now)
        if self.answers:
            self.heard = True

    def look_at_silence(self, patience: float) -> None:
        self.looked_at.append(patience)

    def heartbeat_failed(self) -> None:
        assert self.failed_at is None, "it failed twice"
        self.failed_at = self.clock.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def start(clock: Clock, interval: float = 30.0, timeout: float = 5.0) -> Heartbeat:
    return Heartbeat(cast("asyncio.AbstractEventLoop", clock), interval=interval, timeout=timeout)


def test_each_connection_is_asked_once_in_an_interval(clock: Clock) -> None:
    heartbeat = start(clock)
    peers = [Peer(clock) for _ in range(50)]
    for peer in peers:
        heartbeat.add(peer)
    clock.pass_time(300.1)
    for peer in peers:
        gaps = [later - earlier for earlier, later in itertools.pairwise(peer.pings)]
        assert gaps == [pytest.approx(30.0)] * 9
        assert peer.failed_at is None


def test_a_thousand_connections_are_not_asked_at_once(clock: Clock) -> None:
    heartbeat = start(clock)
    peers = [Peer(clock) for _ in range(1000)]
    for peer in peers:
        heartbeat.add(peer)
    assert clock.waiting == 1, "one timer for all"
    clock.pass_time(30.1)
    moments = [peer.pings[0] for peer in peers]
    assert len(set(moments)) == SLOTS
    assert max(map(moments.count, set(moments))) < 200


def test_silence_is_told_when_the_timeout_is_over(clock: Clock) -> None:
    heartbeat = start(clock)
    peer, other = Peer(clock, answers=False), Peer(clock)
    heartbeat.add(peer)
    heartbeat.add(other)
    clock.pass_time(100)
    assert peer.failed_at == pytest.approx(peer.pings[0] + 5.0)
    assert other.failed_at is None


def test_any_byte_before_the_timeout_is_an_answer(clock: Clock) -> None:
    heartbeat = start(clock)
    peer = Peer(clock, answers=False)
    heartbeat.add(peer)
    while not peer.pings:
        clock.pass_time(0.1)
    clock.pass_time(4.8)
    peer.heard = True
    clock.pass_time(10)
    assert peer.failed_at is None


def test_a_byte_before_the_ping_is_none(clock: Clock) -> None:
    heartbeat = start(clock)
    peer = Peer(clock, answers=False)
    heartbeat.add(peer)
    peer.heard = True
    clock.pass_time(40)
    assert peer.failed_at is not None


def test_a_connection_that_is_not_read_is_neither_asked_nor_given_up(clock: Clock) -> None:
    heartbeat = start(clock)
    peer = Peer(clock, answers=False)
    peer.reading = False
    heartbeat.add(peer)
    clock.pass_time(100)
    assert peer.pings == []
    assert peer.looked_at[:3] == [35.0] * 3, "it may be slow by its own fault"
    peer.reading = True
    while not peer.pings:
        clock.pass_time(0.1)
    peer.reading = False
    clock.pass_time(100)
    assert peer.failed_at is None


@pytest.mark.parametrize("interval", [1.0, 2.5, 5.0, 5.1])
def test_a_timeout_longer_than_the_interval_leaves_its_time_to_the_answer(
    clock: Clock, interval: float
) -> None:
    heartbeat = start(clock, interval=interval, timeout=5.0)

    class Slow(Peer):
        def ping(self) -> None:
            super().ping()
            self.clock.call_later(4.9, self.answer)

        def answer(self) -> None:
            self.heard = True

    peer, silent = Slow(clock, answers=False), Peer(clock, answers=False)
    heartbeat.add(peer)
    heartbeat.add(silent)
    clock.pass_time(100)
    assert peer.failed_at is None
    assert silent.failed_at == pytest.approx(silent.pings[0] + 5.0)


def test_a_connection_that_is_gone_is_not_asked_and_not_given_up(clock: Clock) -> None:
    heartbeat = start(clock)
    peers = [Peer(clock, answers=False) for _ in range(2)]
    for peer in peers:
        heartbeat.add(peer)
    heartbeat.discard(peers[0])
    while not peers[1].pings:
        clock.pass_time(0.1)
    heartbeat.discard(peers[1])
    heartbeat.discard(peers[1])
    clock.pass_time(100)
    assert peers[0].pings == []
    assert peers[1].failed_at is None


def test_who_has_gone_is_kept_for_no_check_that_is_to_come(clock: Clock) -> None:
    heartbeat = start(clock, timeout=3600)
    peers = [Peer(clock, answers=False) for _ in range(50)]
    for peer in peers:
        heartbeat.add(peer)
    clock.pass_time(30)
    last = peers.pop()
    assert all(each.pings for each in peers)
    left = [weakref.ref(each) for each in peers]
    while peers:
        heartbeat.discard(peers.pop())
    gc.collect()
    assert [each() for each in left] == [None] * 49
    clock.pass_time(3600)
    assert last.failed_at == last.pings[0] + 3600


def test_who_ends_while_another_is_given_up_or_as_it_is_asked_is_not_given_up(
    clock: Clock,
) -> None:
    heartbeat = start(clock)

    class EndsAll(Peer):
        def heartbeat_failed(self) -> None:
            super().heartbeat_failed()
            for peer in peers:
                heartbeat.discard(peer)

    class Broken(Peer):
        def ping(self) -> None:
            super().ping()
            heartbeat.discard(self)

    peers: list[Peer] = [EndsAll(clock, answers=False) for _ in range(50)]
    broken = Broken(clock, answers=False)
    for peer in [broken, *peers]:
        heartbeat.add(peer)
    clock.pass_time(100)
    assert len([peer for peer in peers if peer.failed_at is not None]) == 1
    assert (len(broken.pings), broken.failed_at, len(heartbeat)) == (1, None, 0)


def test_no_timer_runs_where_nobody_is_connected(clock: Clock) -> None:
    heartbeat = start(clock)
    assert clock.waiting == 0
    peer = Peer(clock)
    heartbeat.add(peer)
    heartbeat.discard(peer)
    clock.pass_time(30)
    assert clock.waiting == 0
    heartbeat.add(peer)
    clock.pass_time(31)
    assert len(peer.pings) == 1


def test_stop_leaves_no_timer(clock: Clock) -> None:
    heartbeat = start(clock)
    for _ in range(50):
        heartbeat.add(Peer(clock, answers=False))
    clock.pass_time(20)
    assert clock.waiting > 1
    heartbeat.stop()
    assert clock.waiting == 0


# Over a socket


async def test_a_silent_client_is_told_1011_and_cut(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(heartbeat_interval=0.05, heartbeat_timeout=0.05, close_timeout=60) as serving,
        raw_client(serving.address) as client,
    ):
        frame = await client.receive()
        assert (frame.opcode, frame.payload) == (client.PING, b"")
        assert await client.close_code() == (1011, "no answer to a ping")
        assert await client.end() == b""
        assert await serving.session.has_ended() == (1011, "no answer to a ping")
        assert serving.counters.heartbeat_timeouts == 1


async def test_a_client_that_answers_is_asked_again(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(heartbeat_interval=0.05, heartbeat_timeout=promised(2.0)) as serving,
        raw_client(serving.address) as client,
    ):
        for answer in (client.frame(b"", client.PONG), client.frame("hello"), b""):
            assert (await client.receive()).opcode == client.PING
            await client.write(answer)
        assert (await client.close_code())[0] == 1011
        assert serving.session.received == [(b"hello", True)]


async def test_a_client_that_we_do_not_read_is_not_given_up(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(heartbeat_interval=0.05, heartbeat_timeout=0.05) as serving,
        raw_client(serving.address, path=None) as held_up,
    ):

        def fill(session: Any) -> None:
            session.full = True

        serving.on_session = fill
        await held_up.upgrade(rest=held_up.frame("1"))
        session = serving.session
        serving.on_session = lambda session: None
        await held_up.write(held_up.frame(b"", held_up.PONG))
        async with raw_client(serving.address) as other:  # for longer than it would have
            assert (await other.receive()).opcode == other.PING
            assert (await other.close_code())[0] == 1011
        assert not session.connection.closed
        session.full = False
        session.ready()
        while (frame := await held_up.receive()).opcode == held_up.PING:
            pass
        assert frame.opcode == held_up.CLOSE, "it answers no more, and now it is heard"


async def test_a_client_that_reads_no_replies_for_too_long_is_a_slow_client(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(
            heartbeat_interval=0.05,
            heartbeat_timeout=60,
            close_timeout=60,
            limits=WsLimits(outbox_messages=1),
        ) as serving,
        raw_client(serving.address, path=None, receive_buffer=4096) as client,
    ):
        await client.upgrade()
        session = serving.session
        await session.fill()
        session.connection.reply(1)
        session.connection._way._pause_reading()  # as it does when the next request comes
        assert not session.connection.closed
        session.connection._way._blocked_at -= 61  # seconds pass
        assert await session.has_ended() == (4008, "slow client")
        assert serving.counters.slow_clients == 1


async def test_a_connection_that_closes_is_not_asked_any_more(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(heartbeat_interval=30, close_timeout=60) as serving,
        raw_client(serving.address) as client,
    ):
        heartbeat = serving.server.heartbeat
        assert len(heartbeat) == 1
        serving.session.connection.close(4000)
        assert len(heartbeat) == 0
        assert await client.close_code() == (4000, "")


async def test_a_connection_that_is_lost_is_not_asked_any_more(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve(heartbeat_interval=30) as serving:
        async with raw_client(serving.address):
            assert len(serving.server.heartbeat) == 1
        await serving.session.has_ended()
        assert len(serving.server.heartbeat) == 0
