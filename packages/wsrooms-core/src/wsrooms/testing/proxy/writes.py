"""How often this thread has written to a socket."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import FrameType, TracebackType

__all__ = ["SocketWrites"]

WRITES = frozenset({"send", "sendall", "sendmsg", "sendto"})


class SocketWrites:
    """Counts what this thread writes to sockets in a ``with`` block, to one port or to any.

    Each call of a socket's ``send``, ``sendmsg``, ``sendall`` or ``sendto`` counts as one, so
    this is what the other side of the line cannot know: TCP puts writes together and takes
    them apart as it likes. It sees what Python calls, which is what asyncio's own loops do;
    uvloop writes without Python, and nothing is counted there.

    The interpreter's profile function of the thread is taken for the time of the block, so
    everything in it is slower.

    Attributes:
        count: How many so far.
    """

    def __init__(self, port: int | None = None) -> None:
        """Count writes to ``port``, or all."""
        self.count: int = 0
        self._port = port
        self._before: Any = None  # any: what sys.getprofile gives

    def __enter__(self) -> Self:
        """Begin to count."""
        self._before = sys.getprofile()
        sys.setprofile(self._called)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        sys.setprofile(self._before)

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:  # any: the event's
        if event != "c_call" or argument.__name__ not in WRITES:
            return
        sock = getattr(argument, "__self__", None)
        if isinstance(sock, socket.socket) and self._port in (None, self._peer_port(sock)):
            self.count += 1

    @staticmethod
    def _peer_port(sock: socket.socket) -> int | None:
        try:
            peer = sock.getpeername()
        except OSError:
            return None
        return peer[1] if isinstance(peer, tuple) else None
