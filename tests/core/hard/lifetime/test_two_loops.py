"""Two apps in one process do not mix, on one loop or on two at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import (
    MemoryBus,
    MemoryTransport,
    OutsideContext,
    WsAddress,
    WsApp,
    WsLimits,
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

MARK: ContextVar[str] = ContextVar("mark", default="nobody")

CLIENTS, MESSAGES = 4, 40


class Elsewhere:
    """A thread with a loop of the test's kind, in which an app serves."""

    def __init__(self, app: WsApp) -> None:
        self.app = app
        self.loop: asyncio.AbstractEventLoop | None = None
        self.left: set[asyncio.Task[Any]] = set()
        self._address: Future[WsAddress] = Future()
        self._stop = asyncio.Event()
        factory = type(asyncio.get_running_loop())
        self._thread = threading.Thread(target=self._run, args=[factory])

    def _run(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        try:
            with asyncio.Runner(loop_factory=factory, debug=True) as runner:
                runner.run(self._serve())
        except BaseException as error:
            if not self._address.done():
                self._address.set_exception(error)
            raise

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with self.app.serving() as address:
            self._address.set_result(address)
            await self._stop.wait()
        self.left = asyncio.all_tasks() - {asyncio.current_task()}

    async def __aenter__(self) -> WsAddress:
        self._thread.start()
        async with asyncio.timeout(DEADLINE):
            return await asyncio.wrap_future(self._address)

    async def __aexit__(self, *error: object) -> None:
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended with an error
                self.loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join, DEADLINE)
        gc.collect()  # a task that died says so now, and not in the middle of a report
        assert not self._thread.is_alive()
        assert self.left == set()


@contextlib.asynccontextmanager
async def serving(app: WsApp, where: str) -> AsyncIterator[WsAddress]:
    """Serve ``app`` on this loop or elsewhere."""
    async with app.serving() if where == "one loop" else Elsewhere(app) as address:
        yield address


def declare(app: WsApp, name: str) -> list[str]:
    """Handlers that look whether all that is current is of their own app.

    Returns:
        What was not.
    """
    wrong: list[str] = []

    def check(what: str, *, right: bool) -> None:
        if not right:
            wrong.append(f"{name}: {what}")

    @app.on_connect
    async def connected() -> None:
        check("on_connect's mark", right=MARK.get() == "nobody")
        MARK.set(name)
        await use_ws_connection().join(f"only of {name}")
        check("on_connect's server", right=use_ws_server() is app.server)

    @app.on_message("look", "/:app/:n")
    async def look() -> list[object]:
        check("a mark", right=MARK.get() == "nobody")
        MARK.set(f"{name} {use_ws_message().data}")
        message, connection, server = use_ws_message(), use_ws_connection(), use_ws_server()
        check("the server", right=server is app.server)
        check("the params", right=use_route_params()["app"] == name)
        room = f"/all/{use_route_params()['n']}"
        await use_ws_rooms().join(room)
        use_ws_rooms().broadcast("heard", f"{name}", room=room, exclude_self=False)
        await asyncio.sleep(0)
        in_thread = await asyncio.to_thread(
            lambda: (use_ws_message(), use_ws_connection(), use_ws_server(), MARK.get())
        )
        check("a thread", right=in_thread[:3] == (message, connection, server))
        check("a thread's mark", right=in_thread[3] == f"{name} {message.data}")
        check("a message", right=use_ws_message() is message)
        mine = server.room_connections(f"only of {name}")
        check("a member", right=mine == server.connections())
        use_ws_rooms().leave(room)
        return [name, message.data]

    @app.on_message("sync", "/:app/:n")
    def sync() -> list[object]:
        check("a mark", right=MARK.get() == "nobody")
        MARK.set("sync")
        check("the server", right=use_ws_server() is app.server)
        return [use_route_params()["app"], use_ws_message().data]

    @app.on_disconnect
    def disconnected() -> None:
        check("on_disconnect's mark", right=MARK.get() == "nobody")
        check("on_disconnect's server", right=use_ws_server() is app.server)

    return wrong


