"""The time of a turn is shared by all sockets, in order, whatever each of them has received."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from time import thread_time
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms.server import turns
from wsrooms.server.turns import CONNECTION_SECONDS, TURN_SECONDS, Turns

if TYPE_CHECKING:
    from tests.core.conftest import RawClient
    from tests.core.server.conftest import RecordingSession


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(turns, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
async def mine() -> Turns:
    return Turns(asyncio.get_running_loop(), contextvars.copy_context())


async def test_a_connection_has_5_ms_of_a_turn_and_all_together_10(
    mine: Turns, clock: Clock
) -> None:
    start = clock.now
    assert mine.until() == pytest.approx(start + CONNECTION_SECONDS)
    clock.now += CONNECTION_SECONDS
    assert mine.until() == pytest.approx(start + TURN_SECONDS)
    clock.now += 1
    assert mine.until() == pytest.approx(start + TURN_SECONDS)
    await asyncio.sleep(0)
    assert mine.until() == pytest.approx(clock.now + CONNECTION_SECONDS)
    await asyncio.sleep(0)


async def test_what_is_queued_has_its_turn_later_in_order_and_each_a_context_of_its_own(
    mine: Turns,
) -> None:
    seen: list[object] = []
    leak: contextvars.ContextVar[int] = contextvars.ContextVar("leak", default=0)

    def turn(number: int) -> Callable[[], None]:
        def run() -> None:
            seen.append((number, leak.get()))
            leak.set(number)

        return run

    leak.set(-1)
    for number in range(3):
        mine.queue(turn(number))
    assert seen == []
    await asyncio.sleep(0)
    assert seen == [(0, 0), (1, 0), (2, 0)]


async def test_who_comes_after_the_time_is_over_comes_first_in_the_next_turn(
    mine: Turns, clock: Clock
) -> None:
    seen: list[int] = []

    def turn(number: int) -> Callable[[], None]:
        def run() -> None:
            seen.append(number)
            clock.now += TURN_SECONDS * 0.6
            if len(seen) < 8:
                mine.queue(turn(number))

        return run

    for number in range(3):
        mine.queue(turn(number))
    await asyncio.sleep(0)
    assert seen == [0, 1]
    await asyncio.sleep(0)
    assert seen == [0, 1, 2, 0]
    while len(seen) < 8:
        await asyncio.sleep(0)
    assert seen == [0, 1, 2, 0, 1, 2, 0, 1]
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.may_block("handlers take time on purpose")
async def test_many_clients_with_many_messages_leave_turns_to_the_loop(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    """Ten clients send fifty messages of 1 ms each: half a second of work, in turns of 20 ms."""
    turn_began = thread_time()
    longest = 0.0
    over = asyncio.Event()

    def handle(payload: bytes) -> None:
        until = thread_time() + 0.001  # of the processor: the machine may be busy with others
        while thread_time() < until:
            pass

    def opened(session: RecordingSession) -> None:
        session.on_receive = handle

    async def watch() -> None:
        nonlocal longest, turn_began
        while not over.is_set():
            turn_began = thread_time()
            await asyncio.sleep(0)
            longest = max(longest, thread_time() - turn_began)

    async with serve() as serving:
        serving.on_session = opened
        clients: list[RawClient] = []
        opening = [raw_client(serving.address) for _ in range(10)]
        for each in opening:
            clients.append(await each.__aenter__())
        for client in clients:
            await client.write(*[client.frame("x")] * 50)
        watching = asyncio.create_task(watch())
        for session in list(serving.sessions):
            await session.has_received(50)
        over.set()
        await watching
        for each in opening:
            await each.__aexit__(None, None, None)
    # 10 ms for all, and one message for each that is read past that; without the bound
    # it would be 10 x 5 ms.
    assert longest < 0.035
