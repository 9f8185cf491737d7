"""A TCP proxy in front of a broker, for tests of what happens when the network fails."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Self

from wsrooms.testing.proxy.links import Address, Link, Pace

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["TcpProxy"]

HOST = "127.0.0.1"
BACKLOG = 128


class TcpProxy:
    """A port of this machine that leads to a broker, until a test breaks it.

    Use it as ``async with TcpProxy("127.0.0.1", 6379) as proxy:`` and let the transport
    connect to ``proxy.host`` and ``proxy.port``. What passes is bytes, so TLS passes too (its
    certificate must be good for ``proxy.host``). Every fault acts before its method returns:
    after :meth:`hole` not one byte more goes out on either side.

    It runs on the loop of the test, with no task and no thread, and leaves no socket behind.
    A loop that is blocked blocks it too. It needs a loop with ``add_reader``: asyncio's and
    uvloop have it, the Proactor loop of Windows has not, and on virtual time nothing real
    passes.

    Two things differ from a line without it. Who connects is accepted before the broker was
    asked: where that refuses, or is not there, the client sees a connection that is reset at
    once. And a byte may wait in the buffers of two kernels instead of one.

    Attributes:
        host: Where it listens: 127.0.0.1.
        port: And on which port; it is kept for as long as the proxy lives.
        accepted: How many connections it has accepted since it started.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int | None = None, *, path: str | None = None
    ) -> None:
        """Lead to a broker's host and port, or to its Unix socket.

        Args:
            host: The broker's.
            port: The broker's.
            path: Of a Unix socket, in place of ``host`` and ``port``.

        Raises:
            ValueError: Neither or both of ``port`` and ``path`` were given.
        """
        if (port is None) == (path is None):
            raise ValueError("give a port or the path of a Unix socket")
        self.host: str = HOST
        self.port: int = 0
        self.accepted: int = 0
        self._host = host
        self._target = path if path is not None else port
        self._address: Address | None = None
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._links: set[Link] = set()
        self._pace = Pace()
        self._silent = False
        self._ended_up = [0, 0]
        self._ended_down = [0, 0]

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._loop = asyncio.get_running_loop()
        if isinstance(self._target, str):
            self._address = (socket.AF_UNIX, self._target)
        else:
            found = await self._loop.getaddrinfo(self._host, self._target, type=socket.SOCK_STREAM)
            family, _, _, _, address = found[0]
            self._address = (family, address)
        self._listener = self._reserved(0)
        self.port = self._listener.getsockname()[1]
        self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Reset every connection and give the port back."""
        self.cut()
        self._close_listener()

    # What a test breaks

    def cut(self) -> None:
        """Reset every connection, on both sides; what was on its way is lost.

        New ones work as before.
        """
        self._accept()
        for link in list(self._links):
            link.reset()

    def hole(self, *, new_ones_work: bool = False) -> None:
        """Let nothing pass any more and tell nobody, as when a machine on the way dies.

        Connections stay open. Nothing is read, so what is written piles up with its sender;
        not even the end of a side is seen by the other. When it heals, what had piled up
        passes, as after a network's outage; a test that wants it gone calls :meth:`cut`.

        Args:
            new_ones_work: Whether connections made from now on work ("half-open: the old ones
                are dead, and nobody knows"). Else they are accepted and as silent: a broker
                that has been stopped is like that.
        """
        self._accept()
        self._silent = not new_ones_work
        for link in self._links:
            link.silent = True
            link.watch()

    def refuse(self) -> None:
        """Refuse new connections, and keep the port; those that exist are not touched."""
        if self._listener is not None and self._loop is not None:
            self._accept()
            self._close_listener()
            # Bound and not listening: connecting is refused, and nobody else gets the port.
            self._listener = self._reserved(self.port)

    def slow(self, bytes_per_second: float | None = None, latency: float = 0.0) -> None:
        """Let everything that is read from now on take its time, also on old connections.

        Args:
            bytes_per_second: In each direction of each connection; None: without a limit.
                Whoever writes faster has to wait, once the buffers between are full.
            latency: Seconds that each byte travels, each way.
        """
        self._pace.bytes_per_second = bytes_per_second
        self._pace.latency = latency
        for link in self._links:
            link.watch()

    def heal(self) -> None:
        """End all that is wrong: holes, refusing and slowness; the old connections go on."""
        self._silent = False
        self.slow()
        for link in list(self._links):
            link.silent = False
            link.watch()
        self._listen()

    # What a test counts

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._links)

    @property
    def writes(self) -> int:
        """How often something was read from a client, over all connections so far.

        One read takes up to 256 KiB of what has arrived, so this is at most the number of the
        clients' writes (of not more than what a socket takes at once), and less where TCP or a
        busy loop has put several together. It bounds from below what :class:`SocketWrites`
        counts exactly for clients in this thread.
        """
        return self._ended_up[0] + sum(link.up.reads for link in self._links)

    @property
    def written_bytes(self) -> int:
        """How many bytes were read from clients."""
        return self._ended_up[1] + sum(link.up.bytes for link in self._links)

    @property
    def answers(self) -> int:
        """How often something was read from the broker."""
        return self._ended_down[0] + sum(link.down.reads for link in self._links)

    @property
    def answered_bytes(self) -> int:
        """How many bytes were read from the broker."""
        return self._ended_down[1] + sum(link.down.bytes for link in self._links)

    # The listener

    def _reserved(self, port: int) -> socket.socket:
        """A socket that has the port and does not listen."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((HOST, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def _listen(self) -> None:
        if self._listener is not None and self._loop is not None:
            self._listener.listen(BACKLOG)
            self._loop.add_reader(self._listener, self._accept)

    def _close_listener(self) -> None:
        if self._listener is not None and self._loop is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self) -> None:
        """Take all who have connected."""
        while self._listener is not None and self._loop is not None and self._address:
            try:
                client, _ = self._listener.accept()
            except OSError:  # nobody is left, or it does not listen
                return
            self.accepted += 1
            link = Link(
                self._loop, client, self._address, self._pace, self._gone, silent=self._silent
            )
            self._links.add(link)
            link.watch()

    def _gone(self, link: Link) -> None:
        self._links.discard(link)
        for counts, way in ((self._ended_up, link.up), (self._ended_down, link.down)):
            counts[0] += way.reads
            counts[1] += way.bytes
