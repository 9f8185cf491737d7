"""Pings for all connections of a server, from one shared timer.

Connections are spread over slots, and each tick serves one of them, so that a
thousand clients are not pinged at once. No task and no timer per connection.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["Heartbeat", "Pingable"]

SLOTS = 16


class Pingable(Protocol):
    """A connection, as the heartbeat sees it."""

    heard: bool

    @property
    def reading(self) -> bool:
        """Whether an answer could be heard: not while we ourselves have stopped reading."""
        ...

    def look_at_silence(self, patience: float) -> None:
        """It is not being read: end it if that is its own fault and for so many seconds."""
        ...

    def ping(self) -> None:
        """Send a ping."""
        ...

    def heartbeat_failed(self) -> None:
        """There was no answer."""
        ...


class Heartbeat:
    """Pings each connection every ``interval`` seconds; it has ``timeout`` to answer.

    Whatever is received after the ping is an answer. While a connection is not
    being read its deadline is suspended. A connection whose deadline still runs
    is not asked again, so the timeout may be longer than the interval.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, interval: float, timeout: float) -> None:
        self._loop = loop
        self._tick_seconds = interval / SLOTS
        self._timeout = timeout
        self._patience = interval + timeout
        self._slots: list[dict[Pingable, None]] = [{} for _ in range(SLOTS)]
        self._slot_of: dict[Pingable, int] = {}
        self._next = 0
        self._asked: dict[Pingable, dict[Pingable, None]] = {}
        """With whom each was asked, in the order of their pings."""
        # One timeout for all, so checks come due in the order of their pings.
        self._checks: deque[asyncio.TimerHandle] = deque()
        self._ticking: asyncio.TimerHandle | None = None

    def add(self, connection: Pingable) -> None:
        """Look after ``connection``."""
        slot = random.randrange(SLOTS)
        self._slots[slot][connection] = None
        self._slot_of[connection] = slot
        if self._ticking is None:
            self._ticking = self._loop.call_later(self._tick_seconds, self._tick)

    def discard(self, connection: Pingable) -> None:
        """It is gone."""
        slot = self._slot_of.pop(connection, None)
        if slot is not None:
            self._slots[slot].pop(connection, None)
            # A check that is to come would keep all of it, for as long as the timeout.
            self._asked.pop(connection, {}).pop(connection, None)

    def __len__(self) -> int:
        return len(self._slot_of)

    def stop(self) -> None:
        """End all timers."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        while self._checks:
            self._checks.popleft().cancel()

    def _tick(self) -> None:
        self._ticking = None
        slot = list(self._slots[self._next])
        self._next = (self._next + 1) % SLOTS
        asked: dict[Pingable, None] = {}
        for connection in slot:
            if not connection.reading:
                connection.look_at_silence(self._patience)
            elif connection not in self._asked:
                connection.heard = False
                asked[connection] = None
                self._asked[connection] = asked
                connection.ping()
        if asked:
            self._checks.append(self._loop.call_later(self._timeout, self._check, asked))
        if self._slot_of:
            self._ticking = self._loop.call_later(self._tick_seconds, self._tick)

    def _check(self, asked: dict[Pingable, None]) -> None:
        self._checks.popleft()
        for connection in tuple(asked):
            if self._asked.pop(connection, None) is None:
                continue  # it has gone since another one failed
            if connection.reading and not connection.heard:
                self.discard(connection)
                connection.heartbeat_failed()
