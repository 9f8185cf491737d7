"""All connections of one instance, on any number of listening sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Protocol

from wsrooms.sendbuffer import Flusher
from wsrooms.server.heartbeat import Heartbeat
from wsrooms.server.protocol import BufferedServerConnection, ServerConnection
from wsrooms.server.settings import ServerSettings

if TYPE_CHECKING:
    import random

    from wsrooms.connection import WsConnection
    from wsrooms.instance import Instance

__all__ = ["Server", "ServerSettings", "SessionLike"]


READ_BYTES = 65_536
"""Bytes read at a time, where that is ours to say: what one socket may have waiting here."""


class SessionLike(Protocol):
    """What the server needs of a session."""

    @property
    def full(self) -> bool:
        """Whether the socket should not be read."""
        ...

    def open(self) -> None:
        """The handshake is done."""
        ...

    def receive(self, payload: bytes, text: bool) -> None:
        """A whole message came."""
        ...

    def end(self) -> None:
        """The connection has closed."""
        ...


class Server:
    """Owns every socket of an instance, from accept to the last byte."""

    def __init__(
        self,
        instance: Instance,
        open_session: Callable[[WsConnection, Callable[[], None]], SessionLike],
        *,
        heartbeat_interval: float | None,
        heartbeat_timeout: float,
    ) -> None:
        """Serve for ``instance``; ``open_session`` makes what handles a connection."""
        self.instance = instance
        self.open_session = open_session
        self.loop: asyncio.AbstractEventLoop = instance.loop
        self.read_buffer: memoryview = memoryview(bytearray(READ_BYTES))
        self.context: Context = copy_context()
        """For what the loop keeps a context of (readers, writers, timers): not a message's."""
        call_soon = partial(self.loop.call_soon, context=self.context)
        self.flusher: Flusher = Flusher(call_soon, instance.turns.clock, instance.counters)
        instance.turns.flusher = self.flusher
        instance.rooms.fanout.share_turns_of(self.flusher)
        self._chances: random.Random | None = getattr(self.loop, "wsrooms_random", None)
        self.closing: bool = False
        self.heartbeat: Heartbeat | None = None
        if heartbeat_interval:
            self.heartbeat = Heartbeat(
                self.loop, interval=heartbeat_interval, timeout=heartbeat_timeout
            )
        self._protocols: dict[ServerConnection, None] = {}  # in order, so that a run can repeat
        self._all_gone: asyncio.Event | None = None
        self._listening: list[asyncio.Server] = []
        self._unix_sockets: list[tuple[str, int]] = []

    def factory(self, settings: ServerSettings) -> Callable[[], ServerConnection]:
        """Makes the protocol of each socket that is accepted."""
        if isinstance(self.loop, asyncio.SelectorEventLoop):
            return lambda: BufferedServerConnection(self, settings)
        return lambda: ServerConnection(self, settings)

    def new_id(self) -> str:
        """The id of a connection: a UUID, which a test's loop may draw."""
        if self._chances is None:
            return str(uuid.uuid4())
        return str(uuid.UUID(int=self._chances.getrandbits(128), version=4))

    def add(self, listening: asyncio.Server) -> None:
        """Own a listening socket from now on."""
        self._listening.append(listening)
        for sock in listening.sockets:
            path = sock.getsockname()
            if isinstance(path, str) and path:
                self._unix_sockets.append((path, os.stat(path).st_ino))

    @property
    def has_listened(self) -> bool:
        """Whether anybody could ever reach it."""
        return bool(self._listening)

    def sockets(self) -> list[asyncio.Transport]:
        """Every socket that is not gone, in the order in which they were accepted."""
        return [protocol.transport for protocol in self._protocols]

    def opened(self, protocol: ServerConnection) -> None:
        """A socket was accepted."""
        self._protocols[protocol] = None

    def lost(self, protocol: ServerConnection) -> None:
        """A socket is gone."""
        self._protocols.pop(protocol, None)
        if not self._protocols and self._all_gone is not None:
            self._all_gone.set()

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections go on."""
        self.closing = True
        for listening in self._listening:
            listening.close()
        for path, inode in self._unix_sockets:
            with contextlib.suppress(OSError):  # Python 3.13 has removed it by itself
                if os.stat(path).st_ino == inode:  # else another server has taken its place
                    os.unlink(path)

    def close_all(self, code: int, reason: str) -> None:
        """End every connection, and every handshake that is not done."""
        for protocol in list(self._protocols):
            protocol.shut(code, reason)

    async def sockets_gone(self, timeout: float) -> None:
        """Wait until no socket is left; after ``timeout`` seconds they are cut."""
        if self.heartbeat is not None:
            self.heartbeat.stop()
        if not self._protocols:
            return
        self._all_gone = asyncio.Event()
        try:
            async with asyncio.timeout(timeout):
                await self._all_gone.wait()
        except TimeoutError:
            for protocol in list(self._protocols):
                protocol.abort()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):  # connection_lost follows at once
                    await self._all_gone.wait()
