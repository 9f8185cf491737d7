"""The transport seam: three methods anybody can write, and what only some can do.

``WsBroadcastTransport`` is the whole obligation. Everything else is an optional
protocol that the core detects by looking, so a small class stays small.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

__all__ = [
    "ROOM_PREFIX",
    "SERVER_CHANNEL",
    "Gap",
    "SupportsGaps",
    "SupportsLifecycle",
    "SupportsMaxPayload",
    "SupportsReplica",
    "SupportsState",
    "SupportsStats",
    "TransportState",
    "WsBroadcastTransport",
    "WsHealth",
    "room_channel",
    "room_of",
]

ROOM_PREFIX = "ws:room:"
SERVER_CHANNEL = "ws:server"

TransportState = Literal["starting", "up", "deaf", "down", "closed"]


def room_channel(room: str) -> str:
    """The channel that carries ``room``."""
    return ROOM_PREFIX + room


def room_of(channel: str) -> str | None:
    """The room that ``channel`` carries; None for any other channel."""
    return channel[len(ROOM_PREFIX) :] if channel.startswith(ROOM_PREFIX) else None


class WsBroadcastTransport(Protocol):
    """Carries payloads between instances: any class with these three methods.

    Each may be sync (done when it returns None) or return an awaitable (done
    when that is). The core calls one channel's subscribe and unsubscribe one
    after another, the last wish winning, and publishes in order. Where the bus
    brings an instance its own messages back, wrap the transport in ``tagged()``.

    Two attributes a class may have: ``skips_own = True`` says that it never hands
    an instance its own messages, ``keeps_log = True`` that a broken link is read
    on from where it broke.
    """

    def publish(self, channel: str, payload: str) -> Awaitable[None] | None:
        """Carry ``payload`` to every other instance that is subscribed to ``channel``."""
        ...

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Awaitable[None] | None:
        """Hand payloads of ``channel`` to ``handler``; once confirmed none is missed.

        ``handler`` must be called on the thread of the loop that subscribed.
        """
        ...

    def unsubscribe(self, channel: str) -> Awaitable[None] | None:
        """Stop; harmless where nothing is subscribed."""
        ...


@dataclass(frozen=True)
class Gap:
    """Messages of other instances that were lost.

    All None: a link was lost, any room here may have missed some.

    Attributes:
        room: The room that missed messages; None for the server-wide channel too.
        publisher: The instance that had sent them.
        missing: How many, exactly.
    """

    room: str | None
    publisher: str | None
    missing: int | None


@dataclass(frozen=True)
class WsHealth:
    """Whether an instance hears the others.

    Attributes:
        state: "up" serves and hears; "deaf" is connected and own probes do not
            come back; "down" has no broker. Without a transport: up while it serves.
        since: Seconds in this state.
        error: The broker's own words.
    """

    state: TransportState
    since: float
    error: str | None


@runtime_checkable
class SupportsLifecycle(Protocol):
    """A transport that connects and disconnects."""

    async def start(self) -> None:
        """Return once publish and subscribe work.

        Raises:
            TransportError: They will not; nothing is left behind.
        """
        ...

    async def close(self) -> None:
        """Publish what waits, then leave no task, socket or warning behind; idempotent."""
        ...


@runtime_checkable
class SupportsState(Protocol):
    """A transport that knows whether its broker is there."""

    def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None:
        """Call ``callback(state, error)`` at each change, on the loop's thread.

        A transport has one owner, which may start again: the last callback counts.
        """
        ...


@runtime_checkable
class SupportsGaps(Protocol):
    """A transport that notices lost messages."""

    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        """Call ``callback`` for each gap, on the loop's thread; the last callback counts."""
        ...


@runtime_checkable
class SupportsMaxPayload(Protocol):
    """A transport with a limit on what it carries."""

    @property
    def max_payload(self) -> int:
        """The most bytes of UTF-8 that a payload may have."""
        ...


@runtime_checkable
class SupportsStats(Protocol):
    """A transport with counters of its own."""

    def stats(self) -> dict[str, int]:
        """Counters by name; ``WsApp.stats()`` includes them."""
        ...


@runtime_checkable
class SupportsReplica(Protocol):
    """A transport that can make another one like itself, for ``WsApp.replica()``."""

    def replica(self) -> WsBroadcastTransport:
        """A new, unstarted transport on the same bus."""
        ...
