"""Joins that wait for the transport: whose they are, and how they end.

Pure bookkeeping for ``rooms.py``. A member is in its room from the moment it
asks; an entry here says that the transport has not confirmed that yet, and
whether the room has to be left again if it never does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from wsrooms.connection import WsMember
    from wsrooms.receipt import Receipt

__all__ = ["PendingJoin", "PendingJoins"]


class PendingJoin:
    """One member's joins of one room that are not confirmed.

    Attributes:
        added: Whether the first of them made it a member: undoing means leaving.
        receipts: One for each call of ``join``.
        timer: What ends them at the deadline.
        claims: Once they are confirmed: how many await them and were not cancelled.
    """

    __slots__ = ("added", "claims", "receipts", "timer")

    def __init__(self, *, added: bool) -> None:
        self.added: bool = added
        self.receipts: list[Receipt] = []
        self.timer: asyncio.TimerHandle | None = None
        self.claims: int = 0

    def settle(self, error: Exception | None) -> None:
        """End them all alike."""
        if self.timer is not None:
            self.timer.cancel()
        for receipt in self.receipts:
            receipt.settle(error)


class PendingJoins:
    """All joins of an instance that are not confirmed, by room and member."""

    __slots__ = ("_rooms", "confirmed", "loop")

    def __init__(self) -> None:
        self._rooms: dict[str, dict[WsMember, PendingJoin]] = {}
        self.confirmed: dict[tuple[str, WsMember], PendingJoin] = {}
        """Those that were confirmed in this turn of the loop, whose awaits may be cancelled yet."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where joins wait; an await on another thread's loop is cancelled there."""

    def open(self, room: str, member: WsMember, *, added: bool) -> PendingJoin:
        """The entry of ``member`` in ``room``, made if there is none."""
        waiting = self._rooms.setdefault(room, {})
        pending = waiting.get(member)
        if pending is None:
            pending = waiting[member] = PendingJoin(added=added)
        return pending

    def get(self, room: str, member: WsMember) -> PendingJoin | None:
        """The entry of ``member`` in ``room``, if there is one."""
        waiting = self._rooms.get(room)
        return None if waiting is None else waiting.get(member)

    def members(self, room: str) -> list[WsMember]:
        """Who waits for ``room``: a snapshot."""
        return list(self._rooms.get(room, ()))

    def include(self, room: str, members: Iterable[WsMember]) -> bool:
        """Whether all of ``members`` that still listen are in ``room`` only by joins that wait."""
        waiting = self._rooms.get(room, {})
        return all(
            # One that has closed waits for nothing, and is a member until on_disconnect has run.
            getattr(member, "closed", False) or (member in waiting and waiting[member].added)
            for member in members
        )

    def settle(self, room: str, member: WsMember, error: Exception | None) -> bool:
        """End the entry, if there is one.

        Returns:
            Whether its join had made ``member`` one. The caller then undoes that,
            if the join has failed.
        """
        if self.confirmed:
            self.confirmed.pop((room, member), None)
        waiting = self._rooms.get(room)
        pending = None if waiting is None else waiting.pop(member, None)
        if waiting is None or pending is None:
            return False
        if not waiting:
            del self._rooms[room]
        pending.settle(error)
        return pending.added

    def confirm(self, room: str) -> list[tuple[str, WsMember, PendingJoin]]:
        """The transport has confirmed ``room``: all who wait for it are done.

        Returns:
            What is in :attr:`confirmed` by this, to be given to :meth:`told` in the next turn.
        """
        fresh = []
        for member, pending in self._rooms.pop(room, {}).items():
            if pending.added:
                for receipt in pending.receipts:
                    if not (waiting := receipt._waiting):
                        break  # whoever dropped it cannot be cancelled, and keeps the room
                    pending.claims += waiting
                else:
                    self.confirmed[room, member] = pending
                    fresh.append((room, member, pending))
            pending.settle(None)
        return fresh

    def told(self, fresh: list[tuple[str, WsMember, PendingJoin]]) -> None:
        """Whoever awaited these knows by now, and keeps what was joined."""
        for room, member, pending in fresh:
            # Others may have been confirmed since, whose turn it is not.
            if self.confirmed.get((room, member)) is pending:
                del self.confirmed[room, member]

    def unclaim(self, room: str, member: WsMember, receipt: Receipt) -> bool:
        """One who awaited ``receipt`` was cancelled in the turn in which it was confirmed.

        Returns:
            Whether that was the last one, and nobody has joined or left meanwhile, so that
            the join is undone.
        """
        pending = self.confirmed.get((room, member))
        if pending is None or receipt not in pending.receipts:
            return False
        pending.claims -= 1
        if pending.claims:
            return False
        del self.confirmed[room, member]
        return True

    def __len__(self) -> int:
        return sum(map(len, self._rooms.values()))

    def __bool__(self) -> bool:
        return bool(self._rooms)
