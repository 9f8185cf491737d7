"""Who is in rooms, and what carries between them, without a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

if TYPE_CHECKING:
    from collections.abc import Callable


class Member:
    """A member of somebody's own making."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.rooms: set[str] = set()
        self.received: list[tuple[object, ...]] = []

    def send(
        self, event: str, path: str, data: object = UNSET, params: object | None = None
    ) -> None:
        self.received.append((event, path, data, params))


class SyncTransport:
    """Three sync methods; what is published is kept."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[str], None]] = {}
        self.published: list[tuple[str, Any]] = []
        self.failing: Exception | None = None

    def publish(self, channel: str, payload: str) -> None:
        self._fail()
        self.published.append((channel, json.loads(payload)))

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        self._fail()
        self.handlers[channel] = handler

    def unsubscribe(self, channel: str) -> None:
        self.handlers.pop(channel, None)

    def _fail(self) -> None:
        if self.failing is not None:
            raise self.failing
