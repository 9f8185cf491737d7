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

MOMENT = 0.02
"""Seconds that a client has to end by itself, which it does where nothing is under way."""


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
    private, ``stop`` ends by aiokafka's own timeouts.
    """
    stopping = asyncio.ensure_future(stop)
    await asyncio.wait([stopping], timeout=MOMENT)
    if not stopping.done():
        if accumulator is not None:
            _fail(accumulator)
        if client is not None:
            client._maybe_wait_metadata = _at_once  # of which there will be none
            _abort(client)
    await stopping


def _fail(accumulator: Any) -> None:
    """Let nothing be sent any more that is not on its way."""
    # What was put back into the one, to be sent again, is taken out of the other once more.
    pending: set[Any] = getattr(accumulator, "_pending_batches", set())
    for batches in getattr(accumulator, "_batches", {}).values():
        pending.update(batches)
    accumulator.fail_all(KafkaError("closed"))
    accumulator.reenqueue = _nothing


def _abort(client: Any) -> None:
    """End its connections: to close one waits until the peer has taken what is unsent."""
    for connection in list(getattr(client, "_conns", {}).values()):
        writer = getattr(connection, "_writer", None)
        if writer is not None:
            writer.transport.abort()


def _nothing(_: object) -> None:
    """In place of what would send it again."""


async def _at_once() -> None:
    """In place of what would wait."""
