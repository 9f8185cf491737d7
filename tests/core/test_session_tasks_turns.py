"""While a task goes on with messages that wait: others have their turn, and nothing is kept."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import random
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import WsApp, WsConnection, WsMessage, use_ws_connection, use_ws_rooms

from .session_tasks import SILENT, Clock, burst, me, number_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]
    Task = asyncio.Task[Any]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """However busy the machine is, a burst takes the turns that the test gives it."""
    clock = Clock()
    monkeypatch.setattr("wsrooms.turns.monotonic", clock)
    return clock


# Others have their turn


async def test_a_long_burst_lets_the_loop_turn_and_others_be_served(
    connect: Connect, clock: Clock
) -> None:
    app = WsApp()
    loop = asyncio.get_running_loop()
    log: list[str] = []
    done = False

    @app.on_message("m", "/")
    async def m() -> None:
        log.append("message")
        clock.now += 0.001

    @app.on_message("other", "/")
    async def other() -> None:
        log.append("other")

    def turn() -> None:
        log.append("turn")
        if not done:
            loop.call_soon(turn)

    async with app.serving() as address:
        peer, else_one = await connect(address), await connect(address)
        loop.call_soon(turn)
        burst(peer, *["m"] * 200)
        else_one.send("other", "/", id=1)
        await peer.reply(199)
        await else_one.reply(1)
        done = True
        await asyncio.sleep(0)
    runs = [len(run.split()) for run in " ".join(log).split("turn")]
    # 5 ms, and the message at which the time is noticed to be over.
    assert max(runs) in (5, 6)
    assert log.count("message") == 200
    assert log.index("other") < len(log) // 4


async def test_after_a_handler_that_waited_the_next_message_has_a_new_turn(
    connect: Connect, clock: Clock
) -> None:
    app = WsApp()
    loop = asyncio.get_running_loop()
    turned = 0
    begun: list[int] = []
    ended: list[int] = []

    def turn() -> None:
        nonlocal turned
        turned += 1
        if len(ended) < 5:
            loop.call_soon(turn)

    @app.on_message("m", "/")
    async def m() -> None:
        begun.append(turned)
        clock.now += 1  # no time is left in the turn that is given up here
        await asyncio.sleep(0)
        ended.append(turned)

    async with app.serving() as address:
        peer = await connect(address)
        loop.call_soon(turn)
        burst(peer, *["m"] * 5)
        await peer.reply(4)
    assert begun[1:] == ended[:-1]
    assert ended == sorted(set(ended))


async def test_a_burst_lets_a_flush_pass_that_is_due(connect: Connect) -> None:
    app = WsApp()
    writes: list[int] = []
    turns: list[int] = []
    turned = 0
    over = False
    loop = asyncio.get_running_loop()

    def turn() -> None:
        nonlocal turned
        turned += 1
        if not over:
            loop.call_soon(turn)

    @app.on_message("join", "/")
    def join() -> None:
        use_ws_rooms().join()

    @app.on_message("m", "/")
    async def m(message: WsMessage[int]) -> None:
        writes.append(app.stats()["writes"])
        turns.append(turned)
        use_ws_rooms().broadcast("news", data="x" * (message.data * 10_000))

    async with app.serving() as address:
        members = [await connect(address) for _ in range(20)]
        for member in members:
            await member.call("join", "/")
        loop.call_soon(turn)
        # The first two are one batch; with the third, more waits than a turn should keep.
        peer = members[0]
        peer.send_text(
            *(
                json.dumps({"event": "m", "path": "/", "id": number, "data": size})
                for number, size in enumerate([1, 8, 8, 8, 1])
            )
        )
        await peer.reply(4)
        over = True
        for member in members[1:]:
            for _ in range(5):
                await member.push()
    assert turns[0] == turns[1] == turns[2]
    assert turns[2] < turns[3] < turns[4]
    # What was due was written to all the others before the next message was handled.
    assert writes[3] - writes[2] >= 19
    assert writes[4] - writes[3] >= 19


# Several at a time


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("at_once", [2, 3, 8])
async def test_with_several_at_a_time_no_async_handler_begins_before_an_earlier_message(
    connect: Connect, seed: int, at_once: int
) -> None:
    app = WsApp(max_concurrent_messages=at_once)
    begun: list[int] = []
    running = most = 0

    @app.on_message("sync", "/")
    def sync(message: WsMessage[int]) -> int:
        begun.append(message.data)
        return message.data

    async def steps(message: WsMessage[int], count: int) -> int:
        nonlocal running, most
        begun.append(message.data)
        running += 1
        most = max(most, running)
        for _ in range(count):
            await asyncio.sleep(0)
        running -= 1
        return message.data

    for count in (0, 1, 2, 5):

        @app.on_message(f"{count} steps", "/")
        async def some_steps(message: WsMessage[int], count: int = count) -> int:
            return await steps(message, count)

    kinds = ["sync", "0 steps", "1 steps", "2 steps", "5 steps"]
    events = random.Random(seed).choices(kinds, k=60)
    async with app.serving() as address:
        peer = await connect(address)
        burst(peer, *events)
        assert [await peer.reply(number) for number in range(60)] == list(range(60))
    assert sorted(begun) == list(range(60))
    for place, number in enumerate(begun):
        # A sync handler runs when its message comes, so it may overtake a task that is to begin.
        ahead = [n for n in range(number) if events[number] != "sync" or events[n] == "sync"]
        assert set(ahead) <= set(begun[:place])
    assert most == at_once


# The end


@pytest.mark.parametrize("way", ["abort", "close"])
async def test_messages_that_waited_when_the_client_left_are_handled_before_on_disconnect(
    connect: Connect, eventually: Eventually, way: str
) -> None:
    app = WsApp()
    gate = asyncio.Event()
    connections: list[WsConnection] = []
    order: list[object] = []
    tasks: set[int] = set()

    @app.on_message("m", "/")
    async def m(message: WsMessage[int]) -> None:
        tasks.add(number_of(me()))
        connections.append(use_ws_connection())
        await gate.wait()
        order.append(message.data)

    @app.on_disconnect
    async def left() -> None:
        order.append("on_disconnect")

    async with app.serving() as address:
        peer = await connect(address)
        burst(peer, *["m"] * 5)
        await peer.settled()
        if way == "abort":
            peer.abort()
            await peer.ended()
        else:
            await peer.close()
        await eventually(lambda: connections[0].closed)
        assert order == []
        gate.set()
        await eventually(lambda: "on_disconnect" in order)
    assert order == [0, 1, 2, 3, 4, "on_disconnect"]
    assert len(tasks) == 1


async def test_a_client_that_leaves_between_two_messages_of_a_task_ends_it_after_the_last(
    connect: Connect, eventually: Eventually
) -> None:
    app = WsApp()
    order: list[object] = []
    peers: list[Any] = []

    @app.on_message("m", "/")
    async def m(message: WsMessage[int]) -> None:
        if message.data == 1:
            peers[0].abort()
            await peers[0].ended()
        order.append(message.data)

    app.on_disconnect(lambda: order.append("on_disconnect"))
    async with app.serving() as address:
        peers.append(await connect(address))
        burst(peers[0], *["m"] * 4)
        await eventually(lambda: "on_disconnect" in order)
    assert order == [0, 1, 2, 3, "on_disconnect"]


async def test_one_that_is_given_up_takes_those_that_wait_with_it(
    connect: Connect, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsrooms.session.LINGER", 0.02)
    app = WsApp()
    order: list[object] = []

    @app.on_message("m", "/")
    async def m(message: WsMessage[int]) -> None:
        order.append(message.data)
        if message.data == 1:
            try:
                await asyncio.Event().wait()
            finally:
                order.append("cancelled")

    app.on_disconnect(lambda: order.append("on_disconnect"))
    async with app.serving() as address:
        peer = await connect(address)
        burst(peer, *["m"] * 4)
        await peer.settled()
        peer.abort()
        await eventually(lambda: "on_disconnect" in order)
    assert order == [0, 1, "cancelled", "on_disconnect"]


# What it keeps


class Big:
    """Stands for the data of a message; unlike bytes it can be watched."""


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("kind", ["async", "waits", "fails", "sync", "unknown"])
async def test_nothing_keeps_a_message_while_its_task_goes_on_with_others(
    connect: Connect, eventually: Eventually, kind: str
) -> None:
    made: list[weakref.ref[Big]] = []

    def parser(frame: str | bytes) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(frame)
        message["data"] = Big()
        made.append(weakref.ref(message["data"]))
        return message

    app = WsApp(logger=SILENT, message_parser=parser)
    gate, reached = asyncio.Event(), asyncio.Event()
    tasks: set[int] = set()

    @app.on_message("begin", "/")
    async def begin(message: WsMessage[Big]) -> None:
        tasks.add(number_of(me()))
        await asyncio.sleep(0)

    @app.on_message("async", "/")
    async def at_once(message: WsMessage[Big]) -> None:
        assert isinstance(message.data, Big)

    @app.on_message("waits", "/")
    async def waits(message: WsMessage[Big]) -> None:
        await asyncio.sleep(0)
        assert isinstance(message.data, Big)

    @app.on_message("fails", "/")
    async def fails(message: WsMessage[Big]) -> None:
        await asyncio.sleep(0)
        raise LookupError

    @app.on_message("sync", "/")
    def sync(message: WsMessage[Big]) -> None:
        assert isinstance(message.data, Big)

    @app.on_message("end", "/")
    async def end() -> None:
        tasks.add(number_of(me()))
        reached.set()
        await gate.wait()

    async with app.serving() as address:
        peer = await connect(address)
        burst(peer, "begin", kind, kind, "end")
        async with asyncio.timeout(DEADLINE):
            await reached.wait()
        assert len(made) == 4
        # Not even the garbage collector is needed.
        assert [each() is not None for each in made] == [False, False, False, True]
        gate.set()
        await peer.reply(3)
        await eventually(lambda: made[3]() is None)
    assert len(tasks) == 1


@pytest.mark.usefixtures("_no_collector")
async def test_nothing_keeps_a_message_while_its_task_lets_others_have_their_turn(
    connect: Connect, clock: Clock
) -> None:
    made: list[weakref.ref[Big]] = []

    def parser(frame: str | bytes) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(frame)
        message["data"] = Big()
        made.append(weakref.ref(message["data"]))
        return message

    app = WsApp(message_parser=parser)
    begun = 0
    alive: list[tuple[int, list[bool]]] = []

    def look() -> None:
        alive.append((begun, [each() is not None for each in made[:begun]]))

    @app.on_message("m", "/")
    async def m() -> None:
        nonlocal begun
        begun += 1
        clock.now += 1
        # In the next turn, before the task that will then have to wait for it.
        asyncio.get_running_loop().call_soon(look, context=contextvars.Context())

    async with app.serving() as address:
        peer = await connect(address)
        burst(peer, "m", "m", "m")
        await peer.reply(2)
        await peer.settled()
    assert alive == [(count, [False] * count) for count in (1, 2, 3)]
