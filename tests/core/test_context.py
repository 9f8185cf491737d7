"""What is current, where it is, and where it is not."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import weakref
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
from wsrooms.context import in_context

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


# Awaiting in a context that is not the task's


async def test_each_step_of_the_work_is_in_its_context_and_the_task_stays_in_its_own() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nothing")
    seen: list[str] = []

    async def work() -> None:
        seen.append(variable.get())
        variable.set("the work's")
        await asyncio.sleep(0)
        seen.append(variable.get())
        with contextlib.suppress(LookupError):
            await failed
        seen.append(variable.get())

    failed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0, failed.set_exception, LookupError())
    variable.set("the task's")
    context = contextvars.Context()
    assert await in_context(context, work())
    assert variable.get() == "the task's"
    assert seen == ["nothing", "the work's", "the work's"]
    assert context[variable] == "the work's"


async def test_a_cancellation_reaches_the_work_in_its_context() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nothing")
    seen: list[str] = []

    async def work() -> None:
        variable.set("the work's")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(variable.get())

    async def run() -> None:
        await in_context(contextvars.Context(), work())

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["the work's"]


async def test_it_tells_whether_the_work_had_to_wait() -> None:
    async def at_once() -> None:
        pass

    async def nothing_to_wait_for() -> None:
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        await done

    async def waits() -> None:
        await asyncio.sleep(0)

    assert [
        await in_context(contextvars.Context(), work())
        for work in (at_once, nothing_to_wait_for, waits)
    ] == [False, False, True]


async def test_what_the_work_raises_is_raised() -> None:
    async def at_once() -> None:
        raise LookupError("at once")

    async def later() -> None:
        await asyncio.sleep(0)
        raise LookupError("later")

    for work in (at_once, later):
        with pytest.raises(LookupError, match=work.__name__.replace("_", " ")):
            await in_context(contextvars.Context(), work())


def test_to_close_it_closes_the_work() -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            steps.append("closed")

    async def run() -> None:
        await in_context(contextvars.Context(), work())

    running = run()
    running.send(None)
    running.close()
    assert steps == ["closed"]


async def test_an_error_that_the_work_has_dealt_with_is_not_kept() -> None:
    class Told(Exception):
        pass

    async def work() -> None:
        while failing:
            with contextlib.suppress(Told):
                await failing.pop()  # a variable of this frame would make the circle itself

    loop = asyncio.get_running_loop()
    failing = [loop.create_future() for _ in range(2)]
    errors: list[weakref.ref[Told]] = []

    def fail(future: asyncio.Future[None]) -> None:
        error = Told()
        errors.append(weakref.ref(error))
        future.set_exception(error)

    gc.disable()  # its traceback must not be in a circle with a frame
    try:
        loop.call_soon(fail, failing[1])
        loop.call_soon(fail, failing[0])
        assert await in_context(contextvars.Context(), work())
        await asyncio.sleep(0)  # the loop itself refers to what woke this task
        assert len(errors) == 2
        assert [error() for error in errors] == [None, None]
    finally:
        gc.enable()
