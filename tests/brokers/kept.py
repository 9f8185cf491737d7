"""Servers that tests use one after another, where one of its own would take each too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from tests.brokers.servers import Server

__all__ = ["Kept", "end_kept"]

AnyServer = TypeVar("AnyServer", bound=Server)

_servers: list[Server] = []


class Kept(Generic[AnyServer]):
    """Servers of one class, each under a key."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, AnyServer] = {}

    @asynccontextmanager
    async def server(
        self, key: Hashable, make: Callable[[], AnyServer]
    ) -> AsyncIterator[AnyServer]:
        """The server that is kept under ``key``, which runs; made at the first time.

        Whoever kills or stops it need not start it again. What was stored in it stays there
        for whoever comes next, so that each test keeps to names of its own.
        """
        server = self._by_key.get(key)
        if server is None or server not in _servers:
            server = await asyncio.to_thread(make)  # the first one loads what talks to Docker
            await server.__aenter__()
            self._by_key[key] = server
            _servers.append(server)
        elif not server.awake:
            await server.restart()
        yield server


def end_kept() -> None:
    """Kill them all, at the end of a session."""
    while _servers:
        asyncio.run(_servers.pop().__aexit__(None, None, None))
