"""What becomes of tasks that a handler keeps, and of those that somebody else ends."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import WsApp, use_ws_message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixture of conftest.py


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("concurrent", [1, 3])
async def test_a_task_that_a_handler_keeps_is_its_messages_own(
    waits: bool, concurrent: int, connect: Connect
) -> None:
    """To cancel the task of the message before is what many programs do: latest wins."""
    app = WsApp(max_concurrent_messages=concurrent)
    kept: list[asyncio.Task[object]] = []

    @app.on_message("keep", "/")
    async def keep() -> str:
        task = asyncio.current_task()
        assert task is not None
        if waits:
            await asyncio.sleep(0)
        for earlier in kept:
            if earlier.done():
                earlier.cancel()
        kept.append(task)
        return "ok"

    async with app.serving() as address:
        peer = await connect(address)
        texts = [f'{{"event":"keep","path":"/","id":{n}}}' for n in range(9)]
        peer.send_text(*texts)
        assert [await peer.reply(n) for n in range(9)] == ["ok"] * 9
        assert len(set(kept)) == 9
        assert app.stats()["errors"] == 0


async def test_a_worker_that_is_cancelled_before_it_begins_holds_up_nobody(
    connect: Connect,
) -> None:
    app = WsApp(max_concurrent_messages=2)
    loop = asyncio.get_running_loop()

    @app.on_message("echo", "/")
    async def echo() -> object:
        await asyncio.sleep(0)
        return use_ws_message().data

    made = 0

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        nonlocal made
        task = asyncio.Task(coro, loop=loop, **options)
        if "echo" in (options.get("name") or ""):
            made += 1
            if made == 1:
                task.cancel()
        return task

    async with app.serving() as address:
        peer = await connect(address)
        loop.set_task_factory(factory)
        try:
            peer.send_text(
                *(f'{{"event":"echo","path":"/","data":{n},"id":{n}}}' for n in range(6))
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the handler of the first was never awaited
                assert [await peer.reply(n) for n in range(1, 6)] == [1, 2, 3, 4, 5]
                gc.collect()
        finally:
            loop.set_task_factory(None)
