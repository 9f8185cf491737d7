"""A broker for tests of an app, which is there when they say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsrooms import TransportUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeBroker:
    """A transport with a lifecycle that starts when it is told to."""

    def __init__(self) -> None:
        self.up = False
        self.error: Exception = TransportUnavailable("no broker at nowhere:1")
        self.starts = 0
        self.closed = 0
        self.subscribed: list[str] = []
        self.published: list[tuple[str, str]] = []
        self.calls: list[str] = []

    async def start(self) -> None:
        self.starts += 1
        self.calls.append("start")
        if not self.up:
            raise self.error

    async def close(self) -> None:
        self.closed += 1
        self.calls.append("close")

    def publish(self, channel: str, payload: str) -> None:
        assert self.up, "published before the start"
        self.published.append((channel, payload))

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        assert self.up, "subscribed before the start"
        self.subscribed.append(channel)

    def unsubscribe(self, channel: str) -> None:
        self.subscribed.remove(channel)
