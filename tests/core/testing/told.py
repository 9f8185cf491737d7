"""A history with whole calls in one word, for tests of the checker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsrooms.testing import History

if TYPE_CHECKING:
    from collections.abc import Iterator


def ticks() -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += 1


class Told(History):
    """A history with whole calls in one word, as where nothing happens at the same time."""

    def __init__(self) -> None:
        clock = ticks()
        super().__init__(clock=lambda: next(clock))

    def open(self, client: str, instance: str = "i0", *rooms: str) -> None:
        self.connect(client, instance)
        self.connected(client)
        for room in rooms:
            self.enter(client, room)

    def enter(self, client: str, room: str) -> None:
        self.join(client, room)
        self.joined(client, room)

    def exit(self, client: str, room: str) -> None:
        self.leave(client, room)
        self.left(client, room)

    def say(self, message: int, room: str | None, instance: str = "i1", **more: str) -> None:
        self.send(message, room, instance=instance, **more)
        self.sent(message)

    def rules(self) -> list[str]:
        return [violation.rule for violation in self.check()]
