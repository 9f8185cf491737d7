"""One connection's outgoing frames: coalesced per loop turn, bounded when its reader is slow.

A :class:`SendBuffer` holds what one connection has not been given yet; a
:class:`Flusher` gives all buffers of a server their turn, once per turn of the
loop; a :class:`Batch` is what many buffers hold in common. None of them knows a
socket or a loop: what they call is handed to them.

While the transport takes what is written, frames stay here until the end of the
turn, so that k messages of one turn cost one ``send()``. Once it does not, they
stay until it does, and only then the bounds and the slow-client policy apply.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from typing import Literal, Protocol

__all__ = ["BATCH_FROM", "Batch", "Counting", "Flusher", "SendBuffer", "Sink", "SlowClient"]

SlowClient = Literal["close", "drop_oldest", "drop_newest"]

WRITE_AT = 65_536
"""Bytes of one turn that are written before the turn ends (one socket buffer's worth)."""

BATCHES_AT = 4 * WRITE_AT
"""Likewise, where the bytes are those of whole rooms: a thousand such writes at once would
hold up the loop, so that the flusher, which works in slices, is first given its turn."""

FLUSH_SLICE = 0.005
"""Seconds that one run of the flusher may take before the loop gets a turn."""


BATCH_FROM = 16
"""Members of a room from which on a batch costs less than a push to each of them."""


class Batch:
    """Frames of one turn that many buffers hold as one, and that are joined once for all.

    While it is open it is the last thing in each of its buffers, so one more frame for
    all of them is one append. It is closed as soon as one of them gets anything else,
    is flushed or is blocked; who has it keeps it, and the next frame needs a new batch.

    Attributes:
        exclude: Who of the room does not get it.
        frames: In order.
        is_open: Whether :meth:`add` may still be called.
        others: Members of the room that cannot hold it: they take each frame by themselves.
        shared_size: Bytes when the buffers were given it.
        size: Bytes by now.
    """

    __slots__ = ("_joined", "exclude", "frames", "is_open", "others", "shared_size", "size")

    def __init__(self, frame: bytes, exclude: object, others: Sequence[object]) -> None:
        self.exclude: object = exclude
        self.others: Sequence[object] = others
        self.frames: list[bytes] = [frame]
        self.size: int = len(frame)
        self.shared_size: int = self.size
        self.is_open: bool = True
        self._joined: bytes | None = None

    def add(self, frame: bytes) -> None:
        """Send one more frame to all."""
        self.frames.append(frame)
        self.size += len(frame)
        if self.size > WRITE_AT:
            self.is_open = False

    def share(self, buffers: Iterable[SendBuffer]) -> None:
        """Put it into buffers that are open."""
        size = self.size
        for buffer in buffers:
            if buffer._batch is not None:
                buffer._close_batch()
            frames = buffer._frames
            if not frames:
                flusher = buffer._flusher
                flusher.dirty.append(buffer)
                if not flusher.scheduled:
                    flusher.schedule()
            frames.append(self)
            buffer._batch = self
            buffer.size += size
            if buffer.size > WRITE_AT:
                buffer._flusher.pressed = True
                if buffer.size > BATCHES_AT:
                    buffer._flush_early()

    def joined(self) -> bytes:
        """All frames; to be asked for once it is closed."""
        if self._joined is None:
            self._joined = b"".join(self.frames)
        return self._joined


class Sink(Protocol):
    """Where a buffer's bytes go: a transport of asyncio."""

    def write(self, data: bytes, /) -> None:
        """Take bytes; it may call :meth:`SendBuffer.block` meanwhile."""
        ...

    def is_closing(self) -> bool:
        """Whether bytes would be lost."""
        ...


class Counting(Protocol):
    """What is counted of all buffers."""

    writes: int
    messages_out: int


class Flusher:
    """Writes the buffers that became non-empty, once per turn of the loop.

    Attributes:
        batches: What was shared this turn, by whatever the sharer knows it by.
        counters: Every write and every frame is counted here.
        dirty: The buffers that have something; who appends one calls :meth:`schedule`.
        pressed: Whether so much waits that whoever makes more of it should let a flush pass.
        scheduled: Whether a flush is on its way, so that nobody needs to call that.
    """

    __slots__ = ("_call_soon", "_clock", "batches", "counters", "dirty", "pressed", "scheduled")

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float],
        counters: Counting,
    ) -> None:
        self._call_soon = call_soon
        self._clock = clock
        self.counters: Counting = counters
        self.dirty: deque[SendBuffer] = deque()
        self.scheduled: bool = False
        self.pressed: bool = False
        self.batches: dict[str, Batch] = {}

    def schedule(self) -> None:
        """Flush at the end of this turn."""
        self.scheduled = True
        self._call_soon(self._run)

    def _run(self) -> None:
        self.batches.clear()
        dirty = self.dirty
        next_one = dirty.popleft
        until = self._clock() + FLUSH_SLICE
        try:
            while dirty:
                # The clock is read once in 64 writes: it costs a tenth of one.
                for _ in range(min(len(dirty), 64)):
                    next_one().flush()
                if self._clock() > until:
                    break
        finally:
            self.scheduled = False
            if dirty:
                self.schedule()
            else:
                self.pressed = False


