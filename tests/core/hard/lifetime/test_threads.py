"""Tasks and threads of a handler do all that it may do itself, in the order of the calls."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import (
    ConnectionGone,
    InvalidRoom,
    NotRunning,
    Receipt,
    TransportError,
    WsApp,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

if TYPE_CHECKING:
    # pytest's importlib mode lets only type checkers import a conftest.
    from tests.core.conftest import Peer, PlainBus

    Connect = Callable[..., Awaitable[Peer]]
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]

pytestmark = pytest.mark.every_loop

Work = Callable[[], Any]
Way = Callable[[Work], Coroutine[Any, Any, Any]]

WAYS: list[Any] = []


def way(run: Way) -> Way:
    """A way in which a handler may have its work done."""
    WAYS.append(pytest.param(run, id=run.__name__.replace("_", " ")))
    return run


async def called(work: Work) -> Any:
    await asyncio.sleep(0)
    return work()


@way
async def in_the_handler(work: Work) -> Any:
    return work()


@way
async def in_a_task(work: Work) -> Any:
    return await asyncio.create_task(called(work))


@way
async def in_a_task_of_a_task(work: Work) -> Any:
    return await asyncio.create_task(in_a_task(work))


@way
async def in_a_task_group(work: Work) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(called(work))
    return task.result()


@way
async def in_a_gather_and_a_shield(work: Work) -> Any:
    (result,) = await asyncio.gather(asyncio.shield(called(work)))
    return result


@way
async def in_a_callback(work: Work) -> Any:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    loop.call_soon(lambda: future.set_result(work()))
    return await future


@way
async def in_an_async_generator(work: Work) -> Any:
    async def generate() -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield work()

    (result,) = [each async for each in generate()]
    return result


@way
async def in_to_thread(work: Work) -> Any:
    return await asyncio.to_thread(work)


@way
async def in_an_executor(work: Work) -> Any:
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, context.run, work)


@way
async def in_a_thread_of_a_thread(work: Work) -> Any:
    def outer() -> Any:
        results: list[Any] = []
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=[lambda: results.append(work())])
        thread.start()
        thread.join()
        return results[0]

    return await asyncio.to_thread(outer)


@way
async def in_another_loop_of_a_thread(work: Work) -> Any:
    return await asyncio.to_thread(lambda: asyncio.run(called(work)))


@pytest.mark.parametrize("way", WAYS)
async def test_everything_works_in_every_way_in_which_a_handler_works(
    connect: Connect, plain_bus: PlainBus, way: Way
) -> None:
    app = WsApp(broadcast_transport=plain_bus.transport())

    def look() -> list[object]:
        message, connection = use_ws_message(), use_ws_connection()
        server = use_ws_server()
        assert server is app.server
        return [
            message.event,
            message.data,
            use_route_params()["x"],
            connection.id,
            server.get_connection(connection.id) is connection,
            list(server.connections()) == [connection],
        ]

    def work() -> list[object]:
        rooms, connection = use_ws_rooms(), use_ws_connection()
        assert isinstance(rooms.join("r"), Receipt)
        seen = [*look(), rooms.rooms(), len(app.room("r"))]
        assert app.room("r").connections() == {connection}
        connection.send("one", "/")
        rooms.broadcast("two", room="r", exclude_self=False)
        use_ws_server().broadcast("three", "/")
        app.room("r").broadcast("not to its sender", exclude=connection.id)
        rooms.leave("r")
        rooms.broadcast("nobody is there", room="r", exclude_self=False)
        connection.send("four", "/")
        return [*seen, rooms.rooms()]

    @app.on_message("m", "/:x")
    async def handler() -> bool:
        mine = look()
        assert await way(work) == [*mine, ["r"], 1, []]
        return mine == look()

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("m", "/1", {"a": 1}) is True
        assert [push["event"] for push in await peer.pushes()] == ["one", "two", "three", "four"]
        assert app.stats()["receipts_failed"] == 0


# Order


async def test_calls_of_a_thread_take_effect_in_their_order(connect: Connect) -> None:
    app = WsApp()

    def work() -> None:
        rooms, connection = use_ws_rooms(), use_ws_connection()
        for number in range(0, 300, 3):
            connection.send("e", "/", number)
            rooms.join("r")
            rooms.broadcast("e", number + 1, room="r", exclude_self=False)
            rooms.leave("r")
            rooms.broadcast("nobody hears this", room="r", exclude_self=False)
            use_ws_server().broadcast("e", "/", number + 2)

    @app.on_message("m", "/")
    async def handler() -> None:
        use_ws_connection().send("e", "/", -1)
        await asyncio.to_thread(work)
        use_ws_connection().send("e", "/", 300)

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("m", "/")
        assert [push["data"] for push in await peer.pushes()] == list(range(-1, 301))


async def test_of_many_threads_each_keeps_its_order_and_nothing_is_lost(connect: Connect) -> None:
    app = WsApp()
    threads, calls = 8, 100

    def work(thread: int) -> None:
        for number in range(calls):
            if number % 2:
                use_ws_connection().send("e", "/", [thread, number])
            else:
                use_ws_rooms().broadcast("e", [thread, number], exclude_self=False)

    @app.on_message("m", "/r")
    async def handler() -> None:
        await use_ws_rooms().join()
        await asyncio.gather(*(asyncio.to_thread(work, thread) for thread in range(threads)))

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("m", "/r")
        heard = [push["data"] for push in await peer.pushes()]
    for thread in range(threads):
        mine = [number for sender, number in heard if sender == thread]
        assert mine == list(range(calls))


async def test_what_a_thread_sends_before_it_closes_goes_out_and_nothing_after(
    connect: Connect, eventually: Eventually
) -> None:
    app = WsApp()

    def work() -> None:
        connection = use_ws_connection()
        connection.send("before", "/")
        connection.close(4001, "ours")
        connection.send("after", "/")
        connection.reply("after")
        with pytest.raises(ConnectionGone):
            connection.join("after").result(DEADLINE)
        connection.leave("after").result(DEADLINE)
        with pytest.raises(ValueError, match="close code 1"):
            connection.close(1)

    @app.on_message("m", "/")
    async def handler() -> None:
        await asyncio.to_thread(work)

    async with app.serving() as address:
        peer = await connect(address)
        peer.send("m", "/", id=1)
        assert await peer.ended() == (4001, "ours")
        await eventually(lambda: app.stats()["connections"] == 0)
        assert [frame["event"] for frame in peer.received] == ["before"]
        assert (app.stats()["handler_errors"], app.stats()["receipts_failed"]) == (0, 0)


# Receipts


async def test_result_waits_in_a_thread_and_only_as_long_as_it_was_told(
    connect: Connect, plain_bus: PlainBus
) -> None:
    transport = plain_bus.transport()
    release = transport.hold("subscribe ws:room:slow")
    app = WsApp(broadcast_transport=transport)
    loop = asyncio.get_running_loop()

    def work() -> None:
        receipt = use_ws_rooms().join("slow")
        done = [receipt.done]
        with pytest.raises(TimeoutError):
            receipt.result(0.01)
        done.append(receipt.done)
        assert use_ws_rooms().rooms() == ["slow"]
        loop.call_soon_threadsafe(release)
        receipt.result(DEADLINE)
        done.append(receipt.done)
        assert done == [False, False, True]
        assert receipt.error is None
        receipt.result()
        use_ws_rooms().leave("slow").result(DEADLINE)
        use_ws_rooms().broadcast("e", room="slow").result(DEADLINE)

    @app.on_message("m", "/")
    async def handler() -> str:
        await asyncio.to_thread(work)
        return "done"

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("m", "/") == "done"
        assert app.stats()["joins_pending"] == 0


async def test_result_raises_what_the_transport_raised_and_has_seen_it(
    connect: Connect, plain_bus: PlainBus
) -> None:
    transport = plain_bus.transport()
    transport.failing["subscribe ws:room:/r"] = LookupError("no such room")
    transport.failing["publish ws:room:/r"] = LookupError("no such topic")
    app = WsApp(broadcast_transport=transport)

    def work() -> list[str]:
        told: list[str] = []
        for receipt in (use_ws_rooms().join(), use_ws_rooms().broadcast("e")):
            with pytest.raises(TransportError) as caught:
                receipt.result(DEADLINE)
            told.append(str(caught.value))
        return told

    @app.on_message("m", "/r")
    async def handler() -> list[str]:
        return await asyncio.to_thread(work)

    async with app.serving() as address:
        peer = await connect(address)
        told = await peer.call("m", "/r")
        assert told == ["LookupError: no such room", "LookupError: no such topic"]
        assert app.stats()["receipts_failed"] == 0


async def test_what_is_wrong_with_a_call_is_raised_by_it_in_the_thread_too(
    connect: Connect,
) -> None:
    """All or nobody: it raises before anybody has received anything."""
    app = WsApp()

    def work() -> None:
        rooms, connection = use_ws_rooms(), use_ws_connection()
        for call in (rooms.join, connection.join):
            with pytest.raises(InvalidRoom):
                call("")
        with pytest.raises(InvalidRoom):
            rooms.broadcast("e", room="")
        for send in (
            lambda: rooms.broadcast("e", object(), exclude_self=False),
            lambda: app.room("/r").broadcast("e", object()),
            lambda: app.broadcast("e", "/", object()),
            lambda: connection.send("e", "/", object()),
        ):
            with pytest.raises(TypeError):
                send()

    @app.on_message("m", "/r")
    async def handler() -> str:
        await use_ws_rooms().join()
        await asyncio.to_thread(work)
        return "done"

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("m", "/r") == "done"
        assert await peer.pushes() == []


@pytest.mark.parametrize("end", ["client", "app"])
async def test_a_thread_that_waits_for_ever_is_told_of_the_end(
    connect: Connect, plain_bus: PlainBus, eventually: Eventually, end: str
) -> None:
    transport = plain_bus.transport()
    transport.hold("subscribe ws:room:never")
    app = WsApp(broadcast_transport=transport, join_timeout=60)
    outcome: list[str] = []

    def work() -> None:
        with pytest.raises(ConnectionGone):
            use_ws_rooms().join("never").result()
        outcome.append("told")

    @app.on_message("m", "/")
    async def handler() -> None:
        await asyncio.to_thread(work)

    async with app.serving() as address:
        peer = await connect(address)
        peer.send("m", "/", id=1)
        await eventually(lambda: app.stats()["joins_pending"])
        if end == "client":
            peer.abort()
        else:
            await app.close()
        await eventually(lambda: outcome)
        await eventually(lambda: app.stats()["connections"] == 0)


# Queries


async def test_queries_of_a_thread_answer_as_those_of_the_loop(connect: Connect) -> None:
    app = WsApp()

    def ask() -> list[object]:
        server, connection = use_ws_server(), use_ws_connection()
        others = sorted(each.id for each in server.connections() - {connection})
        return [
            others,
            [server.get_connection(id) is not None for id in others],
            server.get_connection("nobody"),
            sorted(each.id for each in server.room_connections("/r")),
            sorted(each.id for each in server.room("/r").connections()),
            len(app.room("/r")),
            len(app.room("nobody")),
            use_ws_rooms().rooms(),
            sorted(connection.rooms),
            app.health().state,
            {name: app.stats()[name] for name in ("connections", "rooms", "memberships")},
        ]

    app.on_message("join", "/r", lambda: use_ws_rooms().join())

    @app.on_message("ask", "/r")
    async def handler() -> bool:
        await use_ws_rooms().join()
        answers = [ask(), await asyncio.to_thread(ask)]
        answers += await asyncio.gather(*(asyncio.to_thread(ask) for _ in range(8)))
        return all(answer == answers[0] for answer in answers)

    async with app.serving() as address:
        peers = [await connect(address) for _ in range(5)]
        for peer in peers[:3]:
            await peer.call("join", "/r")
        assert await peers[4].call("ask", "/r") is True


async def test_a_query_sees_what_its_thread_has_done_before(connect: Connect) -> None:
    app = WsApp()

    def work() -> list[object]:
        rooms, connection = use_ws_rooms(), use_ws_connection()
        seen: list[object] = []
        for room in ("a", "b"):
            rooms.join(room)
            seen.append((rooms.rooms(), len(app.room(room))))
        rooms.leave("a")
        seen.append((rooms.rooms(), len(app.room("a"))))
        connection.close(4001)
        seen.append(connection.close_code if use_ws_server().connections() else None)
        return seen

    seen: list[object] = []

    @app.on_message("m", "/")
    async def handler() -> None:
        seen.extend(await asyncio.to_thread(work))

    async with app.serving() as address:
        peer = await connect(address)
        peer.send("m", "/")
        assert (await peer.ended()).code == 4001
    assert seen == [(["a"], 1), (["a", "b"], 1), (["b"], 0), 4001]


async def test_a_thread_that_outlives_its_app_is_told_so(connect: Connect) -> None:
    app = WsApp()
    closed = threading.Event()
    told: list[str] = []

    def work() -> None:
        connection, rooms = use_ws_connection(), use_ws_rooms()
        assert closed.wait(DEADLINE)
        for call in (
            lambda: app.broadcast("e", "/"),
            lambda: app.room("r"),
            use_ws_server().connections,
        ):
            with pytest.raises(NotRunning):
                call()
        connection.send("ignored", "/")
        connection.close()
        with pytest.raises(ConnectionGone):
            rooms.join().result(DEADLINE)
        told.append("all")

    threads: list[asyncio.Future[None]] = []

    @app.on_message("m", "/")
    def handler() -> None:
        threads.append(asyncio.ensure_future(asyncio.to_thread(work)))

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("m", "/")
    closed.set()
    await threads[0]
    assert told == ["all"]
