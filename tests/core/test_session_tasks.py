"""One task goes on with the messages that wait; each handler may think that it is its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import WsApp, WsLimits, WsMessage, use_ws_message

from .session_tasks import SILENT, Clock, burst, me, number_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Task = asyncio.Task[Any]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """However busy the machine is, a burst takes the turns that the test gives it."""
    clock = Clock()
    monkeypatch.setattr("wsrooms.turns.monotonic", clock)
    return clock


@pytest.fixture
async def made() -> list[Task]:
    """Give the tasks that are made from now on."""
    tasks: list[Task] = []

    def factory(loop: Any, work: Any, **options: Any) -> Task:
        task = asyncio.Task(work, loop=loop, **options)
        tasks.append(task)
        return task

    asyncio.get_running_loop().set_task_factory(factory)
    return tasks


async def replies(peer: Any, count: int) -> list[object]:
    """What was answered to the first ``count`` messages; their order is asserted."""
    answers = [await peer.reply(number) for number in range(count)]
    assert [frame["id"] for frame in peer.received] == list(range(count))
    return [answer["error"]["code"] if isinstance(answer, dict) else answer for answer in answers]


# One task


async def test_a_burst_of_messages_is_handled_by_one_task(
    connect: Connect, made: list[Task]
) -> None:
    app = WsApp(limits=WsLimits(waiting_messages=50))
    seen: list[int] = []

    @app.on_message("m", "/")
    async def m(message: WsMessage[int]) -> int:
        seen.append(number_of(me()))
        return message.data

    async with app.serving() as address:
        peer = await connect(address)
        before = len(made)
        burst(peer, *["m"] * 50)
        assert await replies(peer, 50) == list(range(50))
        assert [*map(number_of, made[before:])] == [seen[0]]
        assert seen == [seen[0]] * 50


async def test_the_task_has_the_name_of_the_handler_that_it_runs(connect: Connect) -> None:
    app = WsApp()
    names: list[str] = []

    @app.on_message("first", "/")
    async def one() -> None:
        names.append(me().get_name())
        await asyncio.sleep(0)
        names.append(me().get_name())

    @app.on_message("second", "/")
    async def another() -> None:
        names.append(me().get_name())

    async with app.serving() as address:
        peer = await connect(address)
        burst(peer, "first", "second", "first")
        await replies(peer, 3)
    here = f"{test_the_task_has_the_name_of_the_handler_that_it_runs.__name__}.<locals>"
    assert [name.rpartition(".")[2] for name in names] == ["one", "one", "another", "one", "one"]
    assert all(name.startswith("wsrooms ") and here in name for name in names)


async def test_what_a_message_sets_the_next_in_the_same_task_does_not_see(
    connect: Connect,
) -> None:
    app = WsApp()
    variable: ContextVar[str] = ContextVar("variable", default="nothing")
    seen: list[str] = []
    tasks: set[int] = set()

    @app.on_message("m", "/")
    async def m(message: WsMessage[int]) -> None:
        tasks.add(number_of(me()))
        mine = f"message {message.data}"
        before = variable.get()
        variable.set(mine)
        await asyncio.sleep(0)
        in_a_task = await asyncio.create_task(asyncio.to_thread(variable.get))
        seen.append(before)
        assert variable.get() == in_a_task == mine
        assert use_ws_message().data == message.data

    async with app.serving() as address:
        peer = await connect(address)
        token = variable.set("of the client")
        burst(peer, *["m"] * 4)
        await replies(peer, 4)
        variable.reset(token)
    assert len(tasks) == 1
    assert seen == ["nothing"] * 4


# What asyncio does with the current task


async def deadline() -> str:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    async with asyncio.timeout(60):
        await asyncio.sleep(0)
    return "went on after its deadline"


async def wait_for() -> str:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0.001)
    return await asyncio.wait_for(asyncio.sleep(0, "waited for"), 60)


async def group() -> str:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError

    async def wait_with_it() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
            await asyncio.Event().wait()  # the group cancels the current task to end this

    with pytest.raises(ExceptionGroup) as caught:
        await wait_with_it()
    assert caught.group_contains(LookupError)
    return "its group ended it"


async def scope() -> str:
    """Cancel and take it back, again and again until it is heard, as anyio's scopes do."""
    task, loop = me(), asyncio.get_running_loop()
    asked: list[asyncio.Handle] = []

    def ask() -> None:
        task.cancel()
        if len(asked) < 3:
            asked.append(loop.call_soon(ask))

    asked.append(loop.call_soon(ask))
    for _ in range(2):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    asked[-1].cancel()
    while task.uncancel():
        pass
    return "left its scope"


