"""The end of a link: in its time, of which a busy loop takes nothing away."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import pytest

from tests.core.transports.lines import Line
from wsrooms.transports.brokerlink import close_in_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger("wsrooms.test")

SECONDS = 0.3
HOLD = 0.06


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
        for _ in range(10):
            await asyncio.sleep(0)
            time.sleep(HOLD)  # noqa: ASYNC251 - twice as long in all as it may take

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
