"""One connection's outgoing frames: coalesced per loop turn, bounded when its reader is slow.

A :class:`SendBuffer` holds what one connection has not been given yet; a
:class:`Flusher` gives all buffers of a server their turn, once per turn of the
loop. Neither knows a socket or a loop: what they call is handed to them.

While the transport takes what is written, frames stay here until the end of the
turn, so that k messages of one turn cost one ``send()``. Once it does not, they
stay until it does, and only then the bounds and the slow-client policy apply.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

__all__ = ["Flusher", "SendBuffer", "SlowClient"]

SlowClient = Literal["close", "drop_oldest", "drop_newest"]

WRITE_AT = 65_536
"""Bytes of one turn that are written before the turn ends (one socket buffer's worth)."""

FLUSH_SLICE = 0.005
"""Seconds that one run of the flusher may take before the loop gets a turn."""


class Flusher:
    """Writes the buffers that became non-empty, once per turn of the loop."""

    __slots__ = ("_call_soon", "_clock", "_dirty", "_scheduled")

    def __init__(
        self, call_soon: Callable[[Callable[[], None]], object], clock: Callable[[], float]
    ) -> None:
        self._call_soon = call_soon
        self._clock = clock
        self._dirty: deque[SendBuffer] = deque()
        self._scheduled = False

    def add(self, buffer: SendBuffer) -> None:
        """Give ``buffer``, which has just become non-empty, a place in the next flush."""
        self._dirty.append(buffer)
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._run)

    def _run(self) -> None:
        dirty = self._dirty
        until = self._clock() + FLUSH_SLICE
        budget = 64  # the clock is read once in 64 writes: it costs a tenth of one
        try:
            while dirty:
                dirty.popleft().flush()
                budget -= 1
                if not budget:
                    if self._clock() > until:
                        break
                    budget = 64
        finally:
            self._scheduled = bool(dirty)
            if self._scheduled:
                self._call_soon(self._run)


class SendBuffer:
    """Frames on their way to one connection, in order.

    Pushes may be dropped by the policy; replies and control frames never are.

    Attributes:
        size: Bytes that wait here.
        blocked: Whether the transport takes nothing at the moment.
        closed: Whether everything is ignored by now.
    """

    __slots__ = (
        "_flusher",
        "_frames",
        "_limit_bytes",
        "_limit_messages",
        "_on_slow",
        "_policy",
        "_waiting",
        "_write",
        "blocked",
        "closed",
        "size",
    )

    def __init__(
        self,
        flusher: Flusher,
        write: Callable[[bytes, int], None],
        on_slow: Callable[[int], None],
        *,
        limit_bytes: int,
        limit_messages: int,
        policy: SlowClient,
    ) -> None:
        """Make an empty buffer.

        Args:
            flusher: Who calls :meth:`flush` at the end of the turn.
            write: Takes joined frames and their number; it may call :meth:`block` meanwhile.
            on_slow: Called when a push met a full buffer, with the number of
                pushes that were dropped; 0 asks for the end of the connection.
            limit_bytes: What may wait while the transport takes nothing.
            limit_messages: Likewise, in frames.
            policy: What happens to a push that meets a full buffer.
        """
        self._flusher = flusher
        self._write = write
        self._on_slow = on_slow
        self._limit_bytes = limit_bytes
        self._limit_messages = limit_messages
        self._policy: SlowClient = policy
        self._frames: list[bytes] = []
        # What came while blocked, each with whether it may be dropped. It follows
        # _frames, which then holds the turn that blocked and replies moved there.
        self._waiting: deque[tuple[bytes, bool]] | None = None
        self.size = 0
        self.blocked = False
        self.closed = False

    def __len__(self) -> int:
        return len(self._frames) + (len(self._waiting) if self._waiting else 0)

    @property
    def full(self) -> bool:
        """Whether the transport takes nothing and the bounds are reached."""
        return self.blocked and not self._fits(0)

    def push(self, frame: bytes) -> None:
        """Send a push: at the end of the turn, or as the policy says."""
        if self.blocked or self.closed:
            self._push_blocked(frame)
            return
        frames = self._frames
        if not frames:
            self._flusher.add(self)
        frames.append(frame)
        self.size += len(frame)
        if self.size > WRITE_AT:
            self.flush()

    def keep(self, frame: bytes) -> None:
        """Send a reply or a control frame: in order with the pushes, and never dropped."""
        if self.closed:
            return
        if self.blocked:
            self._wait(frame, droppable=False)
            return
        frames = self._frames
        if not frames:
            self._flusher.add(self)
        frames.append(frame)
        self.size += len(frame)
        if self.size > WRITE_AT:
            self.flush()

    def flush(self) -> None:
        """Write what waits, unless the transport takes nothing."""
        frames = self._frames
        if self.blocked or self.closed or not frames:
            return
        count = len(frames)
        data = frames[0] if count == 1 else b"".join(frames)
        frames.clear()
        self.size = 0
        self._write(data, count)

    def block(self) -> None:
        """The transport takes no more: frames stay here, and the bounds count."""
        self.blocked = True

    def unblock(self) -> None:
        """The transport takes frames again: write all that waits."""
        self.blocked = False
        if self._waiting:
            self._frames.extend(frame for frame, _ in self._waiting)
            self._waiting = None
        self.flush()

    def close(self) -> None:
        """Forget what waits; from now on everything is ignored."""
        self.closed = True
        self._frames.clear()
        self._waiting = None
        self.size = 0

    def fits(self, size: int, messages: int) -> bool:
        """Whether ``size`` bytes and one more than ``messages`` frames are within the bounds."""
        return messages < self._limit_messages and size <= self._limit_bytes

    def _fits(self, size: int) -> bool:
        return self.fits(self.size + size, len(self))

    def _wait(self, frame: bytes, *, droppable: bool) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append((frame, droppable))
        self.size += len(frame)

    def _push_blocked(self, frame: bytes) -> None:
        if self.closed:
            return
        if self._fits(len(frame)):
            self._wait(frame, droppable=True)
        elif self._policy == "close":
            self._on_slow(0)
        elif self._policy == "drop_newest" or len(frame) > self._limit_bytes:
            self._on_slow(1)  # no room that older ones could make is enough for such a frame
        else:
            dropped = self._drop_oldest(len(frame))
            if self._fits(len(frame)):
                self._wait(frame, droppable=True)
            else:  # what may not be dropped fills the buffer
                dropped += 1
            self._on_slow(dropped)

    def _drop_oldest(self, size: int) -> int:
        dropped = 0
        while self._waiting and not self._fits(size):
            frame, droppable = self._waiting.popleft()
            if droppable:
                self.size -= len(frame)
                dropped += 1
            else:
                self._frames.append(frame)
        return dropped
