"""A client dies at the worst moment: on_disconnect runs when it should, and nothing stays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from wsrooms import (
    ConnectionGone,
    WsError,
    use_ws_connection,
    use_ws_rooms,
    use_ws_server,
)

if TYPE_CHECKING:
    # pytest's importlib mode lets only type checkers import a conftest.
    from tests.core.hard.lifetime.conftest import Death, Stage

pytestmark = pytest.mark.every_loop


def m(event: str, path: str = "/r", **members: object) -> str:
    return json.dumps({"event": event, "path": path, **members})


class Moment(NamedTuple):
    declare: Callable[[Stage], object]
    sends: tuple[str, ...]
    rooms: list[str] | None
    notes: list[str]
    witnessed: int


MOMENTS: list[Any] = []


def moment(
    *sends: str, rooms: list[str] | None, notes: tuple[str, ...] = (), witnessed: int = 0
) -> Callable[[Callable[[Stage], object]], Callable[[Stage], object]]:
    """The moment that the function sets up.

    Args:
        sends: What the client sends before it dies.
        rooms: Those that on_disconnect sees; None where it must not run.
        notes: What the handlers note.
        witnessed: How many of the subject's broadcasts the others still get.
    """

    def add(declare: Callable[[Stage], object]) -> Callable[[Stage], object]:
        name = declare.__name__.replace("_", " ")
        MOMENTS.append(pytest.param(Moment(declare, sends, rooms, list(notes), witnessed), id=name))
        return declare

    return add


# In on_connect


@moment(rooms=["lobby"])
def on_connect_runs_and_ends_well(stage: Stage) -> None:
    @stage.on_connect
    async def hook() -> None:
        await use_ws_connection().join("lobby")
        await stage.stand_still()


@moment(rooms=None)
def on_connect_runs_and_then_refuses(stage: Stage) -> None:
    @stage.on_connect
    async def hook() -> None:
        await use_ws_connection().join("lobby")
        await stage.stand_still()
        raise WsError(403)


@moment(rooms=None)
def on_connect_runs_and_then_joins(stage: Stage) -> None:
    @stage.on_connect
    async def hook() -> None:
        await stage.stand_still()
        use_ws_connection().join("too late")


@moment(rooms=[])
def on_connect_runs_and_survives_its_late_join(stage: Stage) -> None:
    @stage.on_connect
    async def hook() -> None:
        await stage.stand_still()
        with pytest.raises(ConnectionGone):
            use_ws_connection().join("too late")


@moment(rooms=None)
def on_connect_awaits_a_join(stage: Stage) -> None:
    stage.hold("subscribe ws:room:slow")

    @stage.on_connect
    async def hook() -> None:
        stage.here()
        await use_ws_connection().join("slow")


@moment(rooms=None)
def a_sync_on_connect_has_joined(stage: Stage) -> None:
    stage.hold("subscribe ws:room:slow")

    @stage.on_connect
    def hook() -> None:
        use_ws_connection().join("slow")
        stage.here()


@moment(m("late"), m("late", id=7), m("late"), rooms=["/r"], notes=("handled",) * 3)
def on_connect_runs_and_messages_wait(stage: Stage) -> None:
    @stage.on_connect
    async def hook() -> None:
        await use_ws_connection().join("/r")
        await stage.stand_still()

    @stage.app.on_message("late", "/r")
    async def late() -> None:
        await asyncio.sleep(0)
        assert use_ws_rooms().rooms() == ["/r"]
        stage.notes.append("handled")


# In a handler


@moment(m("m", id=1), rooms=["own", "slow"], notes=("told",))
def a_handler_awaits_a_join(stage: Stage) -> None:
    stage.hold("subscribe ws:room:slow")

    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        await use_ws_rooms().join("own")
        stage.here()
        with pytest.raises(ConnectionGone):
            await use_ws_rooms().join("slow")
        stage.notes.append("told")
        await use_ws_rooms().join("later still")


@moment(m("m", id=1), m("m"), rooms=["slow"])
def replies_wait_for_joins(stage: Stage) -> None:
    stage.hold("subscribe ws:room:slow")

    @stage.app.on_message("m", "/r")
    def handler() -> str:
        use_ws_rooms().join("slow")
        stage.here()
        return "joined"


@moment(m("m", id=1), rooms=["slow"])
def a_thread_waits_for_its_join(stage: Stage) -> None:
    stage.hold("subscribe ws:room:slow")

    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        with pytest.raises(ConnectionGone):
            await asyncio.to_thread(join)

    def join() -> None:
        receipt = use_ws_rooms().join("slow")
        assert use_ws_rooms().rooms() == ["slow"]
        stage.here()
        receipt.result(5)


@moment(m("m", id=1), rooms=["slow"])
def a_task_that_a_handler_left_behind_waits_for_its_join(stage: Stage) -> None:
    stage.hold("subscribe ws:room:slow")
    tasks: list[asyncio.Task[None]] = []

    async def join() -> None:
        stage.here()
        with pytest.raises(ConnectionGone):
            await use_ws_rooms().join("slow")
        tasks.clear()

    @stage.app.on_message("m", "/r")
    def handler() -> None:
        tasks.append(asyncio.create_task(join()))


@moment(m("m", id=1), rooms=["/r"], witnessed=1)
def a_handler_runs_on(stage: Stage) -> None:
    @stage.app.on_message("m", "/r")
    async def handler() -> str:
        connection = use_ws_connection()
        await use_ws_rooms().join()
        await stage.stand_still()
        for call in (connection.join, use_ws_rooms().join):
            with pytest.raises(ConnectionGone):
                call("too late")
        assert use_ws_rooms().rooms() == ["/r"]
        assert use_ws_server().get_connection(connection.id) is connection
        connection.send("ignored", "/")
        connection.reply(1)
        connection.reply_error(2, 400, "ignored")
        connection.close(4999, "ignored")
        connection.leave("never joined")
        use_ws_rooms().broadcast("ignored", exclude_self=False)
        use_ws_rooms().broadcast("still works", room="/watched")
        return "ignored"


@moment(m("m"), rooms=[])
def a_handler_leaves_its_rooms_after_the_end(stage: Stage) -> None:
    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        await use_ws_rooms().join()
        await stage.stand_still()
        await use_ws_rooms().leave()


@moment(m("m", id=1), rooms=["/r"])
def a_handler_runs_in_around_message(stage: Stage) -> None:
    @stage.app.around_message
    async def around(call_next: Callable[[], Any]) -> object:
        answer = await call_next()
        if use_ws_connection().request.path == "/subject":
            await stage.stand_still()
            with pytest.raises(ConnectionGone):
                use_ws_rooms().join("too late")
        return answer

    stage.app.on_message("m", "/r", lambda: use_ws_rooms().join())


@moment(m("m", id=1), m("m", id=2), m("m", id=3), rooms=["/r"], notes=("handled",) * 3)
def a_handler_runs_and_messages_wait(stage: Stage) -> None:
    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        if not stage.entered.is_set():
            await use_ws_rooms().join()
            await stage.stand_still()
        stage.notes.append("handled")


@moment(m("m", id=1), rooms=["/r"])
def a_sync_handler_has_just_answered(stage: Stage) -> None:
    @stage.app.on_message("m", "/r")
    def handler() -> None:
        use_ws_rooms().join()
        stage.here()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_client_that_dies_leaves_nothing(
    stage: Stage, moment: Moment, death: Death
) -> None:
    moment.declare(stage)
    async with stage.serving(), stage.client() as client:
        await client.send(*moment.sends)
        await stage.reached()
        await death.die(client)
        await stage.noticed()
        stage.release()
        await client.end()
        await stage.nothing_is_left()
        expected = [] if moment.rooms is None else [(*death.told, moment.rooms)]
        assert stage.ends == expected
        for _ in range(moment.witnessed):
            assert await stage.witness.text() == '{"event":"still works","path":"/watched"}'
        assert stage.notes == moment.notes


# Where no handler is told


async def test_a_client_that_dies_idle_leaves_nothing(stage: Stage, death: Death) -> None:
    async with stage.serving(), stage.client() as client:
        await client.send(m("join", "/r", id=1))
        await client.text()
        await death.die(client)
        await stage.until(lambda: stage.ends)
        await client.end()
        await stage.nothing_is_left()
    assert stage.ends == [(*death.told, ["/r"])]


@pytest.mark.parametrize("sent", ["a frame", "a message"])
async def test_a_client_that_dies_within_what_it_sends_leaves_nothing(
    stage: Stage, sudden_death: Death, sent: str
) -> None:
    stage.app.on_message("m", "/r", lambda: stage.notes.append("handled"))
    async with stage.serving(), stage.client() as client:
        whole = m("m", data="a" * 10_000).encode()
        await client.send(m("join", "/r", id=1))
        if sent == "a frame":
            await client.write(client.frame(whole, client.TEXT)[:-1])
        else:
            await client.write(client.frame(whole[:5000], client.TEXT, fin=False))
            await client.write(client.frame(whole[5000:], client.CONT, fin=False))
        await client.text()
        await sudden_death.die(client)
        await stage.until(lambda: stage.ends)
        await client.end()
        await stage.nothing_is_left()
    assert stage.ends == [(*sudden_death.told, ["/r"])]
    assert stage.notes == []


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nUpgr"], ids=["nothing", "half of it"])
async def test_a_client_that_dies_before_its_handshake_was_none(
    stage: Stage, sudden_death: Death, sent: bytes
) -> None:
    stage.on_connect(lambda: stage.notes.append("connected"))
    async with stage.serving(), stage.client(path=None) as client:
        await client.write(sent)
        await sudden_death.die(client)
        await client.end()
        await stage.nothing_is_left()
    assert stage.ends == stage.notes == []


# While something else goes on


async def test_concurrent_handlers_of_a_dead_client_all_end_before_on_disconnect(
    make_stage: Callable[..., Stage], death: Death
) -> None:
    stage = make_stage(max_concurrent_messages=4)

    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        stage.notes.append("begins")
        if len(stage.notes) == 4:
            stage.here()
        await stage.released()
        assert stage.ends == []
        await use_ws_rooms().leave()
        stage.notes.append("ends")

    async with stage.serving(), stage.client() as client:
        await client.send(*[m("m", id=1)] * 6)
        await stage.reached()
        await death.die(client)
        await stage.noticed()
        assert stage.notes == ["begins"] * 4
        stage.release()
        await stage.until(lambda: stage.ends)
        await client.end()
        await stage.nothing_is_left()
    assert stage.notes.count("begins") == stage.notes.count("ends") == 6
    assert stage.ends == [(*death.told, [])]


async def test_a_client_that_closes_and_is_reset_while_on_disconnect_runs_ended_once(
    stage: Stage, death: Death
) -> None:
    @stage.app.on_disconnect
    async def linger() -> None:
        if use_ws_connection().request.path == "/subject":
            await stage.stand_still()
            stage.notes.append("on_disconnect")

    async with stage.serving(), stage.client() as client:
        await client.send(m("join", "/r", id=1))
        await client.text()
        await death.die(client)
        await stage.reached()
        assert len(stage.app.room("/r")) == 1
        client.writer.transport.abort()
        await client.end()
        stage.release()
        await stage.nothing_is_left()
    assert stage.ends == [(*death.told, ["/r"])]
    assert stage.notes == ["on_disconnect"]
