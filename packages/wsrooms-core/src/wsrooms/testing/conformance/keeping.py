"""A simulated transport that keeps the wishes itself, as the transports of brokers do.

``SimulatedTransport`` leaves it to the core to subscribe again after an outage. The contract
asks it of the transport, so here it is added.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsrooms.testing.fleet.simulated import SimulatedTransport
    from wsrooms.transports import Gap, TransportState, WsBroadcastTransport

__all__ = ["KeepingTransport"]

Handler = Callable[[str], None]

AT_ONCE = 100
"""Channels that are asked for in one turn of the loop."""


class KeepingTransport:
    """Subscribes to all that is wished whenever the link is back, and is up only then."""

    def __init__(self, wrapped: SimulatedTransport) -> None:
        self.wrapped = wrapped
        self._wishes: dict[str, Handler] = {}
        self._tell_state: Callable[[TransportState, str | None], None] | None = None
        self._link = 0
        wrapped.on_state(self._state_told)

    async def start(self) -> None:
        """Connect."""
        await self.wrapped.start()

    async def close(self) -> None:
        """Send what waits, and end."""
        self._wishes.clear()
        await self.wrapped.close()

    def replica(self) -> KeepingTransport:
        """Another one on the same bus."""
        return KeepingTransport(self.wrapped.replica())

    def publish(self, channel: str, payload: str) -> Awaitable[None]:
        """Send a message as soon as there is a link."""
        return self.wrapped.publish(channel, payload)

    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None]:
        """Done when the broker has confirmed."""
        answer = self.wrapped.subscribe(channel, handler)
        self._wishes[channel] = handler
        return answer

    def unsubscribe(self, channel: str) -> None:
        """Done at once."""
        self._wishes.pop(channel, None)
        self.wrapped.unsubscribe(channel)

    def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None:
        """Tell ``callback`` when the link goes down, and when all is as it was."""
        self._tell_state = callback

    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        """Tell ``callback`` when a link was lost."""
        self.wrapped.on_gap(lambda gap: _guarded(callback, gap))

    def stats(self) -> dict[str, int]:
        """What waits, what was done again, and what is wished."""
        return {**self.wrapped.stats(), "subscriptions": len(self._wishes)}

    def _state_told(self, state: TransportState, error: str | None) -> None:
        self._link += 1
        if state == "up":
            self._restore(self._link, list(self._wishes))
        else:
            self._tell(state, error)

    def _restore(self, link: int, channels: list[str]) -> None:
        """Subscribe to ``channels``, some in each turn of the loop, and be up then."""
        if link != self._link:
            return
        if not channels:
            self._tell("up", None)
            return
        now, later = channels[:AT_ONCE], channels[AT_ONCE:]
        missing = {
            asyncio.ensure_future(self.wrapped.subscribe(channel, handler))
            for channel in now
            if (handler := self._wishes.get(channel)) is not None
        }

        def answered(answer: asyncio.Future[None]) -> None:
            missing.discard(answer)
            if not answer.cancelled():
                answer.exception()  # it was refused, or unsubscribed meanwhile
            if not missing:
                self._restore(link, later)

        for answer in tuple(missing):
            answer.add_done_callback(answered)
        if not missing:
            self._restore(link, later)

    def _tell(self, state: TransportState, error: str | None) -> None:
        if self._tell_state is not None:
            _guarded(self._tell_state, state, error)


def _guarded(callback: Callable[..., None], *told: object) -> None:
    try:
        callback(*told)
    except Exception:
        logging.getLogger("wsrooms").exception("a callback failed")


if TYPE_CHECKING:
    _: type[WsBroadcastTransport] = KeepingTransport
