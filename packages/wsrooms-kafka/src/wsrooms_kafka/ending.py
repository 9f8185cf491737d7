"""How aiokafka's clients are ended, in whatever state they and the broker are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka.admin import AIOKafkaAdminClient

__all__ = ["end_admin", "end_consumer", "end_producer"]

MOMENT = 0.05
"""Seconds that a client has to end by itself, which it does where the broker answers."""


async def end_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop ``consumer``, without a wait for the broker."""
    consumer.unsubscribe()
    await asyncio.sleep(0.01)  # without it a stop after a refused connection leaves a task
    await _end(consumer.stop(), getattr(consumer, "_client", None))


async def end_producer(producer: AIOKafkaProducer) -> None:
    """Stop ``producer``, without a wait for what it could not send."""
    accumulator = getattr(producer, "_message_accumulator", None)
    await _end(producer.stop(), producer.client, accumulator)


async def end_admin(admin: AIOKafkaAdminClient) -> None:
    """Close ``admin``, without a wait for the broker."""
    await _end(admin.close(), getattr(admin, "_client", None))


async def _end(stop: Coroutine[Any, Any, None], client: Any, accumulator: Any = None) -> None:
    """Run ``stop``; what it waits for is taken from it after a moment.

    Nothing public does that. Where a version of aiokafka has other names for what is
    private, ``stop`` ends by aiokafka's own timeouts, or is left to them.
    """
    stopping = asyncio.ensure_future(stop)
    try:
        await asyncio.wait([stopping], timeout=MOMENT)
    finally:
        if not stopping.done():
            if accumulator is not None:
                accumulator.fail_all(KafkaError("closed"))
            _abort(client)
    try:
        await asyncio.shield(stopping)
    except (KafkaError, KeyError):
        # A batch that it sends again once it has been failed; the rest is left to be closed.
        if client is not None:
            await client.close()


def _abort(client: Any) -> None:
    """End its connections: to close one waits until the peer has taken what is unsent."""
    for connection in list(getattr(client, "_conns", {}).values()):
        writer = getattr(connection, "_writer", None)
        if writer is not None:
            writer.transport.abort()