async def shielded() -> str:
    inner = asyncio.ensure_future(asyncio.sleep(0, "inner"))
    return await asyncio.shield(inner)


async def gathered() -> str:
    results = await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))
    return f"gathered {results}"


HABITS: list[Callable[[], Coroutine[Any, Any, str]]] = [
    deadline,
    wait_for,
    group,
    scope,
    shielded,
    gathered,
]


KEEPERS = (group, scope)
"""Here a traceback, or a circle, keeps the task for a while: the next message has another."""


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.__name__)
async def test_what_needs_the_current_task_works_in_the_first_message_and_in_later_ones(
    connect: Connect, made: list[Task], habit: Callable[[], Coroutine[Any, Any, str]]
) -> None:
    app = WsApp()
    tasks: list[int] = []

    async def tell() -> str:
        tasks.append(number_of(me()))
        told = await habit()
        assert number_of(me()) == tasks[-1]
        assert not me().cancelling()
        return told

    app.on_message("habit", "/", tell)
    app.on_message("sync", "/", lambda: "sync")
    async with app.serving() as address:
        peer = await connect(address)
        burst(peer, "habit", "sync", "habit", "habit")
        first, sync, *others = await replies(peer, 4)
        assert sync == "sync"
        assert isinstance(first, str)
        assert others == [first, first]
    if habit not in KEEPERS:
        assert tasks == [tasks[0]] * 3
    assert [*map(number_of, made)].count(tasks[0]) == 1


# What ends the task of one message


async def cancels_itself() -> str:
    me().cancel()
    await asyncio.sleep(0)
    return "not reached"


async def cancels_itself_and_returns() -> str:
    me().cancel()
    return "returned"


async def swallows_its_cancellation() -> str:
    me().cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    return "returned"


async def is_cancelled_by_another() -> str:
    asyncio.get_running_loop().call_soon(me().cancel)
    await asyncio.Event().wait()
    return "not reached"


CANCELLED: list[tuple[Callable[[], Coroutine[Any, Any, str]], object]] = [
    (cancels_itself, 500),
    (cancels_itself_and_returns, "returned"),
    (swallows_its_cancellation, "returned"),
    (is_cancelled_by_another, 500),
]


@pytest.mark.parametrize(("way", "answer"), CANCELLED, ids=[way.__name__ for way, _ in CANCELLED])
@pytest.mark.parametrize("position", [0, 2], ids=["first", "third"])
async def test_a_handler_that_is_cancelled_takes_no_other_message_with_it(
    connect: Connect,
    position: int,
    way: Callable[[], Coroutine[Any, Any, str]],
    answer: object,
) -> None:
    app = WsApp(logger=SILENT)
    tasks: dict[int, int] = {}
    order: list[int] = []

    def note(message: WsMessage[int]) -> None:
        order.append(message.data)
        tasks[message.data] = number_of(me())

    @app.on_message("cancelled", "/")
    async def cancelled(message: WsMessage[int]) -> str:
        note(message)
        return await way()

    @app.on_message("waits", "/")
    async def waits(message: WsMessage[int]) -> str:
        note(message)
        await asyncio.sleep(0)
        return "fine"

    @app.on_message("sync", "/")
    def sync(message: WsMessage[int]) -> str:
        order.append(message.data)
        return "fine"

    events = ["waits", "waits", "waits", "sync", "waits", "waits"]
    events[position] = "cancelled"
    async with app.serving() as address:
        peer = await connect(address)
        burst(peer, *events)
        answers = await replies(peer, 6)
        assert answers == [answer if event == "cancelled" else "fine" for event in events]
        assert order == list(range(6))
    before = {tasks[number] for number in tasks if number <= position}
    after = {tasks[number] for number in tasks if number > position}
    assert len(before) == len(after) == 1
    assert before != after


