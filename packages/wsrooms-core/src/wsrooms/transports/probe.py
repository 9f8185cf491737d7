"""Whether own messages come back: the proof that a connection does not merely exist.

Pure: whoever owns the exchange looks now and then, and says what time it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt
    from wsrooms.transports.exchange import Exchange

__all__ = ["Probing"]


class Probing:
    """Sends a message to oneself in each interval, and judges whether it came back in one.

    Attributes:
        owed: One was lost, and none has come back since: until then nothing says that
            a connection delivers.
    """

    __slots__ = ("_began", "_exchange", "_interval", "_receipt", "_seen", "_taken_at", "owed")

    def __init__(self, exchange: Exchange, interval: float) -> None:
        """Probe through ``exchange`` every ``interval`` seconds."""
        self._exchange = exchange
        self._interval = interval
        self._began: float | None = None
        self._receipt: Receipt | None = None
        self._taken_at: float | None = None
        self._seen = 0
        self.owed: bool = False

    def stop(self) -> None:
        """Judge nothing that was sent until now: the connection is gone."""
        self._began = self._receipt = self._taken_at = None

    def look(self, now: float, late: float) -> Literal["sent", "lost", "back"] | None:
        """Send what is due, and judge what is overdue.

        Args:
            now: The time.
            late: Seconds by which this look is late: what came meanwhile may still be unread.

        Returns:
            "sent": there is something in the outbox. "lost": the broker took a message and
            did not bring it back. "back": it brought the first one since one was lost.
        """
        if self._began is None:
            self._began = now
            return self._send(now) if self.owed else None
        self._began += late
        if self._receipt is None:
            return self._send(now) if now - self._began >= self._interval else None
        if self._exchange.probes > self._seen:
            self._receipt = None
            owed, self.owed = self.owed, False
            return "back" if owed else None
        if not self._receipt.done:
            return None  # not taken yet: the watch over the connection has its own say
        if self._receipt.error is not None:
            self.stop()
            return None
        # From when it was taken: it may have waited behind ten thousand others.
        self._taken_at = now if self._taken_at is None else self._taken_at + late
        if now - self._taken_at < self._interval:
            return None
        self.stop()
        self.owed = True
        return "lost"

    def _send(self, now: float) -> Literal["sent"]:
        exchange = self._exchange
        self._began, self._seen, self._taken_at = now, exchange.probes, None
        self._receipt = exchange.publish(exchange.probe_channel, "", now)
        return "sent"
