"""What came in: judged by its number, then handed to whoever hears its channel, and counted.

Pure: time is handed in. Whoever knows how messages travel reads their envelopes and skips
what is its own; what is a repetition, or comes after a gap, is the same on every bus.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from wsrooms.transports.envelope import Envelope, SequenceWatch
from wsrooms.transports.protocols import Gap, room_of

if TYPE_CHECKING:
    import logging

__all__ = ["Inbox"]


class Inbox:
    """The messages of others; no error of a handler or a callback leaves it.

    Attributes:
        on_gap: Told of each gap.
        received: Messages that were handed to their handlers.
        duplicates: Repetitions, which were not.
        gaps: How often messages were lost.
        missing: How many they were, as far as their numbers tell.
        handler_errors: Errors of handlers, and of ``on_gap``.
    """

    __slots__ = (
        "_logger",
        "_watch",
        "duplicates",
        "gaps",
        "handler_errors",
        "missing",
        "on_gap",
        "received",
    )

    def __init__(self, logger: logging.Logger) -> None:
        self.on_gap: Callable[[Gap], None] | None = None
        self.received: int = 0
        self.duplicates: int = 0
        self.gaps: int = 0
        self.missing: int = 0
        self.handler_errors: int = 0
        self._logger = logger
        self._watch = SequenceWatch()

    def begin(self) -> None:
        """Judge as one that has seen nobody: what passed before is no gap."""
        self._watch = SequenceWatch()

    def unsubscribed(self, channel: str, now: float) -> None:
        """What passes on ``channel`` from now on is no gap."""
        self._watch.unsubscribed(channel, now)
        self._watch.forget_old(now)

    def deliver(
        self, channel: str, handler: Callable[[str], None], envelope: Envelope, now: float
    ) -> None:
        """Tell of a gap before this message, and hand it on, unless it is a repetition."""
        instance, epoch, seq, payload = envelope
        verdict = self._watch.judge(channel, instance, epoch, seq, now)
        if not verdict.deliver:
            self.duplicates += 1
            return
        if verdict.missing:
            self.missing += verdict.missing
            self.gap(Gap(room_of(channel), instance, verdict.missing))
        self.received += 1
        try:
            handler(payload)
        except Exception:
            self.handler_errors += 1
            self._logger.exception("a handler of %s failed", channel)

    def gap(self, gap: Gap) -> None:
        """Tell that messages were lost."""
        self.gaps += 1
        if self.on_gap is None:
            return
        try:
            self.on_gap(gap)
        except Exception:
            self.handler_errors += 1
            self._logger.exception("a gap callback failed")
