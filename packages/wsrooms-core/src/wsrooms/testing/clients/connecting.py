"""What ``Cluster.connect`` gives: to be awaited, or to be the head of an ``async with``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Connecting"]


class Closable(Protocol):
    """A client, of which only its end matters here."""

    def close(self) -> Awaitable[object]:
        """End it; harmless if it has ended."""
        ...


C = TypeVar("C", bound=Closable)


class Connecting(Generic[C]):
    """A client that is about to connect.

    ``client = await cluster.connect()`` leaves its end to the cluster; ``async with
    cluster.connect() as client:`` ends it with the block. Nothing happens before that.
    """

    __slots__ = ("_client", "_open")

    def __init__(self, open: Callable[[], Coroutine[Any, Any, C]]) -> None:
        self._open = open
        self._client: C

    def __await__(self) -> Generator[Any, None, C]:
        return self._open().__await__()

    async def __aenter__(self) -> C:
        self._client = await self._open()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
