"""Waiting for what nothing announces, such as a broker's own list of subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.deadlines import DEADLINE

LOOK_AGAIN = 0.02


async def until_equal(
    look: Callable[[], Awaitable[object]], wanted: object, timeout: float = DEADLINE
) -> None:
    """Look until ``wanted`` is seen; an AssertionError shows what is seen at the end instead."""
    seen = await look()
    try:
        async with asyncio.timeout(timeout):
            while seen != wanted:
                await asyncio.sleep(LOOK_AGAIN)
                seen = await look()
    except TimeoutError:
        assert seen == wanted, f"still so after {timeout} s"
