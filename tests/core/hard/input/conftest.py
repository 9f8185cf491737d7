"""A good client beside a bad one, and short timeouts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE, promised
from wsrooms import WsApp, use_ws_message
from wsrooms.server.settings import ServerSettings

if TYPE_CHECKING:
    from tests.core.conftest import Peer
    from wsrooms import WsAddress


class Attacked:
    """A serving app, and a good client that asks it something all the time."""

    def __init__(self, app: WsApp, address: WsAddress, good: Peer) -> None:
        self.app = app
        self.address = address
        self.answered = 0
        """How many requests of the good client have had their reply."""
        self._good = good
        self._over = False
        self._asking = asyncio.create_task(self._ask())
        self._news = asyncio.Event()

    async def _ask(self) -> None:
        while not self._over:
            number = self.answered + 1
            assert await self._good.call("good", "/", number) == number
            self.answered = number
            self._news.set()

    async def keeps_answering(self) -> None:
        """Wait for two more replies: the second request was sent after this was called."""
        until = self.answered + 2
        while self.answered < until:
            self._news.clear()
            if self._asking.done():
                await self._asking
            await self._news.wait()

    async def end(self) -> None:
        """See that the good client lacks no reply."""
        await self.keeps_answering()
        self._over = True
        await self._asking
        assert len(self._good.received) == self.answered

    def dropped(self) -> dict[str, int]:
        """What was dropped, by reason."""
        counts = self.app.stats().items()
        return {key[8:]: n for key, n in counts if key.startswith("dropped_") and n}


@pytest.fixture
def attacked(
    connect: Callable[..., Awaitable[Peer]], caplog: pytest.LogCaptureFixture
) -> Callable[[WsApp], AbstractAsyncContextManager[Attacked]]:
    """Give what serves an app with a good client beside, in an async with block.

    The client asks on route ("good", "/") and must get every reply, and nothing that
    clients do may be worth a warning in the log. Where a raw client reads, the app is to have
    no heartbeat: a flood that takes seconds on a busy machine would have a ping between.
    """

    @contextlib.asynccontextmanager
    async def serve(app: WsApp) -> AsyncIterator[Attacked]:
        app.on_message("good", "/", lambda: use_ws_message().data)
        async with app.serving() as address:
            server = Attacked(app, address, await connect(address))
            try:
                yield server
                async with asyncio.timeout(DEADLINE):
                    await server.end()
            finally:
                server._asking.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await server._asking
        assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []

    return serve


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let apps wait 1 s for a handshake, not 10, and 0.1 s for an answer to CLOSE, not 2."""
    patience = promised(1.0)  # in which good clients have to be in
    settings = functools.partial(ServerSettings, handshake_timeout=patience, close_timeout=0.1)
    monkeypatch.setattr("wsrooms.app.ServerSettings", settings)
