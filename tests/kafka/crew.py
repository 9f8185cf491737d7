"""What tests of Kafka do again and again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.deadlines import DEADLINE
from tests.transports.crew import error_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wsrooms_kafka import KafkaTransport

__all__ = ["Hearing", "error_of", "talk"]


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
