"""Closing in every state: nothing of aiokafka's is left, and it has nothing to complain of."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from tests.brokers import KafkaServer
from tests.deadlines import DEADLINE, promised
from tests.kafka.servers import fresh, open_server, secured_server
from tests.transports.test_closing import sockets
from tests.transports.told import Told
from wsrooms import Receipt
from wsrooms.errors import (
    AuthenticationFailed,
    OutboxFull,
    TransportClosed,
    TransportError,
    TransportUnavailable,
)
from wsrooms.testing import TcpProxy
from wsrooms_kafka import KafkaTransport
from wsrooms_kafka.target import Target

Fetcher: Any = import_module("aiokafka.consumer.fetcher").Fetcher  # which has no types

CLOSE = promised(1.0)
"""Seconds that a close may take."""

LARGE = "x" * 100_000


@dataclass
class Scene:
    """A transport that is brought into some state.

    Attributes:
        transport: Through the proxy.
        server: What it talks to.
        proxy: In between.
        receipts: Of whatever it was asked for.
        starting: Its start, where that has not ended.
    """

    transport: KafkaTransport
    server: KafkaServer
    proxy: TcpProxy
    receipts: list[Receipt] = field(default_factory=list[Receipt])
    starting: asyncio.Task[None] | None = None

    async def started(self) -> Told:
        """Start it, and let it hear something."""
        told = Told(self.transport)
        await self.transport.start()
        await self.transport.subscribe("c", print)
        await self.transport.publish("c", "x")
        return told

    def publish(self, count: int, payload: str = "x") -> None:
        """Publish, and do not wait."""
        self.receipts += [self.transport.publish("c", payload) for _ in range(count)]


async def new(_: Scene) -> None:
    """Never started."""


async def starting(scene: Scene) -> None:
    scene.starting = asyncio.create_task(scene.transport.start())
    async with asyncio.timeout(DEADLINE):
        while not scene.proxy.connections:  # noqa: ASYNC110 - the proxy tells nobody
            await asyncio.sleep(0)


async def starting_late(scene: Scene) -> None:
    """When the first client of aiokafka's has started, and others have not."""
    scene.starting = asyncio.create_task(scene.transport.start())
    async with asyncio.timeout(DEADLINE):
        while scene.proxy.accepted < 3:  # noqa: ASYNC110 - the proxy tells nobody
            await asyncio.sleep(0)


async def starting_in_silence(scene: Scene) -> None:
    scene.proxy.hole()
    await starting(scene)


async def up(scene: Scene) -> None:
    await scene.started()


async def busy(scene: Scene) -> None:
    await scene.started()
    scene.publish(2000)


async def down(scene: Scene) -> None:
    told = await scene.started()
    scene.proxy.refuse()
    scene.proxy.cut()
    await told.until("down")
    scene.publish(10)
    scene.receipts.append(scene.transport.subscribe("d", print))


async def reconnecting(scene: Scene) -> None:
    told = await scene.started()
    scene.proxy.cut()
    await told.until("down")
    before = scene.proxy.accepted
    scene.publish(10)
    async with asyncio.timeout(DEADLINE):
        while scene.proxy.accepted <= before + 1:  # noqa: ASYNC110 - the proxy tells nobody
            await asyncio.sleep(0)


async def half_open(scene: Scene) -> None:
    await scene.started()
    scene.proxy.hole()
    scene.publish(100, LARGE)


async def half_open_and_noticed(scene: Scene) -> None:
    told = await scene.started()
    scene.proxy.hole()
    scene.publish(100, LARGE)
    await told.until("down")


async def stalled(scene: Scene) -> None:
    await scene.started()
    await scene.server.stop()
    scene.publish(100, LARGE)


async def full(scene: Scene) -> None:
    await scene.started()
    scene.proxy.hole()
    scene.publish(50, LARGE)
    while not (receipt := scene.transport.publish("c", LARGE)).done:
        scene.receipts.append(receipt)
    with pytest.raises(OutboxFull):
        await receipt


STATES: tuple[Callable[[Scene], Awaitable[None]], ...] = (
    new,
    starting,
    starting_late,
    starting_in_silence,
    up,
    busy,
    down,
    reconnecting,
    half_open,
    half_open_and_noticed,
    stalled,
    full,
)


class Quiet:
    """That aiokafka, and the loop on its behalf, complain of nothing."""

    def __init__(self, caplog: pytest.LogCaptureFixture, proxy: TcpProxy | None = None) -> None:
        caplog.set_level(logging.WARNING)
        self._proxy = proxy
        self._caplog = caplog
        loop = asyncio.get_running_loop()
        loop.set_debug(True)  # as by -X dev
        loop.slow_callback_duration = 10.0
        self._sockets = sockets()
        self._tasks = asyncio.all_tasks()

    async def check(self) -> None:
        """All that has ended since is gone without a word."""
        left = asyncio.all_tasks() - self._tasks
        assert not left
        await asyncio.sleep(0)  # a transport that was closed gives its socket back a turn later
        gc.collect()
        # In a hole a proxy does not see that its clients have gone, and keeps both its ends.
        proxied = 2 * self._proxy.connections if self._proxy else 0
        assert sockets() - proxied <= self._sockets
        said = [
            record.getMessage()
            for record in self._caplog.records
            if record.name.partition(".")[0] in ("aiokafka", "asyncio")
            or record.levelno >= logging.ERROR
        ]
        assert not said


