"""Channel names, and which capabilities the core sees in a class."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wsrooms.transports import MemoryTransport, TaggedTransport
from wsrooms.transports.protocols import (
    SERVER_CHANNEL,
    Gap,
    SupportsGaps,
    SupportsLifecycle,
    SupportsMaxPayload,
    SupportsReplica,
    SupportsState,
    SupportsStats,
    TransportState,
    WsBroadcastTransport,
    WsHealth,
    room_channel,
    room_of,
)


class Plain:
    def publish(self, channel: str, payload: str) -> None: ...

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> None: ...

    def unsubscribe(self, channel: str) -> None: ...


class Capable(Plain):
    max_payload = 1024

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None: ...

    def on_gap(self, callback: Callable[[Gap], None]) -> None: ...

    def stats(self) -> dict[str, int]:
        return {}

    def replica(self) -> Capable:
        return Capable()


OPTIONAL = [
    SupportsLifecycle,
    SupportsState,
    SupportsGaps,
    SupportsMaxPayload,
    SupportsStats,
    SupportsReplica,
]


@pytest.mark.parametrize("room", ["a", "/chat/general", "ws:room:x", "ws:server", "ü *.>"])
def test_a_room_has_a_channel_of_its_own_and_the_channel_names_the_room(room: str) -> None:
    assert room_channel(room) == f"ws:room:{room}"
    assert room_of(room_channel(room)) == room
    assert room_channel(room) != SERVER_CHANNEL


@pytest.mark.parametrize("channel", ["ws:server", "ws:probe:1", "room:a", "", "WS:ROOM:a"])
def test_other_channels_carry_no_room(channel: str) -> None:
    assert room_of(channel) is None


@pytest.mark.parametrize("protocol", OPTIONAL)
def test_a_capability_is_seen_by_looking(protocol: type) -> None:
    assert isinstance(Capable(), protocol)
    assert not isinstance(Plain(), protocol)


def test_three_methods_are_a_transport() -> None:
    transports: list[WsBroadcastTransport] = [Plain(), Capable(), MemoryTransport()]
    transports.append(TaggedTransport(Plain()))
    assert all(callable(transport.publish) for transport in transports)


def test_what_is_told_are_values() -> None:
    assert Gap("r", "i", 3) == Gap("r", "i", 3) != Gap(None, None, None)
    assert WsHealth("up", 1.0, None) == WsHealth("up", 1.0, None) != WsHealth("down", 1.0, "x")
    assert len({Gap(None, None, None), Gap(None, None, None)}) == 1