class SendBuffer:
    """Frames on their way to one connection, in order.

    Pushes may be dropped by the policy; replies and control frames never are.

    Attributes:
        size: Bytes that wait here.
        blocked: Whether the transport takes nothing at the moment.
        closed: Whether everything is ignored by now.
        is_open: Whether it is neither blocked nor closed.
    """

    __slots__ = (
        "_batch",
        "_flusher",
        "_frames",
        "_is_closing",
        "_limit_bytes",
        "_limit_messages",
        "_on_slow",
        "_policy",
        "_waiting",
        "_write",
        "blocked",
        "closed",
        "is_open",
        "size",
    )

    def __init__(
        self,
        flusher: Flusher,
        sink: Sink,
        on_slow: Callable[[int], None],
        *,
        limit_bytes: int,
        limit_messages: int,
        policy: SlowClient,
    ) -> None:
        """Make an empty buffer.

        Args:
            flusher: Who calls :meth:`flush` at the end of the turn.
            sink: Takes what is written.
            on_slow: Called when a push met a full buffer, with the number of
                pushes that were dropped; 0 asks for the end of the connection.
            limit_bytes: What may wait while the transport takes nothing.
            limit_messages: Likewise, in frames.
            policy: What happens to a push that meets a full buffer.
        """
        self._flusher = flusher
        self._write = sink.write
        self._is_closing = sink.is_closing
        self._on_slow = on_slow
        self._limit_bytes = limit_bytes
        self._limit_messages = limit_messages
        self._policy: SlowClient = policy
        self._frames: list[bytes | Batch] = []
        self._batch: Batch | None = None  # the last of _frames, if that may still be open
        # What came while blocked, each with whether it may be dropped. It follows
        # _frames, which then holds the turn that blocked and replies moved there.
        self._waiting: deque[tuple[bytes, bool]] | None = None
        self.size: int = 0
        self.blocked: bool = False
        self.closed: bool = False
        self.is_open: bool = True

    def __len__(self) -> int:
        return len(self._frames) + (len(self._waiting) if self._waiting else 0)

    @property
    def full(self) -> bool:
        """Whether the transport takes nothing and the bounds are reached."""
        return self.blocked and not self._fits(0)

    def push(self, frame: bytes) -> None:
        """Send a push: at the end of the turn, or as the policy says."""
        if not self.is_open:
            self._push_blocked(frame)
            return
        if self._batch is not None:
            self._close_batch()
        frames = self._frames
        if not frames:
            # Written out twice, and in Batch.share: a call would cost as much as the rest.
            flusher = self._flusher
            flusher.dirty.append(self)
            if not flusher.scheduled:
                flusher.schedule()
        frames.append(frame)
        self.size += len(frame)
        if self.size > WRITE_AT:
            self._flush_early()

    def keep(self, frame: bytes) -> None:
        """Send a reply or a control frame: in order with the pushes, and never dropped."""
        if not self.is_open:
            if not self.closed:
                self._wait(frame, droppable=False)
            return
        if self._batch is not None:
            self._close_batch()
        frames = self._frames
        if not frames:
            # Written out twice, and in Batch.share: a call would cost as much as the rest.
            flusher = self._flusher
            flusher.dirty.append(self)
            if not flusher.scheduled:
                flusher.schedule()
        frames.append(frame)
        self.size += len(frame)
        if self.size > WRITE_AT:
            self._flush_early()

    def flush(self) -> None:
        """Write what waits, unless the transport takes nothing."""
        frames = self._frames
        if not frames or not self.is_open:
            return
        if self._batch is not None:
            self._batch.is_open = False
            self._batch = None
        if len(frames) == 1:
            only = frames[0]
            if isinstance(only, bytes):
                data, count = only, 1
            else:
                data, count = only.joined(), len(only.frames)
        else:
            parts = _singly(frames)
            data, count = b"".join(parts), len(parts)
        frames.clear()
        self.size = 0
        counters = self._flusher.counters
        counters.writes += 1
        counters.messages_out += count
        self._write(data)

    def _flush_early(self) -> None:
        """Write before the turn ends, unless the socket is gone and only we have not heard."""
        # One write a turn to such a socket is ignored in silence, more are complained of.
        if self._is_closing():
            self.close()
        else:
            # A message is being handled: asyncio would keep its context until the client has read.
            Context().run(self.flush)

    def block(self) -> None:
        """The transport takes no more: frames stay here, and the bounds count."""
        if self._batch is not None:
            self._close_batch()
        self._frames[:] = _singly(self._frames)
        self.blocked = True
        self.is_open = False

    def unblock(self) -> None:
        """The transport takes frames again: write all that waits."""
        self.blocked = False
        self.is_open = not self.closed
        if self._waiting:
            self._frames.extend(frame for frame, _ in self._waiting)
            self._waiting = None
        self.flush()

    def close(self) -> None:
        """Forget what waits; from now on everything is ignored."""
        self.closed = True
        self.is_open = False
        self._frames.clear()
        self._batch = None
        self._waiting = None
        self.size = 0

    def _close_batch(self) -> None:
        """Something else follows the batch, which takes no more then."""
        batch = self._batch
        if batch is not None:
            batch.is_open = False
            self._batch = None
            self.size += batch.size - batch.shared_size

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


def _singly(frames: list[bytes | Batch]) -> list[bytes]:
    """Every frame by itself."""
    parts: list[bytes] = []
    for frame in frames:
        if isinstance(frame, bytes):
            parts.append(frame)
        else:
            parts.extend(frame.frames)
    return parts