@pytest.mark.parametrize("position", [0, 1], ids=["first", "second"])
async def test_the_next_handler_of_a_message_is_not_tried_where_the_task_was_cancelled(
    connect: Connect, position: int
) -> None:
    app = WsApp(logger=SILENT)
    tried: list[str] = []

    async def fails() -> None:
        tried.append("fails")
        raise LookupError

    async def cancelled() -> str:
        tried.append("cancelled")
        return await cancels_itself()

    async def answers() -> str:
        tried.append("answers")
        return "answered"

    handlers: list[Callable[[], Coroutine[Any, Any, object]]] = [fails, fails]
    handlers[position] = cancelled
    for handler in (*handlers, answers):
        app.on_message("m", "/", handler)
    app.on_message("next", "/", answers)
    async with app.serving() as address:
        peer = await connect(address)
        burst(peer, "m", "next")
        assert await replies(peer, 2) == [500, "answered"]
    assert tried == [*["fails"] * position, "cancelled", "answers"]


class Kinds:
    """Handlers of every kind, and what each is answered."""

    def __init__(self, app: WsApp) -> None:
        self.order: list[int] = []
        self.answers: dict[str, object] = {"unknown": 404}
        for name, answer in (
            ("sync", "sync"),
            ("sync_fails", 500),
            ("never_waits", "never"),
            ("waits", "waited"),
            ("waits_long", "long"),
            ("fails", 500),
            ("fails_later", 500),
            ("future", "future"),
        ):
            app.on_message(name, "/", getattr(self, name))
            self.answers[name] = answer

    def sync(self, message: WsMessage[int]) -> str:
        self.order.append(message.data)
        return "sync"

    def sync_fails(self, message: WsMessage[int]) -> None:
        self.order.append(message.data)
        raise LookupError

    async def never_waits(self, message: WsMessage[int]) -> str:
        self.order.append(message.data)
        return "never"

    async def waits(self, message: WsMessage[int]) -> str:
        await asyncio.sleep(0)
        self.order.append(message.data)
        return "waited"

    async def waits_long(self, message: WsMessage[int]) -> str:
        for _ in range(5):
            await asyncio.sleep(0)
        self.order.append(message.data)
        return "long"

    async def fails(self, message: WsMessage[int]) -> None:
        self.order.append(message.data)
        raise LookupError

    async def fails_later(self, message: WsMessage[int]) -> None:
        await asyncio.sleep(0)
        self.order.append(message.data)
        raise LookupError

    def future(self, message: WsMessage[int]) -> asyncio.Future[str]:
        self.order.append(message.data)
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, "future")
        return future


@pytest.mark.parametrize("seed", range(8))
async def test_handlers_of_all_kinds_in_any_order_are_handled_and_answered_in_order(
    connect: Connect, seed: int
) -> None:
    app = WsApp(logger=SILENT)
    kinds = Kinds(app)
    events = random.Random(seed).choices(sorted(kinds.answers), k=150)
    async with app.serving() as address:
        peer = await connect(address)
        burst(peer, *events)
        assert await replies(peer, 150) == [kinds.answers[event] for event in events]
    assert kinds.order == [number for number, event in enumerate(events) if event != "unknown"]
