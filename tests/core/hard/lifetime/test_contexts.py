"""No context leaks: what one message sets or is, the next one does not see."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE
from wsrooms import (
    OutsideContext,
    WsApp,
    WsError,
    WsLimits,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]

pytestmark = pytest.mark.every_loop

COMPOSABLES: list[Callable[[], object]] = [
    use_ws_message,
    use_ws_rooms,
    use_route_params,
    use_ws_connection,
    use_ws_server,
]

TRAIL: ContextVar[tuple[str, ...]] = ContextVar("trail", default=())
"""Where a context has been."""


class Trails:
    """Marks each context that passes a place, and notes what had marked it before."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []

    def mark(self, place: str) -> None:
        TRAIL.set((*TRAIL.get(), place))
        self.seen.append(TRAIL.get())


def outside() -> list[str]:
    """The composables that work here, although they should not."""
    working: list[str] = []
    for composable in COMPOSABLES:
        try:
            composable()
        except OutsideContext:
            continue
        working.append(getattr(composable, "__name__", ""))
    return working


# From one message to the next


def declare(app: WsApp, trails: Trails) -> None:
    """Handlers of each kind that mark their context."""

    @app.on_message("sync", "/:n")
    def sync() -> None:
        trails.mark("sync")

    @app.on_message("async", "/:n")
    async def asynchronous() -> None:
        trails.mark("async")
        await asyncio.sleep(0)
        trails.mark("async goes on")

    @app.on_message("fails", "/:n")
    def fails() -> None:
        trails.mark("fails")
        raise WsError(400)

    @app.on_message("fails", "/:n")
    async def fails_too() -> None:
        await asyncio.sleep(0)
        trails.mark("and fails again")
        raise LookupError

    @app.on_message("joins", "/:n")
    async def joins() -> None:
        trails.mark("joins")
        await use_ws_rooms().join()
        use_ws_rooms().leave()

    @app.on_message("task", "/:n")
    async def task() -> None:
        async def inner() -> None:
            trails.mark("its task")

        trails.mark("task")
        await asyncio.create_task(inner())

    @app.on_message("thread", "/:n")
    async def thread() -> None:
        trails.mark("thread")
        await asyncio.to_thread(trails.mark, "its thread")


EXPECTED: dict[str, list[tuple[str, ...]]] = {
    "sync": [("sync",)],
    "async": [("async",), ("async", "async goes on")],
    "fails": [("fails",), ("fails", "and fails again")],
    "joins": [("joins",)],
    "task": [("task",), ("task", "its task")],
    "thread": [("thread",), ("thread", "its thread")],
}


@pytest.mark.parametrize("second", EXPECTED)
@pytest.mark.parametrize("first", EXPECTED)
@pytest.mark.parametrize("sent", ["apart", "together"])
async def test_what_a_message_sets_the_next_one_does_not_see(
    connect: Connect, plain_bus: Any, first: str, second: str, sent: str
) -> None:
    app, trails = WsApp(broadcast_transport=plain_bus.transport()), Trails()
    declare(app, trails)
    async with app.serving() as address:
        peer = await connect(address)
        if sent == "apart":
            await peer.call(first, "/1")
            await peer.call(second, "/2")
        else:  # the second one waits, and is begun where the first one ends
            peer.send_text(*(m(event, id) for id, event in enumerate((first, second), 1)))
            await peer.reply(2)
        assert trails.seen == EXPECTED[first] + EXPECTED[second]
        assert TRAIL.get() == ()
        assert outside() == []


def m(event: str, id: int) -> str:
    return f'{{"event":"{event}","path":"/{id}","id":{id}}}'


