"""What is current, where it is, and where it is not."""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import (
    Gap,
    MemoryTransport,
    OutsideContext,
    WsApp,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Gappy(MemoryTransport):
    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        self.tell_gap = callback


COMPOSABLES: list[tuple[Callable[[], object], str]] = [
    (use_ws_message, "a message"),
    (use_ws_rooms, "a message"),
    (use_route_params, "a message"),
    (use_ws_connection, "a connection"),
    (use_ws_server, "a handler"),
]


@pytest.mark.parametrize(("composable", "needs"), COMPOSABLES)
def test_outside_of_everything_a_composable_says_what_it_needs(
    composable: Callable[[], object], needs: str
) -> None:
    name = getattr(composable, "__name__", "")
    with pytest.raises(OutsideContext, match=f"{name}.* needs {needs}") as caught:
        composable()
    assert caught.value.composable == name
    assert caught.value.needs == needs


async def test_each_composable_works_where_it_is_told_to(
    connect: Connect, eventually: Eventually
) -> None:
    works: dict[str, list[str]] = {}

    def look(where: str) -> None:
        works[where] = []
        for composable, _ in COMPOSABLES:
            with contextlib.suppress(OutsideContext):
                composable()
                works[where].append(getattr(composable, "__name__", ""))

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        look("lifespan")
        yield

    transport = Gappy()
    app = WsApp(lifespan=lifespan, broadcast_transport=transport)
    app.on_connect(lambda: look("on_connect"))
    app.on_gap(lambda gap: look("on_gap"))
    app.on_disconnect(lambda: look("on_disconnect"))
    app.on_message("look", "/", lambda: look("message"))
    app.on_error(lambda error, route: look("on_error"))
    app.on_message("fail", "/", lambda: 1 / 0)

    @app.around_message
    async def around(call_next: Callable[[], Awaitable[object]]) -> object:
        look("around_message")
        return await call_next()

    async def background() -> None:
        look("task of no handler")

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("look", "/")
        await peer.call("fail", "/")
        await app.start_task(background(), name="background")
        transport.tell_gap(Gap(None, None, None))
        await peer.close()
        await eventually(lambda: "on_disconnect" in works)
    everything = [getattr(composable, "__name__", "") for composable, _ in COMPOSABLES]
    of_connections = ["use_ws_connection", "use_ws_server"]
    assert works == {
        "on_connect": of_connections,
        "on_disconnect": of_connections,
        "message": everything,
        "around_message": everything,
        "on_error": everything,
        "task of no handler": [],
        "lifespan": ["use_ws_server"],
        "on_gap": ["use_ws_server"],
    }


async def test_nothing_of_one_message_is_left_for_the_next(connect: Connect) -> None:
    app = WsApp()
    user: ContextVar[str] = ContextVar("user", default="nobody")

    @app.on_message("set", "/:kind")
    def set_user() -> str:
        before = user.get()
        user.set("somebody")
        return before

    @app.on_message("set later", "/:kind")
    async def set_user_later() -> str:
        return set_user()

    @app.on_connect
    def connected() -> None:
        assert user.get() == "nobody"
        user.set("whoever connected")

    async with app.serving() as address:
        peer = await connect(address)
        for event in ("set", "set later", "set", "set later"):
            assert await peer.call(event, "/x") == "nobody"
        assert user.get() == "nobody"
        with pytest.raises(OutsideContext):
            use_ws_message()


async def test_composables_work_in_tasks_groups_and_threads_of_a_handler(connect: Connect) -> None:
    app = WsApp()

    def here() -> tuple[str, str, str, bool]:
        message, connection = use_ws_message(), use_ws_connection()
        assert use_ws_server().get_connection(connection.id) is connection
        return message.path, use_route_params()["x"], connection.id, True

    async def later() -> tuple[str, str, str, bool]:
        await asyncio.sleep(0)
        return here()

    @app.on_message("where", "/:x")
    async def where() -> bool:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(later()) for _ in range(3)]
        seen = [task.result() for task in tasks]
        seen.append(await asyncio.get_running_loop().create_task(later()))
        seen.append(await asyncio.to_thread(here))
        return set(seen) == {here()}

    async with app.serving() as address:
        a, b = await connect(address), await connect(address)
        a.send("where", "/1", id="1")
        b.send("where", "/2", id="2")
        assert await a.reply("1") is True
        assert await b.reply("2") is True
