"""The seam between a transport and a broker's client library: one connection, kept alive."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from wsrooms.errors import TransportError, TransportUnavailable
from wsrooms.transports.calls import end_tasks

if TYPE_CHECKING:
    import logging

__all__ = ["BrokerLink"]


LOOKS = 10
"""At a link that is to close, after each of which the loop may be seen to be late."""

CREDIT = 1.5
"""How many times as long a close may take where it is: who waits for it waits twice as long."""


class BrokerLink(ABC):
    """One connection to the broker, which the transport connects again whenever it is lost.

    Attributes:
        hint: What to think of where the broker does not answer: the end of that sentence.
    """

    hint: str = ""

    @property
    def behind(self) -> bool:
        """Whether it still brings what was published long ago: a probe is behind that."""
        return False

    @abstractmethod
    async def connect(self) -> None:
        """Connect and log in.

        May be cancelled; ``close`` is called in any case.

        Raises:
            TransportError: It is not connected; the text names the broker and its words.
        """

    @abstractmethod
    async def lost(self) -> TransportError:
        """Wait until the connection is lost, and tell why."""

    @abstractmethod
    async def close(self) -> None:
        """Leave nothing of the connection, in whatever state; never wait for the peer."""

    @abstractmethod
    def wake(self) -> None:
        """There may be something to send."""

    @abstractmethod
    def tick(self, now: float, late: float) -> None:
        """Look after the connection; called several times in a ping interval.

        Args:
            now: The loop's time.
            late: Seconds by which this call is late, because the loop was busy: what is
                overdue by less is no sign of a dead peer.
        """

    @abstractmethod
    def abort(self, error: TransportError) -> None:
        """Give the connection up at once, because of ``error``; :meth:`lost` ends with it."""


async def connect_in_time(link: BrokerLink, seconds: float, where: str) -> None:
    """Connect ``link``.

    Raises:
        TransportError: It did not connect, or not in time; ``where`` names the broker then.
    """
    try:
        async with asyncio.timeout(seconds):
            await link.connect()
    except TimeoutError:
        told = f"{where} did not answer within {seconds:g} s{link.hint}"
        raise TransportUnavailable(told) from None


async def close_in_time(
    link: BrokerLink, seconds: float, transport: object, logger: logging.Logger
) -> None:
    """Close ``link`` of ``transport``; that it fails, or takes too long, is logged only.

    What a busy loop takes of the time is given back, up to half of it: a link that is cut short
    there leaves something, where a turn more of the loop would have been enough.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    until = began + seconds
    closing = loop.create_task(link.close(), name=f"wsrooms closes a link of {transport!r}")
    try:
        await asyncio.sleep(0)  # it has begun, whatever comes
        while not closing.done() and (now := loop.time()) < until:
            due = min(now + seconds / LOOKS, until)
            await asyncio.wait([closing], timeout=due - now)
            late = max(loop.time() - due, 0.0)
            until = min(until + late, began + CREDIT * seconds)
        if not closing.done():
            logger.error("a link of %r did not close within %g s", transport, seconds)
    finally:
        by_itself = closing.done()
        if await end_tasks([closing], seconds / LOOKS):
            logger.error("%s does not end", closing.get_name())
        elif by_itself or not closing.cancelled():
            try:
                closing.result()
            except (Exception, asyncio.CancelledError):
                logger.exception("a link of %r failed to close", transport)
