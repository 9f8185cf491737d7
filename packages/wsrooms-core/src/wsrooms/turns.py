"""How long all connections together may keep the loop with what they have received.

One read may hold thousands of messages, and a thousand sockets may be readable at
once. Whoever has more than one message looks at the clock that is kept here, and
leaves what it could not handle for another turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from contextvars import Context

    from wsrooms.sendbuffer import Flusher

__all__ = ["CONNECTION_SECONDS", "TURN_SECONDS", "Turns"]

CONNECTION_SECONDS = 0.005
"""For the messages of one connection in one turn of the loop."""

TURN_SECONDS = 0.010
"""For those of all connections; past it each that is read handles one message."""


class Turns:
    """The time of one loop, shared out among its connections in order."""

    __slots__ = ("_call_soon", "_context", "_queue", "_until", "clock", "flusher")

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        """Share the time of ``loop``; what is queued runs in copies of ``context``."""
        self._call_soon = loop.call_soon
        self._context = context
        self._queue: deque[Callable[[], None]] = deque()
        self._until = 0.0
        self.clock: Callable[[], float] = getattr(loop, "wsrooms_clock", monotonic)
        """The loop's own where it has one: on virtual time no slice of a turn ends by itself."""
        self.flusher: Flusher | None = None
        """Whose work comes first when there is too much of it; set by the server."""

    def until(self) -> float:
        """The time, as of :attr:`clock`, up to which whoever asks may go on in this turn."""
        now = self.clock()
        if not self._until:
            self._until = now + TURN_SECONDS
            # What is scheduled now is the first thing in the next turn.
            self._call_soon(self._turn_over, context=self._context)
        return min(self._until, now + CONNECTION_SECONDS)

    def over(self, until: float) -> bool:
        """Whether something else must have its turn before more messages are handled."""
        flusher = self.flusher
        return (flusher is not None and flusher.pressed) or self.clock() > until

    def _turn_over(self) -> None:
        self._until = 0.0

    @property
    def waiting(self) -> bool:
        """Whether anybody has queued."""
        return bool(self._queue)

    def queue(self, turn: Callable[[], None]) -> None:
        """Call ``turn``, which must not raise, in another turn, after those queued before it."""
        self._queue.append(turn)
        if len(self._queue) == 1:
            self._call_soon(self._run, context=self._context)

    def _run(self) -> None:
        queue = self._queue
        until = self.clock() + TURN_SECONDS
        try:
            for _ in range(len(queue)):
                # Each in a context of its own, not that of a message: it may run a parser, and
                # asyncio keeps the context in which reading is resumed.
                try:
                    self._context.copy().run(queue[0])
                finally:
                    queue.popleft()  # only now, so that what it queues does not schedule twice
                if self.clock() > until:
                    break
        finally:  # a handler's SystemExit passes through here, and the app still has to close
            if queue:
                self._call_soon(self._run, context=self._context)
