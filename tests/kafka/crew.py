"""What tests of Kafka do again and again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wsrooms.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wsrooms import Receipt
    from wsrooms_kafka import KafkaTransport

__all__ = ["DEADLINE", "Hearing", "error_of", "talk"]

DEADLINE = 15.0


async def error_of(receipt: Receipt) -> TransportError | None:
    """What became of a receipt; None if all went well."""
    try:
        async with asyncio.timeout(DEADLINE):
            await receipt
    except TransportError as error:
        return error
    return None


class Hearing:
    """All that was heard on one channel.

    Attributes:
        heard: In order.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._more = asyncio.Event()

    def __call__(self, payload: str) -> None:
        self.heard.append(payload)
        self._more.set()

    async def until(self, payload: str) -> Sequence[str]:
        """Wait until that one was heard; all that was heard."""
        async with asyncio.timeout(DEADLINE):
            while payload not in self.heard:
                self._more.clear()
                await self._more.wait()
        return self.heard


async def talk(sender: KafkaTransport, receiver: KafkaTransport) -> None:
    """Start both, let the one hear the other, and close them."""
    await sender.start()
    try:
        await receiver.start()
        try:
            hearing = Hearing()
            await receiver.subscribe("c", hearing)
            await sender.publish("c", "x" * 10_000)
            await sender.publish("c", "last")
            assert await hearing.until("last") == ["x" * 10_000, "last"]
        finally:
            await receiver.close()
    finally:
        await sender.close()
