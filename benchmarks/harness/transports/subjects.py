"""What is measured: transports of ours, and the same done with a broker's library alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from wsrooms.transports import BrokerTransport, transport_from_url

__all__ = ["LIBRARIES", "OURS", "SUBJECTS", "Subject"]

Handler = Callable[[str], None]


class Subject(Protocol):
    """One connection, or as many as it takes, of a process to its broker."""

    async def start(self) -> None:
        """Connect."""

    async def listen(self, channels: Sequence[str], handler: Handler) -> None:
        """Subscribe to all at once; the broker has confirmed each."""

    async def say(self, channel: str, payload: str, times: int) -> None:
        """Publish so many, as close together as it can; the broker has confirmed the last."""

    async def close(self) -> None:
        """Disconnect."""


class Ours:
    """The transport of wsrooms that speaks a URL."""

    def __init__(self, url: str) -> None:
        """Make it."""
        transport = transport_from_url(url)
        assert isinstance(transport, BrokerTransport)
        self._transport = transport

    async def start(self) -> None:
        """Connect."""
        await self._transport.start()

    async def listen(self, channels: Sequence[str], handler: Handler) -> None:
        """Subscribe in one turn of the loop."""
        for receipt in [self._transport.subscribe(channel, handler) for channel in channels]:
            await receipt

    async def say(self, channel: str, payload: str, times: int) -> None:
        """Publish in one turn of the loop."""
        for _ in range(times - 1):
            self._transport.publish(channel, payload)
        await self._transport.publish(channel, payload)

    async def close(self) -> None:
        """Disconnect."""
        await self._transport.close()


class RedisPy:
    """redis-py as its documentation shows it: a pipeline, and ``listen()`` in a task."""

    def __init__(self, url: str) -> None:
        """Make it."""
        from redis.asyncio import Redis

        self._redis: Any = Redis.from_url(url)
        self._pubsub: Any = self._redis.pubsub()
        self._reader: asyncio.Task[None] | None = None
        self._unconfirmed = 0
        self._confirmed = asyncio.Event()

    async def start(self) -> None:
        """Connect."""
        await self._redis.ping()

    async def listen(self, channels: Sequence[str], handler: Handler) -> None:
        """Subscribe with one command."""
        self._unconfirmed = len(channels)
        self._confirmed.clear()
        await self._pubsub.subscribe(*channels)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(handler))
        await self._confirmed.wait()

    async def _read(self, handler: Handler) -> None:
        async for message in self._pubsub.listen():
            if message["type"] == "message":
                handler(message["data"].decode())
                continue
            self._unconfirmed -= 1
            if not self._unconfirmed:
                self._confirmed.set()

    async def say(self, channel: str, payload: str, times: int) -> None:
        """Publish in a pipeline; a single one without."""
        if times == 1:
            await self._redis.publish(channel, payload)
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            for _ in range(times):
                pipeline.publish(channel, payload)
            await pipeline.execute()

    async def close(self) -> None:
        """Disconnect."""
        if self._reader is not None:
            self._reader.cancel()
        await self._pubsub.aclose()
        await self._redis.aclose()


class NatsPy:
    """nats-py as its documentation shows it: a callback for each subscription, and ``flush()``."""

    def __init__(self, url: str) -> None:
        """Make it."""
        self._url = url
        self._client: Any = None

    async def start(self) -> None:
        """Connect."""
        import nats

        self._client = await nats.connect(self._url)

    async def listen(self, channels: Sequence[str], handler: Handler) -> None:
        """Subscribe to one after another, and wait for the broker once."""

        async def heard(message: Any) -> None:
            handler(message.data.decode())

        for channel in channels:
            await self._client.subscribe(channel, cb=heard)
        # The first one may overtake what nats-py has yet to write.
        await self._client.flush()
        await self._client.flush()

    async def say(self, channel: str, payload: str, times: int) -> None:
        """Publish, and wait for the broker once."""
        data = payload.encode()
        for _ in range(times):
            await self._client.publish(channel, data)
        await self._client.flush()

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()


LIBRARIES = {"redis": "redis-py", "nats": "nats-py"}
"""The library below each transport of ours."""

OURS = {kind: f"wsrooms-{kind}" for kind in LIBRARIES}

SUBJECTS: dict[str, tuple[str, Callable[[str], Subject]]] = {
    **{name: (kind, Ours) for kind, name in OURS.items()},
    "redis-py": ("redis", RedisPy),
    "nats-py": ("nats", NatsPy),
}
"""Who can be measured: the kind of broker, and what makes it of the broker's URL."""
