"""A link over one wire: the next server that answers, pings, and silence as the end."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from wsrooms.errors import LimitTooLow, TransportError, TransportUnavailable
from wsrooms.transports.brokerlink import BrokerLink
from wsrooms.transports.target import shown
from wsrooms.transports.wire import BrokerWire

if TYPE_CHECKING:
    from collections import deque

    from wsrooms.transports.broker import BrokerTransport
    from wsrooms.transports.target import Address

__all__ = ["WireLink"]

Wire = TypeVar("Wire", bound=BrokerWire)


class WireLink(BrokerLink, Generic[Wire]):
    """What connections have in common that write to a wire and ping on it."""

    def __init__(
        self,
        transport: BrokerTransport,
        scheme: str,
        addresses: deque[Address],
        *,
        hint: str = "",
    ) -> None:
        """Connect for ``transport`` to the first of ``addresses`` that answers.

        Args:
            transport: Whose link it is.
            scheme: Of the URL, for errors.
            addresses: The servers in the order in which they are tried; turned on where one fails.
            hint: What to think of where one does not answer.
        """
        self._exchange = transport.exchange
        self._transport = transport
        self._scheme = scheme
        self._addresses = addresses
        self._shares = len(addresses)  # whatever more is learnt must not take their time
        self.hint: str = hint
        self._wire: Wire | None = None
        self._pinged_at = 0.0

    @property
    def _where(self) -> str:
        """The server, for errors; while there is none, all of them."""
        return self._transport.where if self._wire is None else self._wire.where

    @abstractmethod
    def _made(self) -> Wire:
        """A wire that has not begun."""

    @abstractmethod
    async def _open(self, wire: Wire, address: Address) -> None:
        """Connect ``wire`` to ``address`` and log in.

        Raises:
            TransportUnavailable: Another server may be tried.
            TransportError: No other would do.
        """

    @abstractmethod
    def _ping(self, wire: Wire) -> None:
        """Ask for a sign of life: a refusal is one too."""

    @property
    @abstractmethod
    def _unconfirmed(self) -> bool:
        """Whether the next answer is to confirm what was written."""

    async def connect(self) -> None:
        """Connect to the first server that answers; they share the time."""
        addresses = self._addresses
        # A machine that is gone does not even refuse: it must not take the others' time.
        share = self._transport.options.connect_timeout / self._shares
        error: TransportUnavailable | None = None
        for _ in range(len(addresses)):
            address = addresses[0]
            self._wire = wire = self._made()
            wire.where = where = shown(self._scheme, address)
            try:
                async with asyncio.timeout(0.95 * share):  # before the base gives all of it up
                    await self._open(wire, address)
            except BaseException as failure:
                if addresses[0] is address:  # else another link has found out
                    addresses.rotate(-1)
                if isinstance(failure, TimeoutError):
                    told = f"{where} did not answer within {share:.2g} s{self.hint}"
                    failed = TransportUnavailable(told)
                elif isinstance(failure, TransportUnavailable):
                    failed = failure
                else:
                    raise
                if not isinstance(error, LimitTooLow):  # of which nobody would be told otherwise
                    error = failed
                await wire.close()
            else:
                self._pinged_at = wire.heard_at
                return
        assert error is not None
        raise error

    async def lost(self) -> TransportError:
        """Wait for the end of the wire."""
        wire = self._wire
        assert wire is not None
        why = await wire.lost()
        return why or TransportUnavailable(f"{wire.where} has closed the connection")

    async def close(self) -> None:
        """Leave nothing of the wire."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    def abort(self, error: TransportError) -> None:
        """End the wire at once."""
        if self._wire is not None:
            self._wire.abort(error)

    def tick(self, now: float, late: float) -> None:
        """Ping when it is time; give up what is silent or does not confirm."""
        wire = self._wire
        if wire is None:
            return
        wire.look(late)
        where, options = wire.where, self._transport.options
        silent = now - wire.heard_at
        if silent > 2 * options.ping_interval:
            self.abort(TransportUnavailable(f"{where} was silent for {silent:.1f} s"))
        elif now - self._pinged_at >= options.ping_interval:
            self._pinged_at = now
            self._ping(wire)
        wire.written_at = max(min(wire.written_at + late, now), wire.heard_at)
        limit = options.confirm_timeout
        if self._unconfirmed and now - wire.written_at > limit:
            self.abort(TransportUnavailable(f"{where} did not confirm within {limit:g} s"))
