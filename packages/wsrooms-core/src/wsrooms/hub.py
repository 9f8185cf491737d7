"""Local membership: which connections on this instance are in which room.

The hub never awaits, never serialises and never meets a transport, so each
method is atomic under asyncio. ``rooms.py`` turns the edges reported here
(first in, last out) into transport subscriptions.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, Protocol, TypeVar

__all__ = ["Hub", "Roomed"]


class Roomed(Protocol):
    """Whatever can be a member: it carries the names of its rooms."""

    rooms: set[str]


Member = TypeVar("Member", bound=Roomed)


class _Members(dict[Member, None]):
    """Who is in a room: a dict for its order, so that the same run delivers in the same order.

    Each join comes with a string of its own for the room's name. All members share the
    first one, which is kept here.
    """

    __slots__ = ("room",)

    def __init__(self, room: str, first: Member) -> None:
        self.room = room
        self[first] = None


class Hub(Generic[Member]):
    """Two-way index between rooms and their local members.

    Both directions are kept (the members' own ``rooms`` are the second one) so
    that a disconnect costs the rooms of that one member, not a scan of every
    room on the instance. Members of a room keep the order in which they joined.
    """

    __slots__ = ("_members", "memberships")

    def __init__(self) -> None:
        self._members: dict[str, _Members[Member]] = {}
        self.memberships: int = 0
        """How many (room, member) pairs there are."""

    def add(self, room: str, member: Member) -> bool:
        """Put ``member`` in ``room``; joining twice changes nothing.

        Returns:
            Whether the room was empty until now. The caller then owes the
            transport a subscription.
        """
        members = self._members.get(room)
        if members is None:
            self._members[room] = _Members(room, member)
            member.rooms.add(room)
            self.memberships += 1
            return True
        if member not in members:
            members[member] = None
            member.rooms.add(members.room)
            self.memberships += 1
        return False

    def discard(self, room: str, member: Member) -> bool:
        """Take ``member`` out of ``room``; leaving twice changes nothing.

        Returns:
            Whether the room became empty by this. The caller then owes the
            transport the end of the subscription.
        """
        members = self._members.get(room)
        if members is None or member not in members:
            return False
        del members[member]
        member.rooms.discard(room)
        self.memberships -= 1
        if members:
            return False
        del self._members[room]
        return True

    def discard_everywhere(self, member: Member) -> list[str]:
        """Take ``member`` out of all its rooms.

        Returns:
            The rooms that became empty by this.
        """
        return [room for room in list(member.rooms) if self.discard(room, member)]

    def members(self, room: str) -> Collection[Member]:
        """Who is in ``room``: a live view, not to be held across a change."""
        return self._members.get(room) or ()

    def contains(self, room: str, member: Member) -> bool:
        """Whether ``member`` is in ``room``."""
        members = self._members.get(room)
        return members is not None and member in members

    def rooms(self) -> Collection[str]:
        """The rooms that have a member here: a live view."""
        return self._members.keys()

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, room: object) -> bool:
        return room in self._members
