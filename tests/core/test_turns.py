"""The time of a turn is shared by all sockets, in order, whatever each of them has received."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable

import pytest

from wsrooms import turns
from wsrooms.turns import CONNECTION_SECONDS, TURN_SECONDS, Turns


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(turns, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
async def mine(clock: Clock) -> Turns:
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
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen == [0, 1, 2, 0, 1, 2, 0, 1]
    for _ in range(3):
        await asyncio.sleep(0)