@pytest.mark.parametrize("where", ["one loop", "two loops"])
async def test_two_apps_that_are_busy_at_the_same_time_do_not_mix(
    connect: Connect, where: str
) -> None:
    """The names of events, paths and rooms are the same in both; only the apps differ."""
    here, there = WsApp(max_concurrent_messages=4), WsApp(max_concurrent_messages=4)
    wrong = declare(here, "here") + declare(there, "there")

    async def be_busy(peer: Peer, name: str) -> None:
        for number in range(MESSAGES):
            event = "sync" if number % 4 == 3 else "look"
            peer.send(event, f"/{name}/{number % 3}", number, id=number)
        for number in range(MESSAGES):
            assert await peer.reply(number) == [name, number]
        assert {push["data"] for push in await peer.pushes()} == {name}

    async with here.serving() as address, serving(there, where) as elsewhere:
        peers = [
            (await connect(address if name == "here" else elsewhere), name)
            for _ in range(CLIENTS)
            for name in ("here", "there")
        ]
        async with asyncio.TaskGroup() as group:
            for peer, name in peers:
                group.create_task(be_busy(peer, name))
        ids = [{each.id for each in app.server.connections()} for app in (here, there)]
        assert ids[0] & ids[1] == set()
        for app in (here, there):
            stats = app.stats()
            assert stats["connections"] == stats["memberships"] == CLIENTS
            assert stats["messages_in"] == CLIENTS * MESSAGES
            assert (stats["handler_errors"], stats["hook_errors"]) == (0, 0)
        with pytest.raises(OutsideContext):
            use_ws_server()
    assert wrong == []


@pytest.mark.parametrize("where", ["one loop", "two loops"])
async def test_two_apps_on_one_bus_hear_each_other_from_whichever_loop(
    connect: Connect, where: str
) -> None:
    bus = MemoryBus()
    here, there = (WsApp(broadcast_transport=MemoryTransport(bus)) for _ in range(2))
    for app in (here, there):
        app.on_message("join", "/r", lambda: use_ws_rooms().join())
        app.on_message("say", "/r", lambda: use_ws_rooms().broadcast("said", use_ws_message().data))
    async with here.serving() as address, serving(there, where) as elsewhere:
        a, b = await connect(address), await connect(elsewhere)
        for peer in (a, b):
            await peer.call("join", "/r")

        async def say(peer: Peer) -> None:
            for number in range(MESSAGES):
                peer.send("say", "/r", number)

        await asyncio.gather(say(a), say(b))
        for peer in (a, b):
            heard = [(await peer.push())["data"] for _ in range(MESSAGES)]
            assert heard == list(range(MESSAGES))
        for app in (here, there):
            assert app.stats()["received"] == MESSAGES
            assert app.stats()["duplicates"] == app.stats()["gaps"] == app.stats()["echoes"] == 0


@pytest.mark.parametrize("where", ["one loop", "two loops"])
async def test_a_handler_of_one_app_may_use_the_other_app(connect: Connect, where: str) -> None:
    here, there = WsApp(), WsApp()
    there.on_message("id", "/", lambda: use_ws_connection().id)

    @here.on_message("reach", "/r")
    async def reach() -> list[object]:
        connection = there.server.get_connection(use_ws_message().data)
        assert connection is not None
        assert use_ws_server() is here.server
        await connection.join("r")
        await there.room("r").broadcast("from here", 1)
        connection.send("from here", "/", 2)
        await there.broadcast("from here", "/", 3)
        connection.leave("r")
        seen: list[object] = [len(there.server.connections()), len(there.room("r"))]
        connection.close(4001, "from here")
        return [*seen, len(here.server.connections()), use_ws_rooms().rooms()]

    async with here.serving() as address, serving(there, where) as elsewhere:
        a, b = await connect(address), await connect(elsewhere)
        id = await b.call("id", "/")
        assert await a.call("reach", "/r", id) == [1, 0, 1, []]
        assert await b.ended() == (4001, "from here")
        assert [frame.get("data") for frame in b.received[1:]] == [1, 2, 3]
        assert a.received[1:] == []


async def test_a_join_in_the_other_app_is_confirmed_without_touching_this_loops_session(
    connect: Connect, plain_bus: PlainBus, eventually: Eventually
) -> None:
    """It ends on the other loop's thread, on which nothing of this one may be called.

    The loop elsewhere is in debug mode and raises where that happens.
    """
    transport = plain_bus.transport()
    release = transport.hold("subscribe ws:room:slow")
    here = WsApp(broadcast_transport=transport)
    there = WsApp(limits=WsLimits(waiting_messages=1), shutdown_timeout=0.1)
    here.on_message("id", "/", lambda: use_ws_connection().id)
    there.on_message("ping", "/", lambda: "pong")
    ended: list[bool] = []

    @there.on_message("reach", "/")
    def reach() -> str:
        connection = here.server.get_connection(use_ws_message().data)
        assert connection is not None
        connection.join("slow")
        assert len(here.room("slow")) == 1  # it has been made over there
        asyncio.get_running_loop().call_soon(ended.append, True)
        return "done"

    async with here.serving() as address, Elsewhere(there) as elsewhere:
        a, b = await connect(address), await connect(elsewhere)
        id = await a.call("id", "/")
        b.send("reach", "/", id, id="reach")
        await eventually(lambda: ended)
        for number in range(5):
            b.send("ping", "/", id=f"#{number}")
        release()
        assert await b.reply("reach") == "done"
        assert [await b.reply(f"#{number}") for number in range(5)] == ["pong"] * 5
        await eventually(lambda: here.stats()["joins_pending"] == 0)
