"""close() from everywhere: the first call wins, on_disconnect tells it, nothing stays."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from wsrooms import ConnectionGone, WsError, use_ws_connection, use_ws_rooms, use_ws_server

if TYPE_CHECKING:
    # pytest's importlib mode lets only type checkers import a conftest.
    from tests.core.hard.lifetime.conftest import Death, Stage

pytestmark = pytest.mark.every_loop

OURS = 4001, "ours"


def m(event: str, path: str = "/r", **members: object) -> str:
    return json.dumps({"event": event, "path": path, **members})


class Closer(NamedTuple):
    declare: Callable[[Stage], object]
    rooms: list[str]
    replies: list[str]


CLOSERS: list[Any] = []


def closer(
    *rooms: str, replies: bool = False
) -> Callable[[Callable[[Stage], object]], Callable[[Stage], object]]:
    """Whoever calls close().

    Args:
        rooms: Those that on_disconnect sees.
        replies: Whether the handler has ended, and its reply gone out, before that.
    """

    def add(declare: Callable[[Stage], object]) -> Callable[[Stage], object]:
        name = declare.__name__.replace("_", " ")
        CLOSERS.append(
            pytest.param(
                Closer(declare, sorted(rooms), ['{"id":1,"data":null}'] * replies), id=name
            )
        )
        return declare

    return add


def close(connection: Any = None) -> None:
    """Send a last word and close; what comes behind that changes nothing."""
    connection = connection or use_ws_connection()
    connection.send("last", "/words")
    connection.close(*OURS)
    connection.send("too late", "/")
    connection.close(4999, "too late")


# In a handler


@closer("/r")
def a_sync_handler(stage: Stage) -> None:
    @stage.app.on_message("m", "/r")
    def handler() -> str:
        use_ws_rooms().join()
        stage.here()
        close()
        with pytest.raises(ConnectionGone):
            use_ws_rooms().join("too late")
        return "ignored"


@closer("/r")
def an_async_handler(stage: Stage) -> None:
    @stage.app.on_message("m", "/r")
    async def handler() -> str:
        await use_ws_rooms().join()
        stage.here()
        close()
        with pytest.raises(ConnectionGone):
            use_ws_rooms().join("too late")
        await asyncio.sleep(0)
        return "ignored"


@closer("/r")
def a_handler_that_runs_on(stage: Stage) -> None:
    @stage.app.on_message("m", "/r")
    async def handler() -> str:
        await use_ws_rooms().join()
        close()
        await stage.stand_still()
        close()
        use_ws_rooms().broadcast("ignored", exclude_self=False)
        return "ignored"


@closer("slow")
def a_handler_with_an_open_join(stage: Stage) -> None:
    stage.hold("subscribe ws:room:slow")

    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        receipt = use_ws_rooms().join("slow")
        stage.here()
        close()
        with pytest.raises(ConnectionGone):
            await receipt


@closer()
def a_handler_that_fails_afterwards(stage: Stage) -> None:
    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        stage.here()
        close()
        use_ws_rooms().join("raises ConnectionGone, which is nobody's fault")


@closer()
def around_message(stage: Stage) -> None:
    @stage.app.around_message
    async def around(call_next: Callable[[], Any]) -> object:
        if use_ws_connection().request.path == "/subject":
            stage.here()
            close()
        return await call_next()

    stage.app.on_message("m", "/r", lambda: "ignored")


# From elsewhere


@closer("/r")
def a_task_of_the_handler(stage: Stage) -> None:
    async def task() -> None:
        await asyncio.sleep(0)
        close()

    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        await use_ws_rooms().join()
        stage.here()
        async with asyncio.TaskGroup() as group:
            group.create_task(task())


@closer("/r", replies=True)
def a_task_that_outlives_the_handler(stage: Stage) -> None:
    handler_ended = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def task() -> None:
        await handler_ended.wait()
        close()

    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        await use_ws_rooms().join()
        stage.here()
        started = asyncio.create_task(task())
        tasks.add(started)
        started.add_done_callback(tasks.discard)
        mine = asyncio.current_task()
        assert mine is not None
        mine.add_done_callback(lambda _: handler_ended.set())


@closer("/r")
def a_thread(stage: Stage) -> None:
    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        await use_ws_rooms().join()
        stage.here()
        await asyncio.to_thread(close)


@closer("/r", replies=True)
def a_thread_that_nobody_waits_for(stage: Stage) -> None:
    threads: list[threading.Thread] = []

    @stage.app.on_disconnect
    def join_threads() -> None:
        while threads:
            threads.pop().join()

    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        await use_ws_rooms().join()
        stage.here()
        thread = threading.Thread(target=close, args=[use_ws_connection()])
        thread.start()
        threads.append(thread)


@closer("/r", replies=True)
def the_handler_of_another_client(stage: Stage) -> None:
    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        await use_ws_rooms().join()
        stage.here()
        stage.witness.writer.write(stage.witness.frame(m("close others")))

    @stage.app.on_message("close others", "/r")
    def close_others() -> None:
        for connection in use_ws_server().room_connections("/r"):
            other = stage.app.server.get_connection(connection.id)
            assert other is connection
            close(other)


@closer("/r", replies=True)
def a_background_task(stage: Stage) -> None:
    async def task() -> None:
        (connection,) = stage.app.room("/r").connections()
        close(connection)

    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        await use_ws_rooms().join()
        stage.here()
        stage.app.start_task(task(), name="close")


# In a hook


@closer()
def a_sync_on_connect(stage: Stage) -> None:
    @stage.on_connect
    def hook() -> None:
        stage.here()
        close()
        with pytest.raises(ConnectionGone):
            use_ws_connection().join("too late")


@closer("lobby")
def an_async_on_connect(stage: Stage) -> None:
    @stage.on_connect
    async def hook() -> None:
        await use_ws_connection().join("lobby")
        stage.here()
        close()
        with pytest.raises(ConnectionGone):
            use_ws_connection().join("too late")
        await asyncio.sleep(0)


@pytest.mark.parametrize("closer", CLOSERS)
async def test_close_ends_a_connection_whoever_calls_it_and_nothing_is_left(
    stage: Stage, closer: Closer, death: Death
) -> None:
    closer.declare(stage)
    async with stage.serving(), stage.client() as client:
        await client.send(m("m", id=1))
        await stage.reached()
        for text in (*closer.replies, '{"event":"last","path":"/words"}'):
            assert await client.text() == text
        assert await client.close_code() == OURS
        await death.die(client)
        stage.release()
        await client.end()
        await stage.nothing_is_left()
    assert stage.ends == [(*OURS, closer.rooms)]


async def test_close_in_on_disconnect_changes_nothing(stage: Stage, death: Death) -> None:
    @stage.app.on_disconnect
    def hook() -> None:
        close()

    async with stage.serving(), stage.client() as client:
        await client.send(m("join", "/r", id=1))
        await client.text()
        await death.die(client)
        await stage.until(lambda: stage.ends)
        await client.end()
        await stage.nothing_is_left()
    assert stage.ends == [(*death.told, ["/r"])]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("why", ["it raises", "its join was open"])
async def test_on_connect_that_closes_and_does_not_end_well_was_none(
    stage: Stage, kind: str, why: str
) -> None:
    def refuse() -> None:
        use_ws_connection().join("lobby")
        close()
        if why == "it raises":
            raise WsError(403, "too late to say")

    async def refuse_later() -> None:
        refuse()

    stage.on_connect(refuse if kind == "sync" else refuse_later)
    async with stage.serving(), stage.client() as client:
        assert await client.text() == '{"event":"last","path":"/words"}'
        assert await client.close_code() == OURS
        await client.write(client.close_frame(4001))
        await client.end()
        await stage.nothing_is_left()
    assert stage.ends == []


async def test_of_two_threads_that_close_the_first_wins(stage: Stage) -> None:
    """Calls of one thread keep their order, and one thread waits for the other here."""

    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        await asyncio.to_thread(close)
        await asyncio.to_thread(use_ws_connection().close, 4444, "the second")

    async with stage.serving(), stage.client() as client:
        await client.send(m("m", id=1))
        assert await client.text() == '{"event":"last","path":"/words"}'
        assert await client.close_code() == OURS
        await client.write(client.close_frame(4001))
        await client.end()
        await stage.nothing_is_left()
    assert stage.ends == [(*OURS, [])]


async def test_the_close_of_the_client_that_came_first_counts(stage: Stage) -> None:
    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        await stage.stand_still()
        close()

    async with stage.serving(), stage.client() as client:
        await client.send(m("m", id=1))
        await client.write(client.close_frame(4321, "bye"))
        assert await client.close_code() == (4321, "bye")
        await stage.reached()
        stage.release()
        assert await client.end() == b""
        await stage.nothing_is_left()
    assert stage.ends == [(4321, "bye", [])]
