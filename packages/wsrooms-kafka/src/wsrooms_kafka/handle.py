"""What one of aiokafka's clients does beyond what it can be told: asks less, and ends at once.

Nothing public does that, so it is done to the object that stands below each client. Every
name that is private is looked for: where a version of aiokafka has others, its client asks
the cluster itself, makes broken connections again in silence, and ends by its own timeouts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.protocol.metadata import MetadataResponse

__all__ = ["Handle"]

BREAKS = ("CONNECTION_BROKEN", "CONNECTION_TIMEOUT", "OUT_OF_SYNC")
"""Why aiokafka closes a connection that has failed."""

SHUTDOWN = "SHUTDOWN"
"""Why it closes those that are left, when it ends."""

MOMENT = 0.02
"""Seconds that a client has to end by itself, which it does where nothing is under way."""

AGAIN = 0.05
"""Seconds until what is still waited for is taken away once more."""

ROUNDS = 10
"""Of that, after which it is cancelled as well."""


class Handle:
    """A hold on one client, for as long as it lives.

    Attributes:
        may_cancel: Whether a stop that does not end may be cancelled: not before it has begun.
    """

    def __init__(
        self,
        client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient,
        metadata: MetadataResponse,
        broke: Callable[[str], None] | None = None,
    ) -> None:
        """Take hold of ``client``, which is not started yet.

        Args:
            client: A consumer, a producer, or an admin client.
            metadata: What the cluster has answered, so that it is not asked again.
            broke: Called with the address of each connection that is lost.
        """
        below: Any = getattr(client, "client", getattr(client, "_client", None))
        self.may_cancel: bool = True
        self._below = below
        self._accumulator: Any = getattr(client, "_message_accumulator", None)
        self._client: Any = client
        self._wires: dict[Any, asyncio.Transport] = {}
        """What its connections write to, also when they have let go of it to close it."""
        self._connecting: set[asyncio.Task[Any]] = set()
        self._ending = asyncio.Event()
        self._metadata = metadata
        self._broke = broke
        if hasattr(below, "_md_synchronizer") and hasattr(below, "_sync_task"):
            below.bootstrap = self._bootstrap
        if hasattr(below, "_on_connection_closed"):
            self._closed = below._on_connection_closed
            below._on_connection_closed = self._on_closed
        if hasattr(below, "_get_conn") and hasattr(below, "_conns"):
            self._get = below._get_conn
            below._get_conn = self._connected

    async def _bootstrap(self) -> None:
        """In place of a question to the cluster, with a connection of its own."""
        below = self._below
        below.cluster.update_metadata(self._metadata)
        if below._sync_task is None:
            loop = asyncio.get_running_loop()
            below._sync_task = loop.create_task(below._md_synchronizer())

    def _on_closed(self, connection: Any, reason: Any) -> None:
        """A connection was closed: that another one will be made shall not go unseen."""
        self._closed(connection, reason)
        if self._ending.is_set() or getattr(reason, "name", "") == SHUTDOWN:
            return
        if (wire := self._wires.pop(connection, None)) is not None:
            wire.abort()  # else it would wait until the peer has taken what is unsent
        if self._broke is not None and getattr(reason, "name", "") in BREAKS:
            self._broke(f"{connection.host}:{connection.port}")

    async def _connected(self, node_id: Any, **how: Any) -> Any:
        """In place of a look for a connection: one that is being made can be given up."""
        if self._ending.is_set():
            return None
        for (node, group), connection in self._below._conns.items():
            if node == node_id and group == how.get("group", group) and connection.connected():
                return connection
        task = asyncio.ensure_future(self._get(node_id, **how))
        self._connecting.add(task)
        task.add_done_callback(self._made)
        try:
            return await task
        except asyncio.CancelledError:
            if self._ending.is_set() and task.cancelled():
                return None  # as where there is no such broker
            raise
        finally:
            self._connecting.discard(task)

    def _made(self, task: asyncio.Task[Any]) -> None:
        """Remember what a new connection writes to, also where nobody waits for it any more."""
        if not task.cancelled() and task.exception() is None:
            connection = task.result()
            if (writer := getattr(connection, "_writer", None)) is not None:
                self._wires[connection] = writer.transport

    async def end(self, stop: Coroutine[Any, Any, None]) -> None:
        """Run ``stop``, and take from it whatever it waits for."""
        stopping = asyncio.ensure_future(stop)
        await asyncio.wait([stopping], timeout=MOMENT)
        if not stopping.done() and self._accumulator is not None:
            self._fail()
        rounds = 0
        while not stopping.done():
            self._cut()
            rounds += self.may_cancel
            if rounds > ROUNDS:
                stopping.cancel()
            await asyncio.wait([stopping], timeout=AGAIN)
        self._cut()
        if hasattr(self._below, "close"):
            await self._below.close()  # which a stop that fails, or is cancelled within, leaves out
        if not stopping.cancelled():
            stopping.result()

    def _fail(self) -> None:
        """Let nothing be sent any more that is not on its way."""
        accumulator = self._accumulator
        # What was put back into the one, to be sent again, is taken out of the other once more.
        pending: set[Any] = getattr(accumulator, "_pending_batches", set())
        for batches in getattr(accumulator, "_batches", {}).values():
            pending.update(batches)
        accumulator.fail_all(KafkaError("closed"))
        for batch in pending:
            waiter = getattr(batch, "_drain_waiter", None)
            if waiter is not None and waiter.done() and not waiter.cancelled():
                waiter.exception()  # of which nobody else may ask, and it would be logged
        accumulator.reenqueue = _nothing

    def _cut(self) -> None:
        """End its connections, those that are being made, and its tasks."""
        self._ending.set()
        below = self._below
        # One that gives up a fetch takes what cancels it for the end of that, and goes on.
        fetching = getattr(getattr(self._client, "_fetcher", None), "error_future", None)
        if fetching is not None:
            fetching.cancel()
        if below is None:
            return
        below._maybe_wait_metadata = _at_once  # there will be none
        for task in self._connecting:
            task.cancel()
        for wire in self._wires.values():
            wire.abort()
        looking = getattr(below, "_sync_task", None)
        if looking is not None:
            looking.cancel()  # once more: an answer in the same moment makes it go on
        news = getattr(below, "_md_update_fut", None)
        if news is not None and not news.done() and (looking is None or looking.done()):
            news.set_result(False)  # nobody else will, and a batch may be waiting for it


def _nothing(_: object) -> None:
    """In place of what would send it again."""


async def _at_once() -> None:
    """In place of what would wait."""
