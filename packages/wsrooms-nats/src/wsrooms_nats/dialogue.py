"""What a connection to NATS needs to take the place of another one, without a loss."""

from __future__ import annotations

import asyncio
import contextlib
from secrets import token_hex
from typing import TYPE_CHECKING

from wsrooms.errors import TransportUnavailable
from wsrooms_nats.asked import Asked
from wsrooms_nats.conversation import ANSWER, Conversation

if TYPE_CHECKING:
    from wsrooms.transports import BrokerTransport
    from wsrooms_nats.conversation import Owner
    from wsrooms_nats.routes import Question
    from wsrooms_nats.target import Target

__all__ = ["Dialogue"]

KEPT_MESSAGES = 10_000
KEPT_BYTES = 16 * 1024 * 1024
"""Bounds of what may come from two servers at once, for some milliseconds."""

MARK = 0.005
"""Seconds between two marks."""

MARKER = b"m"
"""A subscription that belongs to no channel."""

Servers = frozenset[str] | None


class Dialogue(Conversation):
    """A connection that can follow another one, and go on where that ends."""

    def __init__(
        self, transport: BrokerTransport, target: Target, owner: Owner, *, live: bool
    ) -> None:
        """Prepare a connection of ``owner``; what comes is handed on if it is ``live``."""
        super().__init__(transport, target, owner, live=live)
        self._kept: list[tuple[str, bytes]] | None = None
        self._kept_bytes = 0
        self._marked = asyncio.Event()

    def _on_other(self, sid: bytes) -> None:
        if sid == MARKER:
            self._marked.set()

    async def asked(self, lines: bytes, who: Servers = None, excused: str = "") -> Question | None:
        """Write ``lines``, and wait until this server and the others have come to them.

        All that they sent before has been handed on then.

        Args:
            lines: What to write.
            who: The servers that are to answer, if this one cannot say.
            excused: One that cannot answer.

        Returns:
            The question; None if the connection is at its end, or a server silent.
        """
        if not self.is_open:
            return None
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.add(answered)
        asked = Asked(answered=answered)
        self._ask(lines + self._question(asked, who, frozenset([excused])), asked)
        return asked.question if await answered else None

    async def follow(self, other: Dialogue) -> Servers:
        """Subscribe what ``other`` has subscribed, and nothing else.

        Returns:
            The servers that know, beside those of the two; None if one of them may not.
        """
        lines = self._unsubscribed([name for name in self._sids if name not in other._sids])
        lines += self._subscribed([name for name in other._sids if name not in self._sids])
        question = await self.asked(lines, excused=other.server)
        if question is None or question.asked is None or self._routes is None:
            return None
        # The other's server is about to stop, and answers nothing; but what is said there and
        # heard here came over a route on which it has learnt of all these subscriptions.
        marker, sid = self._routes.prefix + token_hex(8).encode(), MARKER
        self._marked = asyncio.Event()
        self.wire.write(b"SUB %b %b\r\n" % (marker, sid))
        try:
            async with asyncio.timeout(ANSWER):
                while not self._marked.is_set():
                    other.wire.write(b"PUB %b 0\r\n\r\n" % marker)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(MARK):
                            await self._marked.wait()
        except TimeoutError:
            return None
        finally:
            self.wire.write(b"UNSUB %b\r\n" % sid)
        return question.asked | {self.server}

    def settle(self) -> None:
        """Confirm at once what was to be confirmed a moment later."""
        settling, self._settling = self._settling, {}
        for asked, timer in settling.values():
            timer.cancel()
            self._on_answered(asked)

    def keep(self) -> None:
        """Keep what comes from now on."""
        self._kept = []

    def _on_early(self, channel: str, data: bytes) -> None:
        if self._kept is None:
            return  # the other connection brings it too
        self._kept.append((channel, data))
        self._kept_bytes += len(data)
        if self._kept_bytes > KEPT_BYTES or len(self._kept) > KEPT_MESSAGES:
            raise TransportUnavailable(f"{self.wire.where}: too much came during a move")

    def live(self) -> None:
        """Hand on what was kept, and from now on what comes."""
        kept, self._kept = self._kept or [], None
        self._live = True
        for channel, data in kept:
            self._exchange.received(channel, data, self.wire.now)