@pytest.mark.parametrize("last", ["close", "close later"])
async def test_hooks_see_nothing_of_messages_nor_of_each_other(
    connect: Connect, eventually: Eventually, last: str
) -> None:
    app, trails = WsApp(), Trails()
    declare(app, trails)

    @app.on_connect
    def connected() -> None:
        trails.mark("on_connect")

    @app.on_connect
    async def connected_later() -> None:
        await asyncio.sleep(0)
        trails.mark("on_connect too")

    @app.on_disconnect
    async def disconnected() -> None:
        trails.mark("on_disconnect")
        assert "use_ws_message" not in outside()

    @app.on_message("close", "/:n")
    def close() -> None:
        trails.mark("close")
        use_ws_connection().close()

    @app.on_message("close later", "/:n")
    async def close_later() -> None:
        await asyncio.sleep(0)
        trails.mark("close later")
        use_ws_connection().close()

    whole_life = [
        ("on_connect",),
        ("on_connect", "on_connect too"),
        ("sync",),
        ("async",),
        ("async", "async goes on"),
        (last,),
        ("on_disconnect",),
    ]
    async with app.serving() as address:
        for _ in range(2):
            peer = await connect(address)
            await peer.call("sync", "/1")
            await peer.call("async", "/2")
            peer.send(last, "/3")
            await eventually(lambda: trails.seen[-1:] == [("on_disconnect",)])
            assert trails.seen == whole_life
            trails.seen.clear()


async def test_around_message_shares_the_context_of_its_message_and_of_no_other(
    connect: Connect,
) -> None:
    app, trails = WsApp(), Trails()
    declare(app, trails)

    @app.around_message
    async def outer(call_next: Callable[[], Awaitable[object]]) -> object:
        trails.mark("outer")
        answer = await call_next()
        trails.mark("outer again")
        return answer

    @app.around_message
    async def inner(call_next: Callable[[], Awaitable[object]]) -> object:
        trails.mark("inner")
        return await call_next()

    async with app.serving() as address:
        peer = await connect(address)
        for _ in range(2):
            await peer.call("sync", "/1")
    trail = ("outer", "inner", "sync", "outer again")
    assert trails.seen == [trail[:length] for length in (1, 2, 3, 4)] * 2


# Messages at the same time


def who_am_i() -> tuple[str, str, object, str, bool]:
    """All that is current, by every composable."""
    message, connection = use_ws_message(), use_ws_connection()
    assert use_ws_server().get_connection(connection.id) is connection
    return (
        message.event,
        use_route_params()["n"],
        message.data,
        connection.id,
        use_ws_message(int).data == message.data,
    )


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
async def test_concurrent_messages_stay_themselves_in_whatever_order_they_go_on(
    connect: Connect, order: tuple[int, ...]
) -> None:
    app = WsApp(max_concurrent_messages=3)
    trails = Trails()
    waiting: dict[int, asyncio.Event] = {}
    all_wait = asyncio.Event()

    @app.on_message("m", "/:n")
    async def handler() -> object:
        before = who_am_i()
        number = use_ws_message().data
        trails.mark(f"{number}")
        waiting[number] = asyncio.Event()
        if len(waiting) == 3:
            all_wait.set()
        await waiting[number].wait()
        trails.mark(f"{number} goes on")
        await use_ws_rooms().join(f"room {number}")
        return [before == who_am_i(), use_route_params().params, number]

    async with app.serving() as address:
        peer, other = await connect(address), await connect(address)
        for number in range(2):
            peer.send("m", f"/{number}", number, id=number)
        other.send("m", "/2", 2, id=2)
        async with asyncio.timeout(DEADLINE):
            await all_wait.wait()
        for number in order:
            waiting[number].set()
        for number in range(3):
            asked = other if number == 2 else peer
            assert await asked.reply(number) == [True, {"n": str(number)}, number]
        rooms = {frozenset(each.rooms) for each in app.server.connections()}
    assert rooms == {frozenset({"room 0", "room 1"}), frozenset({"room 2"})}
    assert sorted(trails.seen) == sorted(
        [*((f"{n}",) for n in range(3)), *((f"{n}", f"{n} goes on") for n in range(3))]
    )