@pytest.mark.parametrize(
    ("state", "idempotence"),
    [
        *((state, False) for state in STATES),
        *((state, True) for state in (busy, down, half_open, half_open_and_noticed)),
    ],
)
async def test_a_close_in_any_state_is_in_time_and_leaves_nothing(
    state: Callable[[Scene], Awaitable[None]],
    *,
    idempotence: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_server() as server, server.proxy() as proxy:
        transport = KafkaTransport(
            f"kafka://127.0.0.1:{proxy.port}",
            namespace="closing",
            close_timeout=CLOSE,
            outbox_messages=3000,
            outbox_bytes=15_000_000,
            ping_interval=promised(0.5),
            idempotence=idempotence,
        )
        quiet = Quiet(caplog, proxy)
        scene = Scene(transport, server, proxy)
        loop = asyncio.get_running_loop()
        try:
            await state(scene)
            began = loop.time()
            await transport.close()
            took = loop.time() - began
            assert transport.state == "closed"
            for receipt in scene.receipts:
                assert receipt.done
            if scene.starting is not None:
                with pytest.raises(TransportClosed):
                    await scene.starting
            await transport.close()
            assert took < min(CLOSE + promised(1.4), 4.8)  # it would be 5
            await quiet.check()
        finally:
            if not server.awake:
                await server.cont()
            for receipt in scene.receipts:
                receipt._take_error()  # nobody waits for these


@pytest.mark.parametrize("turns", [1, 5, 10, 20, 40, 80, 160, 320])
async def test_a_start_that_is_cancelled_at_any_moment_leaves_nothing(
    turns: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_server() as server:
        quiet = Quiet(caplog)
        transport = KafkaTransport(server.url, namespace="closing")
        starts = asyncio.create_task(transport.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starts.cancel()
        await asyncio.wait({starts})
        if not starts.cancelled():  # it was quicker
            await transport.close()
            await quiet.check()
            return
        await quiet.check()
        await transport.start()
        await transport.publish("c", "x")
        await transport.close()
        await quiet.check()


async def test_a_start_that_is_refused_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    wrong: list[dict[str, Any]] = [
        {"username": "ann", "password": "x"},
        {"username": "ann", "password": "x", "sasl_mechanism": "SCRAM-SHA-256"},
        {"username": "ann", "password": "x", "sasl_mechanism": "SCRAM-SHA-512"},
        {},
    ]
    async with secured_server() as server:
        quiet = Quiet(caplog)
        for options in wrong:
            transport = KafkaTransport(server.url, namespace=fresh(), **options)
            with pytest.raises(AuthenticationFailed):
                await transport.start()
            await quiet.check()
            await transport.close()
            await quiet.check()


async def test_a_start_that_ends_by_time_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with open_server() as server, server.proxy() as proxy:
        proxy.hole()
        quiet = Quiet(caplog, proxy)
        transport = KafkaTransport(
            f"kafka://127.0.0.1:{proxy.port}", connect_timeout=0.2, start_timeout=0.5
        )
        with pytest.raises(TransportError, match="did not answer"):
            await transport.start()
        await quiet.check()


async def test_a_close_while_aiokafka_is_slow_to_give_up_a_fetch_is_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # It waits for the fetch, and takes what tells it to end for the end of that wait.
    fetch: Any = Fetcher._proc_fetch_request

    async def slow(*given: Any) -> Any:
        try:
            return await fetch(*given)
        finally:
            if ending.is_set():
                await asyncio.sleep(0.05)

    ending = asyncio.Event()
    monkeypatch.setattr(Fetcher, "_proc_fetch_request", slow)
    async with open_server() as server:
        quiet = Quiet(caplog)
        patient = 4 * CLOSE
        transport = KafkaTransport(server.url, namespace="closing", close_timeout=patient)
        await transport.start()
        ending.set()
        async with asyncio.timeout(patient):
            await transport.close()
        await quiet.check()


class Stubborn:
    """What goes on when it is cancelled, as a wait in aiokafka may.

    Attributes:
        reached: Set when it is under way.
        over: Set when it may end.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.reached = asyncio.Event()
        self.over = asyncio.Event()
        self.swallows = 0
        original: Any = getattr(owner, name)

        async def stubborn(*given: Any, **more: Any) -> Any:
            answer = await original(*given, **more)
            if self.swallows:
                self.reached.set()
                while self.swallows and not self.over.is_set():
                    with contextlib.suppress(asyncio.CancelledError):
                        await self.over.wait()
                    self.swallows -= 1
            return answer

        monkeypatch.setattr(owner, name, stubborn)


FOR_EVER = 1_000_000


@pytest.mark.parametrize(
    ("owner", "by"),
    [(AIOKafkaAdminClient, "cancel"), (AIOKafkaProducer, "close"), (AIOKafkaConsumer, "time")],
)
async def test_a_connect_that_swallows_a_cancellation_is_ended_all_the_same(
    owner: Any,
    by: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stubborn = Stubborn(monkeypatch, owner, "start")
    patience = promised(4.0) if by == "time" else 60.0
    async with open_server() as server:
        stubborn.swallows = 3
        quiet = Quiet(caplog)
        transport = KafkaTransport(
            server.url,
            namespace="closing",
            close_timeout=4 * CLOSE,
            start_timeout=60.0,
            connect_timeout=patience,
        )
        starts = asyncio.create_task(transport.start())
        async with asyncio.timeout(DEADLINE):
            await stubborn.reached.wait()
        async with asyncio.timeout(4 * CLOSE + (patience if by == "time" else 0)):
            if by == "cancel":
                starts.cancel()
            elif by == "close":
                await transport.close()
            await asyncio.wait({starts})
        if not starts.cancelled():
            with pytest.raises(TransportClosed if by == "close" else TransportUnavailable):
                await starts
        await quiet.check()
        await transport.start()
        await transport.close()
        await quiet.check()


@pytest.mark.parametrize("name", ["getmany", "stop"])
async def test_a_close_is_in_time_where_a_client_swallows_a_cancellation(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stubborn = Stubborn(monkeypatch, AIOKafkaConsumer, name)
    async with open_server() as server:
        quiet = Quiet(caplog)
        transport = KafkaTransport(server.url, namespace="closing", close_timeout=4 * CLOSE)
        await transport.start()
        stubborn.swallows = 3
        if name == "getmany":
            await stubborn.reached.wait()
        async with asyncio.timeout(4 * CLOSE):
            await transport.close()
        await quiet.check()


async def test_a_consumer_is_told_to_stop_before_that_may_be_cancelled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[AIOKafkaConsumer] = []
    stop = AIOKafkaConsumer.stop

    async def noted(consumer: AIOKafkaConsumer) -> None:
        told.append(consumer)
        await stop(consumer)

    monkeypatch.setattr(AIOKafkaConsumer, "stop", noted)
    monkeypatch.setattr("wsrooms_kafka.link.TURNS", 2000)
    monkeypatch.setattr("wsrooms_kafka.handle.MOMENT", 0.0)
    monkeypatch.setattr("wsrooms_kafka.handle.AGAIN", 0.0)
    async with open_server() as server:
        quiet = Quiet(caplog)
        transport = KafkaTransport(server.url, namespace="closing", close_timeout=20 * CLOSE)
        await transport.start()
        await transport.close()
        assert len(told) == 1
        await quiet.check()


async def test_a_connect_that_never_ends_is_abandoned_and_keeps_no_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stubborn = Stubborn(monkeypatch, AIOKafkaConsumer, "end_offsets")
    async with open_server() as server:
        stubborn.swallows = FOR_EVER
        before, tasks = sockets(), asyncio.all_tasks()
        transport = KafkaTransport(
            server.url,
            namespace="closing",
            close_timeout=4 * CLOSE,
            start_timeout=60.0,
            connect_timeout=60.0,
        )
        try:
            starts = asyncio.create_task(transport.start())
            async with asyncio.timeout(DEADLINE):
                await stubborn.reached.wait()
            assert sockets() > before
            async with asyncio.timeout(4 * CLOSE):
                await transport.close()
            with pytest.raises(TransportClosed):
                await starts
            assert sockets() <= before
            assert f"wsrooms connects {transport!r} does not end" in caplog.text
        finally:
            stubborn.over.set()
            await asyncio.wait(asyncio.all_tasks() - tasks, timeout=DEADLINE)


async def test_a_connect_that_is_abandoned_turns_no_brokers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached, over = asyncio.Event(), asyncio.Event()
    turns: list[Target] = []

    async def stubborn(*_: Any, **__: Any) -> None:
        reached.set()
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()
        raise KafkaConnectionError("at last")

    monkeypatch.setattr("wsrooms_kafka.bootstrap.create_conn", stubborn)
    monkeypatch.setattr(Target, "turn", lambda target: turns.append(target))
    before = asyncio.all_tasks()
    transport = KafkaTransport(
        "kafka://127.0.0.1:1", close_timeout=CLOSE, start_timeout=60.0, connect_timeout=60.0
    )
    starts = asyncio.create_task(transport.start())
    async with asyncio.timeout(DEADLINE):
        await reached.wait()
        await transport.close()
        with pytest.raises(TransportClosed):
            await starts
        left = asyncio.all_tasks() - before
        assert left
        over.set()
        await asyncio.wait(left)
    assert not turns
