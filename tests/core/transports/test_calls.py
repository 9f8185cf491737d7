"""Tasks of client libraries, which may swallow that they are cancelled."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.deadlines import DEADLINE
from wsrooms.transports import end_tasks, until_done


async def swallow(times: int, *, then: Exception | None = None) -> str:
    """Go on after so many cancellations, as if each were the end of what is waited for."""
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    if then is not None:
        raise then
    await asyncio.Event().wait()
    return "never"


async def test_what_a_task_answers_is_the_answer() -> None:
    async def answer() -> int:
        return 7

    async def fail() -> int:
        raise ValueError("no")

    assert await until_done(asyncio.create_task(answer())) == 7
    with pytest.raises(ValueError, match="no"):
        await until_done(asyncio.create_task(fail()))


@pytest.mark.parametrize("then", [None, ValueError("of no use")])
async def test_who_is_cancelled_ends_a_task_that_swallows_that(then: Exception | None) -> None:
    task = asyncio.create_task(swallow(5, then=then))
    waits = asyncio.create_task(until_done(task))
    await asyncio.sleep(0)
    waits.cancel()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(asyncio.CancelledError):
            await waits
    assert task.done()


async def test_a_task_that_goes_on_is_left_to_itself_in_time() -> None:
    over = asyncio.Event()

    async def go_on() -> None:
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()

    task = asyncio.create_task(go_on())
    waits = asyncio.create_task(until_done(task, 0.1))
    await asyncio.sleep(0)
    waits.cancel()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert await end_tasks([task], 0.1) == [task]
        over.set()
        await task
    assert await end_tasks([task], 0.1) == []


async def test_without_patience_a_task_is_cancelled_once_all_the_same() -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)
    assert await end_tasks([task], 0) == []
    assert task.cancelled()
