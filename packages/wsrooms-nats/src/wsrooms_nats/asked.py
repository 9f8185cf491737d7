"""What a NATS server has been asked and has not answered yet, and the errors of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsrooms.errors import InvalidChannel, PermissionDenied, TransportError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from wsrooms.transports import Command, Outgoing
    from wsrooms_nats.routes import Question

__all__ = ["Asked", "denied", "too_long"]


class Asked:
    """What the next PONG is about: a command, a batch, who waits for it, or none: a ping.

    Attributes:
        command: Subscriptions.
        batch: Messages.
        answered: Who waits, and is told whether the other servers have answered too.
    """

    __slots__ = (
        "answered",
        "batch",
        "command",
        "exceeded",
        "last",
        "question",
        "refused",
        "subjects",
        "unfit",
    )

    def __init__(
        self,
        command: Command | None = None,
        batch: Sequence[Outgoing[bytes]] = (),
        answered: asyncio.Future[bool] | None = None,
    ) -> None:
        self.command: Command | None = command
        self.batch: Sequence[Outgoing[bytes]] = batch
        self.answered: asyncio.Future[bool] | None = answered
        self.refused: dict[str, list[str]] | None = None  # the words, by subject
        self.subjects: set[str] | None = None  # that may be refused
        self.exceeded: bool = False
        self.last: int = 0  # the number of its last subscription
        self.unfit: dict[int, TransportError] | None = None  # what was not written, by its place
        self.question: Question | None = None  # to the other servers of a cluster


def denied(channel: str, where: str, words: str) -> PermissionDenied:
    """The error of a channel that this login may not use so, in the server's words."""
    return PermissionDenied(channel, f"{where} denies {channel}: {words}")


def too_long(channel: str, longest: int) -> InvalidChannel:
    """The error of a channel whose subject the server would not read."""
    return InvalidChannel(
        channel, f"at NATS it would have more than {longest} bytes: see option max_control_line"
    )
