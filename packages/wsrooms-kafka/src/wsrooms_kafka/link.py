"""The link to Kafka: one consumer and one producer, made anew whenever they are given up."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, RequestTimedOutError, TopicAuthorizationFailedError

from wsrooms.errors import TransportError, TransportUnavailable
from wsrooms.transports import BrokerLink, end_tasks, until_done
from wsrooms_kafka.bootstrap import asked, cause, tls_hint
from wsrooms_kafka.handle import Handle
from wsrooms_kafka.login import security
from wsrooms_kafka.quiet import quietly
from wsrooms_kafka.reader import Reader, extent_of
from wsrooms_kafka.topic import LOOK, ready
from wsrooms_kafka.writer import BATCH_BYTES, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    from aiokafka.protocol.metadata import MetadataResponse

    from wsrooms.transports import BrokerTransport
    from wsrooms_kafka.target import Target

    Stop = Callable[[], Coroutine[Any, Any, None]]

__all__ = ["KafkaLink"]

METADATA = 5.0
"""Seconds until a change of the topic, or of the cluster, is seen at the latest."""

BACKOFF = 0.05
"""Seconds until aiokafka tries again what has failed; its end waits that long, too."""

FETCH_BYTES = 256 * 1024
"""In one answer, which has to come within ``confirm_timeout``: a slow line catches up, too."""

TURNS = 20
"""Of the loop, that a consumer has to end what it fetches before it is stopped, at least."""

HELLO = b"ws:hello"
"""The key of what a new connection writes, to see that it hears."""


class KafkaLink(BrokerLink):
    """One connection, as the transport sees it. How far was read outlives it."""

    def __init__(self, transport: BrokerTransport, target: Target) -> None:
        """Connect for ``transport`` to ``target``."""
        self.hint: str = tls_hint(target)
        self._transport = transport
        self._target = target
        self._reader = Reader(transport, target)
        self._writer: Writer | None = None
        self._handles: list[tuple[Stop, Handle]] = []
        self._connecting: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._given_up: asyncio.Future[TransportError] | None = None
        self._context: Context | None = None
        self._spread = 0
        """Partitions that it writes to: a room keeps its partition while the topic lasts."""

    async def connect(self) -> None:
        """Connect, make sure of the topic, and hear: also what was published meanwhile."""
        self._given_up = asyncio.get_running_loop().create_future()
        self._context = copy_context()
        name = f"wsrooms connects {self._transport!r}"
        self._connecting = quietly(self._connect(), name)
        await until_done(self._connecting, self._patience)

    @property
    def _patience(self) -> float:
        """Seconds for tasks to end that have been told to, twice of which are left for a close."""
        return self._target.options.close_timeout / 10

    async def _connect(self) -> None:
        transport, target = self._transport, self._target
        began = asyncio.get_running_loop().time()
        given = await self._given()
        # Before all of it is given up, which would not say why.
        until = began + 0.95 * target.options.connect_timeout
        metadata = await asked(target, given, until, self._turn)
        try:
            partitions = await self._topic(given, metadata, until)
            if not 0 < self._spread <= partitions:
                self._spread = partitions
            consumer, producer = await self._start(given, metadata)
            log = await extent_of(consumer, target.topic, partitions)
            self._check_wanted()
            self._reader.begin(consumer, log)
            self._writer = Writer(transport, target, producer, self._spread)
            self._run(self._reader.run(), "reads")
            self._run(self._writer.run(), "writes")
            await self._heard(producer)
            if self._given_up is not None and self._given_up.done():
                raise self._given_up.result()
        except (KafkaError, TimeoutError) as error:
            self._turn()
            raise await cause(target, error, metadata, given) from None

    async def _given(self) -> dict[str, Any]:
        """What all clients of aiokafka are told."""
        target = self._target
        return {
            "bootstrap_servers": list(map(str, target.addresses)),
            "client_id": target.options.client_name,
            "request_timeout_ms": _milliseconds(target.options.confirm_timeout),
            "metadata_max_age_ms": _milliseconds(METADATA),
            "retry_backoff_ms": _milliseconds(BACKOFF),
            **await security(target),
        }

    async def _topic(self, given: dict[str, Any], metadata: MetadataResponse, until: float) -> int:
        # It asks any broker: one that is silent must leave time for another try.
        most = _milliseconds(self._target.options.connect_timeout / 4)
        patience = min(given["request_timeout_ms"], most)
        admin = AIOKafkaAdminClient(**{**given, "request_timeout_ms": patience})
        held = (admin.close, Handle(admin, metadata))
        self._hold(held)
        await admin.start()
        async with asyncio.timeout_at(until):
            partitions = await self._ready(admin, until - patience / 1000)
        await held[1].end(admin.close())
        self._check_wanted()
        self._handles.remove(held)
        return partitions

    async def _ready(self, admin: AIOKafkaAdminClient, until: float) -> int:
        """See that the topic is there, and ask again until then where a broker is slow."""
        loop, logger = asyncio.get_running_loop(), self._transport.logger
        while True:
            try:
                return await ready(admin, self._target, logger, first=not self._spread)
            except (TimeoutError, RequestTimedOutError):
                self._check_wanted()  # it may have been taken for that
                if loop.time() > until:
                    raise

    async def _start(
        self, given: dict[str, Any], metadata: MetadataResponse
    ) -> tuple[AIOKafkaConsumer, AIOKafkaProducer]:
        options = self._target.options
        producer = AIOKafkaProducer(
            acks="all",
            max_batch_size=BATCH_BYTES,
            enable_idempotence=options.idempotence,
            **given,
        )
        self._hold((producer.stop, Handle(producer, metadata, self._broke)))
        await producer.start()
        wait = min(options.fetch_max_wait, options.ping_interval / 2, options.confirm_timeout / 2)
        consumer = AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=_milliseconds(wait),
            fetch_max_bytes=FETCH_BYTES,
            **given,
        )
        handle = Handle(consumer, metadata, self._broke)
        self._hold((partial(_stop, consumer, handle), handle))
        await consumer.start()
        return consumer, producer

    def _hold(self, client: tuple[Stop, Handle]) -> None:
        self._check_wanted()
        self._handles.append(client)

    def _turn(self) -> None:
        """Let another broker be asked first from now on.

        Raises:
            CancelledError: It is not the one of now.
        """
        self._check_wanted()
        self._target.turn()

    def _check_wanted(self) -> None:
        """Let a connect that did not end when it was cancelled do so before it touches anything.

        Raises:
            CancelledError: It is not the one of now.
        """
        if asyncio.current_task() is not self._connecting:
            raise asyncio.CancelledError

    def _broke(self, address: str) -> None:
        """A connection has ended that nobody has closed."""
        where = self._transport.where
        self.abort(TransportUnavailable(f"{where}: the connection to {address} is broken"))

    def _run(self, coroutine: Coroutine[Any, Any, None], what: str) -> None:
        name = f"wsrooms {what} {self._transport!r}"
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(coroutine, name=name, context=self._context))

    async def _heard(self, producer: AIOKafkaProducer) -> None:
        """Wait until something was heard: without the right to read, nothing would be.

        Raises:
            TransportError: Nothing will be.
        """
        topic = self._target.topic
        written = b"of " + self._transport.exchange.instance.encode()
        try:
            await producer.send_and_wait(topic, written, key=HELLO, partition=0)
        except TopicAuthorizationFailedError:  # who may not write is told with each message
            while not (self._reader.answered or any(task.done() for task in self._tasks)):  # noqa: ASYNC110 - aiokafka tells nobody
                await asyncio.sleep(LOOK)
            if self._reader.answered:
                return
            raise await self.lost() from None
        hearing = asyncio.ensure_future(self._reader.heard.wait())
        try:
            await asyncio.wait([hearing, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            if not hearing.done():
                raise await self.lost()
        finally:
            hearing.cancel()

    async def lost(self) -> TransportError:
        """Wait until it is given up, or reading or writing has ended."""
        assert self._given_up is not None
        ends: list[asyncio.Future[Any]] = [self._given_up, *self._tasks]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._given_up.done():
            return self._given_up.result()
        error = next(task.exception() for task in self._tasks if task.done())
        if isinstance(error, TransportError):
            return error
        assert error is not None  # they run until they fail
        raise error

    async def close(self) -> None:
        """Stop both clients, in whatever state they are.

        Cancelled, it goes on: what is left of a client would be told in the log for ever.
        """
        self._reader.end()
        tasks, self._tasks = self._tasks, []
        if self._connecting is not None:
            tasks.append(self._connecting)  # which may have swallowed that it was cancelled
            self._connecting = None
        handles, self._handles = self._handles, []
        self._writer = None
        name = f"wsrooms closes {self._transport!r}"
        await asyncio.shield(quietly(self._end(tasks, handles), name))

    async def _end(
        self, tasks: list[asyncio.Task[None]], handles: list[tuple[Stop, Handle]]
    ) -> None:
        logger = self._transport.logger
        left = await end_tasks(tasks, self._patience)  # lost() has told their error
        ends = (handle.end(stop()) for stop, handle in handles)
        for error in await asyncio.gather(*ends, return_exceptions=True):
            if error is not None:
                logger.error("a client did not stop", exc_info=error)
        for task in await end_tasks(left, self._patience):  # what it waited for is gone
            logger.error("%s does not end", task.get_name())

    def abort(self, error: TransportError) -> None:
        """Give it up."""
        if self._given_up is not None and not self._given_up.done():
            self._given_up.set_result(error)

    def wake(self) -> None:
        """Do what was wished, which needs no word of the broker, and let messages go out."""
        if self._writer is None:
            return
        wishes = self._transport.exchange.wishes
        commands = wishes.commands(asyncio.get_running_loop().time())
        for command in commands:
            change = (
                self._reader.subscribe if command.kind == "subscribe" else self._reader.unsubscribe
            )
            for channel in command.channels:
                change(channel)
                wishes.answered(channel)
        if commands:
            self._transport.answered()
        self._writer.wake()

    @property
    def behind(self) -> bool:
        """Whether much is still to be read that was published before."""
        return self._reader.behind

    def tick(self, now: float, late: float) -> None:
        """Give it up where a partition is silent, or does not confirm."""
        where, options = self._transport.where, self._transport.options
        silent = self._reader.silence(now, late)
        if silent > 2 * options.ping_interval:
            self.abort(TransportUnavailable(f"{where} was silent for {silent:.1f} s"))
        elif self._writer is not None and self._writer.overdue(now, late):
            limit = options.confirm_timeout
            self.abort(TransportUnavailable(f"{where} did not confirm within {limit:g} s"))


async def _stop(consumer: AIOKafkaConsumer, handle: Handle) -> None:
    # Its fetches are ended one after the other, in two turns each; a stop in between would
    # be taken for the end of one of them, or would leave a task behind.
    fetcher = getattr(consumer, "_fetcher", None)
    turns = TURNS + 4 * len(getattr(fetcher, "_pending_tasks", ()))
    handle.may_cancel = False
    consumer.unsubscribe()
    for _ in range(turns):
        await asyncio.sleep(0)
    handle.may_cancel = True
    await consumer.stop()


def _milliseconds(seconds: float) -> int:
    """What aiokafka counts in."""
    return round(seconds * 1000)
