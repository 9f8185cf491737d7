"""The end of a link: in its time, of which a busy loop takes nothing away."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.core.transports.lines import Line
from tests.deadlines import promised
from wsrooms.transports.brokerlink import close_in_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger("wsrooms.test")

SECONDS = promised(0.5)


class Ending(Line):
    """A link of which only the end is of interest.

    Attributes:
        ended: Whether its close has come to its end.
    """

    def __init__(self, close: Callable[[], Awaitable[object]]) -> None:
        self.ended = False
        self._close = close

    async def close(self) -> None:
        await self._close()
        self.ended = True


@pytest.mark.may_block("the loop is kept busy, as by a handler that computes")
async def test_a_busy_loop_takes_no_time_from_a_close(caplog: pytest.LogCaptureFixture) -> None:
    async def needs_turns() -> None:
        for _ in range(6):
            await asyncio.sleep(0)
            time.sleep(SECONDS / 5)  # noqa: ASYNC251 - in all, longer than it may take

    link = Ending(needs_turns)
    await close_in_time(link, SECONDS, "a transport", logger)
    assert link.ended
    assert not caplog.records


async def test_a_close_that_does_not_end_is_told_and_cut_short(
    caplog: pytest.LogCaptureFixture,
) -> None:
    link = Ending(asyncio.Event().wait)
    await close_in_time(link, 0.05, "a transport", logger)
    assert not link.ended
    assert "a link of 'a transport' did not close within 0.05 s" in caplog.text


async def test_a_close_has_begun_before_it_can_be_cancelled() -> None:
    begun: list[str] = []

    async def begins() -> None:
        begun.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            begun.append("ended")

    closing = asyncio.create_task(close_in_time(Ending(begins), 60, "a transport", logger))
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    assert begun == ["begun", "ended"]


async def test_a_loop_that_is_always_busy_does_not_hold_a_close_up_for_ever() -> None:
    def busy() -> None:
        time.sleep(0.02)
        again.append(loop.call_soon(busy))

    loop = asyncio.get_running_loop()
    again = [loop.call_soon(busy)]
    began = loop.time()
    await close_in_time(Ending(asyncio.Event().wait), SECONDS, "a transport", logger)
    again[-1].cancel()
    assert loop.time() - began < 2 * SECONDS


async def test_what_a_close_raises_as_it_is_cut_short_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("as it was cut short")

    await close_in_time(Ending(fails), 0.05, "a transport", logger)
    assert "a link of 'a transport' did not close within 0.05 s" in caplog.text
    assert "OSError: as it was cut short" in caplog.text


async def test_a_close_that_swallows_a_cancellation_is_cancelled_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def swallows() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    await close_in_time(Ending(swallows), 0.5, "a transport", logger)
    assert "does not end" not in caplog.text
    assert "did not close" in caplog.text
