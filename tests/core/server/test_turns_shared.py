"""Many clients with many messages leave the loop its turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from time import thread_time
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import promised

if TYPE_CHECKING:
    from tests.core.conftest import RawClient
    from tests.core.server.conftest import RecordingSession


CLIENTS = round(promised(10))
"""As many more as the limit is longer: what the turn would be without the bound grows with it."""


@pytest.mark.usefixtures("without_garbage")
@pytest.mark.may_block("handlers take time on purpose")
async def test_many_clients_with_many_messages_leave_turns_to_the_loop(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    """Each sends fifty messages of 1 ms: from ten, half a second of work, in turns of 20 ms."""
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

    async with serve() as serving, AsyncExitStack() as stack:
        serving.on_session = opened
        clients: list[RawClient] = [
            await stack.enter_async_context(raw_client(serving.address)) for _ in range(CLIENTS)
        ]
        for client in clients:
            await client.write(*[client.frame("x")] * 50)
        watching = asyncio.create_task(watch())
        for session in list(serving.sessions):
            await session.has_received(50)
        over.set()
        await watching
    # 10 ms for all, and one message for each that is read past that; without the bound
    # it would be 5 ms for each.
    assert longest < promised(0.035)
