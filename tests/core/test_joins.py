"""Joins that the transport has not confirmed: who waits for them, and how they end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import (
    ConnectionGone,
    PermissionDenied,
    Receipt,
    TransportError,
    TransportUnavailable,
    WsApp,
    WsError,
    WsLimits,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
)
from wsrooms.rooms import Rooms
from wsrooms.testing import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]
    Bus = Any

SOON = 0.05
"""A join_timeout that is meant to pass."""

UNAVAILABLE = {"code": 503, "message": "Service Unavailable"}
ROOM = "subscribe ws:room:/r"


def joining(app: WsApp) -> None:
    """Handlers of "/r" that join in every way."""

    @app.on_message("join", "/r")
    def join() -> str:
        use_ws_rooms().join()
        return "joined"

    @app.on_message("join later", "/r")
    async def join_later() -> str:
        await use_ws_rooms().join()
        return "joined"

    @app.on_message("join in a task", "/r")
    async def join_in_a_task() -> str:
        async def task() -> None:
            use_ws_rooms().join()

        await asyncio.create_task(task())
        return "joined"

    @app.on_message("join in a thread", "/r")
    async def join_in_a_thread() -> str:
        await asyncio.to_thread(lambda: use_ws_rooms().join())
        return "joined"

    @app.on_message("join in a thread and wait", "/r")
    async def join_in_a_thread_and_wait() -> str:
        await asyncio.to_thread(lambda: use_ws_rooms().join().result(5))
        return "joined"

    app.on_message("leave", "/r", lambda: use_ws_rooms().leave())
    app.on_message("rooms", "/r", lambda: use_ws_rooms().rooms())


WAYS = ["join", "join later", "join in a task", "join in a thread", "join in a thread and wait"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_reply_waits_for_the_joins_of_its_handler_and_only_that_reply(
    connect: Connect, plain_bus: Bus, way: str
) -> None:
    transport = plain_bus.transport()
    release = transport.hold(ROOM)
    app = WsApp(broadcast_transport=transport, max_concurrent_messages=2)
    joining(app)
    async with app.serving() as address:
        peer = await connect(address)
        peer.send(way, "/r", id="join")
        while not (await peer.call("rooms", "/r")):  # the next replies do not wait
            pass
        assert [frame for frame in peer.received if frame["id"] == "join"] == []
        assert app.stats()["joins_pending"] == 1
        assert len(app.room("/r")) == 1
        release()
        assert await peer.reply("join") == "joined"
        assert app.stats()["joins_pending"] == 0
        assert plain_bus.channels()["ws:room:/r"] == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_join_that_is_not_confirmed_in_time_is_503_and_undone(
    connect: Connect, plain_bus: Bus, eventually: Eventually, way: str
) -> None:
    transport = plain_bus.transport()
    transport.hold(ROOM)
    app = WsApp(broadcast_transport=transport, join_timeout=SOON)
    joining(app)
    async with app.serving() as address:
        peer = await connect(address)
        assert (await peer.call(way, "/r"))["error"] == UNAVAILABLE
        assert await peer.call("rooms", "/r") == []
        assert len(app.room("/r")) == 0
        stats = app.stats()
        assert (stats["joins_failed"], stats["joins_pending"], stats["memberships"]) == (1, 0, 0)
        assert stats["handler_errors"] == 0
        await eventually(lambda: "unsubscribe ws:room:/r" in transport.calls)


@pytest.mark.parametrize("way", WAYS)
async def test_a_join_that_the_transport_refuses_is_503_and_undone(
    connect: Connect, plain_bus: Bus, way: str
) -> None:
    transport = plain_bus.transport()
    transport.failing[ROOM] = LookupError("no such thing")
    app = WsApp(broadcast_transport=transport)
    joining(app)
    async with app.serving() as address:
        peer = await connect(address)
        for _ in range(2):
            assert (await peer.call(way, "/r"))["error"] == UNAVAILABLE
            assert await peer.call("rooms", "/r") == []
        del transport.failing[ROOM]
        assert await peer.call(way, "/r") == "joined"


@pytest.mark.parametrize("way", WAYS)
async def test_without_an_id_a_failed_join_is_logged_and_counted(
    connect: Connect,
    plain_bus: Bus,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
    way: str,
) -> None:
    transport = plain_bus.transport()
    transport.failing[ROOM] = PermissionDenied("ws:room:/r", "not yours")
    app = WsApp(broadcast_transport=transport)
    joining(app)
    async with app.serving() as address:
        peer = await connect(address)
        peer.send(way, "/r")
        await eventually(lambda: app.stats()["receipts_failed"])
        assert app.stats()["receipts_failed"] == 1
        assert peer.received == []
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "not yours" in line


@pytest.mark.parametrize("caught", ["await", "thread"])
async def test_a_handler_that_has_seen_its_join_fail_answers_as_it_likes(
    connect: Connect, plain_bus: Bus, caught: str
) -> None:
    transport = plain_bus.transport()
    transport.failing[ROOM] = LookupError()
    app = WsApp(broadcast_transport=transport)

    @app.on_message("join", "/r")
    async def join() -> str:
        try:
            if caught == "await":
                await use_ws_rooms().join()
            else:
                await asyncio.to_thread(lambda: use_ws_rooms().join().result(5))
        except TransportError:
            return "not now"
        return "joined"

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("join", "/r") == "not now"
        assert app.stats()["receipts_failed"] == 0


async def test_one_of_several_joins_failing_is_503_and_the_others_stay(
    connect: Connect, plain_bus: Bus
) -> None:
    transport = plain_bus.transport()
    transport.failing["subscribe ws:room:bad"] = LookupError()
    app = WsApp(broadcast_transport=transport)

    @app.on_message("join", "/r")
    def join() -> None:
        for room in ("a", "bad", "b"):
            use_ws_rooms().join(room)

    joining(app)
    async with app.serving() as address:
        peer = await connect(address)
        assert (await peer.call("join", "/r"))["error"] == UNAVAILABLE
        assert await peer.call("rooms", "/r") == ["a", "b"]
        assert app.stats()["receipts_failed"] == 0


async def test_joins_survive_a_later_exception_of_their_handler(
    connect: Connect, plain_bus: Bus
) -> None:
    transport = plain_bus.transport()
    release = transport.hold(ROOM)
    app = WsApp(broadcast_transport=transport)

    @app.on_message("join and fail", "/r")
    def fail() -> None:
        use_ws_rooms().join()
        raise WsError(409, "all the same")

    joining(app)
    async with app.serving() as address:
        peer = await connect(address)
        peer.send("join and fail", "/r", id=0)
        assert await peer.call("rooms", "/r") == ["/r"]
        assert [frame["id"] for frame in peer.received] == [1]  # an error is a reply: it waits too
        release()
        assert (await peer.reply(0))["error"] == {"code": 409, "message": "all the same"}
        assert await peer.call("rooms", "/r") == ["/r"]


async def test_cancelling_an_awaited_join_undoes_it(
    connect: Connect, plain_bus: Bus, eventually: Eventually
) -> None:
    transport = plain_bus.transport()
    transport.hold(ROOM)
    app = WsApp(broadcast_transport=transport)

    @app.on_message("join", "/r")
    async def join() -> str:
        try:
            async with asyncio.timeout(SOON):
                await use_ws_rooms().join()
        except TimeoutError:
            return f"given up, in {use_ws_rooms().rooms()}"
        return "joined"

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("join", "/r") == "given up, in []"
        assert app.stats()["joins_pending"] == app.stats()["memberships"] == 0
        assert app.stats()["joins_failed"] == 0


async def test_a_leave_completes_a_pending_join_without_error(
    connect: Connect, plain_bus: Bus
) -> None:
    transport = plain_bus.transport()
    release = transport.hold(ROOM)
    app = WsApp(broadcast_transport=transport, max_concurrent_messages=2)
    joining(app)

    @app.on_message("leave finished", "/r")
    def leave() -> bool:
        return use_ws_rooms().leave().done

    async with app.serving() as address:
        peer = await connect(address)
        peer.send("join later", "/r", id="join")
        await peer.settled()
        assert await peer.call("leave finished", "/r") is True
        assert await peer.reply("join") == "joined"
        assert await peer.call("rooms", "/r") == []
        release()
        assert await peer.call("join later", "/r") == "joined"
        assert plain_bus.channels()["ws:room:/r"] == 1


def test_each_join_has_its_own_deadline(plain_bus: Bus) -> None:
    """A first subscribe that hangs must not take down those who joined a moment ago."""
    run(joined_at_two_times(plain_bus), seed=1)


async def joined_at_two_times(plain_bus: Bus) -> None:
    transport = plain_bus.transport()
    transport.hold(ROOM)
    rooms = Rooms(transport, join_timeout=1.0)
    early, late = Member("early"), Member("late")
    first = rooms.join(early, "/r")
    await asyncio.sleep(0.6)  # so the second deadline is later
    second = rooms.join(late, "/r")
    with pytest.raises(TransportUnavailable, match="undone"):
        await first
    assert not second.done
    assert rooms.connections("/r") == {late}
    transport.hold(ROOM)()
    await second
    assert plain_bus.channels() == {"ws:room:/r": 1}
    rooms.leave(late, "/r")
    assert rooms.link is not None
    await rooms.link.close(1)


class Member:
    def __init__(self, id: str) -> None:
        self.id = id
        self.rooms: set[str] = set()

    def send(self, event: str, path: str, data: object = None, params: object = None) -> None: ...


async def test_on_connect_joins_are_confirmed_before_the_first_message(
    connect: Connect, plain_bus: Bus, eventually: Eventually
) -> None:
    transport = plain_bus.transport()
    release = transport.hold("subscribe ws:room:lobby")
    app = WsApp(broadcast_transport=transport)

    @app.on_connect
    def join() -> None:
        use_ws_connection().join("lobby")

    app.on_message("hi", "/", lambda: plain_bus.channels().get("ws:room:lobby"))
    async with app.serving() as address:
        peer = await connect(address)
        peer.send("hi", "/", id="hi")
        await eventually(lambda: app.stats()["messages_in"])
        await peer.settled()
        assert peer.received == []
        assert app.server.connections() == frozenset()
        release()
        assert await peer.reply("hi") == 1


async def test_one_of_two_claims_to_a_join_may_be_cancelled(plain_bus: Bus) -> None:
    transport = plain_bus.transport()
    release = transport.hold(ROOM)
    rooms = Rooms(transport)
    member = Member("m")
    claims = [rooms.join(member, "/r") for _ in range(2)]
    waiting = asyncio.ensure_future(_wait(claims[0]))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert rooms.connections("/r") == {member}
    release()
    await claims[1]
    assert rooms.connections("/r") == {member}
    rooms.leave_all(member)
    assert rooms.link is not None
    await rooms.link.close(1)


async def _wait(receipt: Receipt) -> None:
    await receipt


@pytest.mark.parametrize("awaited", [True, False])
async def test_a_join_of_on_connect_that_fails_refuses_the_connection(
    connect: Connect, plain_bus: Bus, eventually: Eventually, awaited: bool
) -> None:
    transport = plain_bus.transport()
    transport.hold("subscribe ws:room:lobby")
    app = WsApp(broadcast_transport=transport, join_timeout=SOON)

    @app.on_connect
    async def join() -> None:
        receipt = use_ws_connection().join("lobby")
        if awaited:
            await receipt

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.ended() == (1011, "Service Unavailable")
        await eventually(lambda: app.stats()["memberships"] == 0)
        assert app.stats()["receipts_failed"] == app.stats()["handler_errors"] == 0


async def test_a_socket_that_ends_while_its_join_waits_leaves_nothing(
    connect: Connect, plain_bus: Bus, eventually: Eventually
) -> None:
    transport = plain_bus.transport()
    release = transport.hold(ROOM)
    app = WsApp(broadcast_transport=transport)
    raised: list[Exception] = []
    gone: list[list[str]] = []
    app.on_disconnect(lambda: gone.append(sorted(use_ws_connection().rooms)))

    @app.on_message("join", "/r")
    async def join() -> None:
        try:
            await use_ws_rooms().join()
        except ConnectionGone as error:
            raised.append(error)
            raise

    async with app.serving() as address:
        peer = await connect(address)
        peer.send("join", "/r", id=1)
        await peer.settled()
        assert app.stats()["joins_pending"] == 1
        peer.abort()
        await eventually(lambda: not app.stats()["connections"])
        stats = app.stats()
        assert stats["joins_pending"] == stats["memberships"] == stats["receipts_failed"] == 0
        assert len(raised) == len(gone) == 1
        assert gone == [["/r"]]
        release()
        await eventually(lambda: "ws:room:/r" not in plain_bus.channels())


async def test_a_connection_at_its_limit_of_rooms_is_told_429(connect: Connect) -> None:
    app = WsApp(limits=WsLimits(rooms_per_connection=2))

    @app.on_message("join", "/")
    def join() -> list[str]:
        use_ws_rooms().join(use_ws_message().data)
        return use_ws_rooms().rooms()

    app.on_message("leave", "/", lambda: use_ws_rooms().leave(use_ws_message().data))
    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("join", "/", "a") == ["a"]
        assert await peer.call("join", "/", "b") == ["a", "b"]
        answer = await peer.call("join", "/", "c")
        assert answer["error"] == {
            "code": 429,
            "message": "Too many rooms: a connection may join 2",
        }
        assert await peer.call("join", "/", "a") == ["a", "b"]  # it is in already
        await peer.call("leave", "/", "a")
        assert await peer.call("join", "/", "c") == ["b", "c"]


async def test_a_task_that_outlives_its_handler_does_not_delay_or_collect_anything(
    connect: Connect, plain_bus: Bus
) -> None:
    transport = plain_bus.transport()
    release = transport.hold(ROOM)
    app = WsApp(broadcast_transport=transport)
    go_on = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    receipts: list[Receipt] = []

    async def later() -> None:
        await go_on.wait()
        receipts.append(use_ws_rooms().join())

    @app.on_message("start", "/r")
    def start() -> str:
        tasks.append(asyncio.get_running_loop().create_task(later()))
        return "started"

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("start", "/r") == "started"
        go_on.set()
        await asyncio.gather(*tasks)
        [receipt] = receipts
        assert not receipt.done
        release()
        await receipt