async def test_sync_handlers_between_the_steps_of_a_suspended_one_disturb_nothing(
    connect: Connect,
) -> None:
    app = WsApp(max_concurrent_messages=2)
    trails = Trails()
    steps: list[str] = []
    there, step = asyncio.Event(), asyncio.Event()

    @app.on_message("suspended", "/:n")
    async def suspended() -> bool:
        mine = who_am_i()
        trails.mark("suspended")
        for number in range(3):
            steps.append(f"suspended {number}")
            there.set()
            await step.wait()
            step.clear()
            assert who_am_i() == mine
            assert TRAIL.get() == ("suspended",)
        return True

    @app.on_message("sync", "/:n")
    def sync() -> str:
        trails.mark("sync")
        steps.append(f"sync {use_ws_message().data}")
        return use_route_params()["n"]

    async with app.serving() as address:
        peer, other = await connect(address), await connect(address)
        peer.send("suspended", "/first", 1, id="suspended")
        for number in range(3):
            async with asyncio.timeout(DEADLINE):
                await there.wait()
            there.clear()
            assert await peer.call("sync", "/mine", number) == "mine"
            assert await other.call("sync", "/others", number) == "others"
            step.set()
        assert await peer.reply("suspended") is True
    assert steps == [
        each
        for number in range(3)
        for each in (f"suspended {number}", f"sync {number}", f"sync {number}")
    ]
    assert trails.seen == [("suspended",), *[("sync",)] * 6]


async def test_a_task_that_a_handler_left_behind_keeps_its_message_among_later_ones(
    connect: Connect,
) -> None:
    app = WsApp()
    go_on = asyncio.Event()
    tasks: list[asyncio.Task[tuple[str, str, object, str, bool]]] = []

    async def left_behind() -> tuple[str, str, object, str, bool]:
        await go_on.wait()
        return who_am_i()

    @app.on_message("m", "/:n")
    def handler() -> list[object]:
        tasks.append(asyncio.create_task(left_behind()))
        return list(who_am_i())

    async with app.serving() as address:
        peer = await connect(address)
        was = [await peer.call("m", f"/{number}", number) for number in range(5)]
        go_on.set()
        assert [list(await task) for task in tasks] == was


# Outside


async def test_after_the_handler_and_beside_it_every_composable_raises(connect: Connect) -> None:
    """Only what inherits the context is inside; a pool's thread or a bare context does not."""
    app = WsApp()
    loop = asyncio.get_running_loop()
    found: dict[str, list[str]] = {}

    def look(where: str) -> None:
        found[where] = outside()

    async def look_later(where: str) -> None:
        await asyncio.sleep(0)
        look(where)

    @app.on_message("m", "/:n")
    async def handler() -> None:
        look("the handler")
        await loop.run_in_executor(pool, look, "an executor")
        thread = threading.Thread(target=look, args=["a thread"])
        thread.start()
        await asyncio.to_thread(thread.join)
        loop.call_soon(look, "a callback of an empty context", context=contextvars.Context())
        empty = contextvars.Context()
        await loop.create_task(look_later("a task of an empty context"), context=empty)
        await asyncio.to_thread(look, "a thread that inherits")
        await loop.create_task(look_later("a task that inherits"))

    with ThreadPoolExecutor(1) as pool:
        async with app.serving() as address:
            peer = await connect(address)
            await peer.call("m", "/1")
            look("after it")
    everything = [getattr(composable, "__name__", "") for composable in COMPOSABLES]
    assert found == {
        "the handler": everything,
        "a thread that inherits": everything,
        "a task that inherits": everything,
        "an executor": [],
        "a thread": [],
        "a callback of an empty context": [],
        "a task of an empty context": [],
        "after it": [],
    }


async def test_a_message_is_parsed_outside_of_the_one_before_it(connect: Connect) -> None:
    """Also where that one's end made the socket be read again."""
    trails = Trails()
    found: list[str] = []

    def parser(frame: str | bytes) -> dict[str, Any]:
        trails.mark("parser")
        found.extend(outside())
        return {"event": "async", "path": "/1", "id": int(frame)}

    app = WsApp(message_parser=parser, limits=WsLimits(waiting_messages=2))
    handled = Trails()
    declare(app, handled)
    async with app.serving() as address:
        peer = await connect(address)
        peer.send_text(*map(str, range(20)))
        await peer.reply(19)
        for number in range(20, 23):
            peer.send_text(str(number))
            await peer.reply(number)
    assert set(found) <= {"use_ws_server"}
    assert {trail for trail in trails.seen if "async" in trail} == set()
    assert handled.seen == EXPECTED["async"] * 23
