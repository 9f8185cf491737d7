"""What a simulated bus has yet to do, in the order of its own time or of the loop's."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Literal

__all__ = ["Schedule"]

TURNS = 5
"""Turns of the loop between two moments, in which what hears of one may act."""


class Schedule:
    """Calls at moments to come; what is due at the same moment keeps its order."""

    def __init__(self, clock: Literal["own", "loop"]) -> None:
        """Follow the clock of the loop, or an own one that only :meth:`advance` moves."""
        self._by_loop = clock == "loop"
        self._now = 0.0
        self._planned: list[tuple[float, int, bool, Callable[[], None]]] = []
        self._count = 0
        self._moving = 0
        self._wake: asyncio.Handle | None = None

    @property
    def now(self) -> float:
        """The time."""
        return asyncio.get_running_loop().time() if self._by_loop else self._now

    @property
    def moving(self) -> int:
        """How many calls are planned that are something on its way."""
        return self._moving

    @property
    def is_own(self) -> bool:
        """Whether time passes only when it is told to."""
        return not self._by_loop

    @property
    def planned(self) -> bool:
        """Whether anything will happen."""
        return bool(self._planned)

    def at(self, due: float, call: Callable[[], None], *, moving: bool = True) -> None:
        """Call ``call`` at ``due``; ``moving`` says that something is on its way until then."""
        self._count += 1
        self._moving += moving
        heapq.heappush(self._planned, (due, self._count, moving, call))
        self._set_wake()

    def _set_wake(self) -> None:
        if not self._planned:
            return
        loop, due = asyncio.get_running_loop(), self._planned[0][0]
        if self._wake is not None and not self._wake.cancelled():
            if isinstance(self._wake, asyncio.TimerHandle) and self._wake.when() > due:
                self._wake.cancel()
            else:
                return
        if due <= self.now:
            self._wake = loop.call_soon(self._woken)
        elif self._by_loop:
            self._wake = loop.call_at(due, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._run_due()

    def _run_due(self) -> None:
        planned = self._planned
        last = self._count  # what is planned meanwhile has another turn
        later: list[tuple[float, int, bool, Callable[[], None]]] = []
        try:
            while planned and planned[0][0] <= self.now:
                due, number, moving, call = heapq.heappop(planned)
                if number > last:
                    later.append((due, number, moving, call))
                    continue
                self._moving -= moving
                call()
        finally:
            for each in later:
                heapq.heappush(planned, each)
            self._set_wake()

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due until then."""
        if self._by_loop:
            await asyncio.sleep(seconds)
            return
        until = self._now + seconds
        await self.turn()
        while self._planned and self._planned[0][0] <= until:
            self._now = max(self._now, self._planned[0][0])
            self._run_due()
            await self.turn()
        self._now = until

    async def next_moment(self) -> None:
        """Let time pass until the next call is due; at once where none is planned."""
        if self._planned:
            await self.advance(max(0.0, self._planned[0][0] - self.now))
        else:
            await self.turn()

    async def turn(self) -> None:
        """Let what has heard of something act."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
