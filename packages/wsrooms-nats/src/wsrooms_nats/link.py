"""The link to NATS: which server, and how it moves from one that is about to stop.

Each message is a PUB in the envelope of wsrooms, each room a SUB; a PING after each batch of
them asks for the PONG that confirms it, as nothing else at NATS does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wsrooms.errors import TransportError, TransportUnavailable
from wsrooms.transports import ENVELOPE_BYTES, Address, WireLink, shown
from wsrooms_nats.dialogue import Dialogue
from wsrooms_nats.login import HINT, log_in
from wsrooms_nats.wire import NatsWire

if TYPE_CHECKING:
    from wsrooms.transports import BrokerTransport
    from wsrooms_nats.conversation import Conversation
    from wsrooms_nats.target import Target

__all__ = ["NatsLink"]

MOVE = 8.0
"""Seconds to go on with another server once it is reached: some hold up what is published."""

AGAIN = 0.25
"""Seconds between two rounds through servers of which none is there."""


class NatsLink(WireLink[NatsWire]):
    """The connection to one server, and for a moment to the next one too."""

    def __init__(self, transport: BrokerTransport, target: Target) -> None:
        """Connect for ``transport`` to ``target``."""
        hint = HINT if target.scheme == "tls" else ""
        super().__init__(transport, target.scheme, target.addresses, hint=hint)
        self._target = target
        self._talk: Dialogue | None = None
        self._at: Address | None = None
        self._moving: asyncio.Task[None] | None = None
        self._held = False

    # Life

    def _made(self) -> NatsWire:
        self._talk = Dialogue(self._transport, self._target, self, live=True)
        return self._talk.wire

    async def _open(self, wire: NatsWire, address: Address) -> None:
        assert self._talk is not None
        await log_in(address, self._target, self._talk.begin)
        await self._talk.introduce()
        self._use(self._talk, address)

    def _use(self, talk: Dialogue, address: Address) -> None:
        self._talk, self._wire, self._at = talk, talk.wire, address
        self.resized(talk)

    def resized(self, talk: Conversation) -> None:
        """Take payloads of the size that the server of ``talk`` takes, if it is the one in use."""
        if talk is self._talk:
            most = self._target.options.max_payload
            self._exchange.max_payload = min(most, talk.limit - ENVELOPE_BYTES)

    async def lost(self) -> TransportError:
        """Wait for the end; whatever it was, another server is tried first."""
        while True:
            wire = self._wire
            error = await super().lost()
            if self._wire is wire:  # else it has moved, and the other one counts
                if self._addresses[0] == self._at:  # else a move has found a better one
                    self._addresses.rotate(-1)
                return error

    async def close(self) -> None:
        """Leave nothing, also of a move."""
        moving, self._moving = self._moving, None
        try:
            if moving is not None:
                moving.cancel()
                await asyncio.wait([moving])
        finally:  # also if there is no time left for that
            if self._talk is not None:
                await self._talk.close()
            await super().close()

    def wake(self) -> None:
        """Send what there is to send."""
        if self._wire is not None and self._talk is not None and not self._held:
            self._talk.send()

    def _ping(self, wire: NatsWire) -> None:
        if self._talk is not None:
            self._talk.ping()

    @property
    def _unconfirmed(self) -> bool:
        return self._talk is not None and self._talk.unconfirmed

    # Moves

    def leave(self, talk: Conversation) -> None:
        """The server of ``talk`` is about to stop: move to another one, if one is known."""
        current = self._talk
        if current is not None and talk is current and self._moving is None and self._others:
            self._moving = asyncio.create_task(
                self._move(current), name=f"wsrooms moves {self._transport!r}"
            )

    @property
    def _others(self) -> list[Address]:
        return [address for address in self._addresses if address != self._at]

    async def _move(self, old: Dialogue) -> None:
        error: TransportError | None = None
        try:
            error = await self._moved(old)
        except TimeoutError:
            error = TransportUnavailable(f"no move within {MOVE:g} s")
        except TransportError as failure:
            error = failure
        except Exception as failure:
            self._transport.logger.exception("a move of %r failed", self._transport)
            error = TransportUnavailable(f"{type(failure).__name__}: {failure}")
        finally:
            self._held = False
            self._moving = None
        if error is not None and self._talk is old:
            where = old.wire.where
            self.abort(TransportUnavailable(f"{where} is about to stop (lame duck mode): {error}"))
        elif self._talk is not None and self._talk.is_leaving:  # it was told during the move
            self.leave(self._talk)

    async def _moved(self, old: Dialogue) -> TransportError | None:
        """Go on with another server; without one, with the old one for as long as it lasts.

        Returns:
            Why that is not without loss; the old connection is still there.
        """
        new, address = await self._reached()
        error: TransportError | None = None
        try:
            async with asyncio.timeout(MOVE):
                error = await self._followed(old, new)
            if error is None:
                self._use(new, address)
        finally:
            if self._talk is not new:
                await new.close()
        if error is not None:
            return error
        new.live()
        old.settle()  # the other servers know of it, by the new connection
        await old.close()
        self._held = False
        there = shown(self._scheme, address)
        self._transport.logger.info("%r has moved to %s", self._transport, there)
        self.wake()
        return None

    async def _followed(self, old: Dialogue, new: Dialogue) -> TransportError | None:
        """Prepare the new connection so that nothing is missed.

        What is published while both are subscribed comes twice and is known by its number.
        It must not come before what the old one brings: what the new one brings is left
        aside until a question has gone all the way through the old one, behind all that is
        older, and is kept from then until the answer is here.
        """
        if not old.can_ask:
            return TransportUnavailable("other servers cannot be asked what they know")
        if not new.can_ask or await new.follow(old) is None:
            return TransportUnavailable("the next server did not follow")
        self._held = True  # until here everything went on
        await old.asked(b"", who=frozenset())
        servers = await new.follow(old)
        if servers is None:
            return TransportUnavailable("the subscriptions could not be settled")
        new.keep()
        if await old.asked(b"", who=servers - {old.server}) is None or not new.is_open:
            return TransportUnavailable("what is on its way could not be awaited")
        return None

    async def _reached(self) -> tuple[Dialogue, Address]:
        """Another server, logged in; tried until there is one."""
        while True:
            for address in self._others:
                talk = Dialogue(self._transport, self._target, self, live=False)
                try:
                    async with asyncio.timeout(self._target.options.connect_timeout / 2):
                        await log_in(address, self._target, talk.begin)
                except BaseException as failure:
                    await talk.close()
                    if not isinstance(failure, TransportError | TimeoutError):
                        raise
                else:
                    if address in self._addresses:  # a server need not name itself
                        self._addresses.rotate(-self._addresses.index(address))
                    return talk, address
            await asyncio.sleep(AGAIN)
