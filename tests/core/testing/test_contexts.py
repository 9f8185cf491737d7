"""Contexts: a test calls one handler as if its message had come."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import gc
import threading
import weakref
from typing import Any

import msgspec
import pytest

from wsrooms import (
    ConnectionGone,
    InvalidRoom,
    OutsideContext,
    WsApp,
    WsError,
    WsMessage,
    WsRoutes,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)
from wsrooms.testing import (
    HandlerContext,
    connect_client,
    prepare_test_ws_connection_context,
    prepare_test_ws_message_context,
)


class Order(msgspec.Struct):
    number: int


async def join() -> dict[str, bool]:
    await use_ws_rooms().join()
    return {"joined": True}


def message() -> None:
    use_ws_rooms().broadcast("message", use_ws_message().data)


def typed(message: WsMessage[Order]) -> Order:
    return message.data


@pytest.fixture
def app() -> WsApp:
    """Give an app with a chat."""
    app = WsApp()
    app.on_message("join", "/chat/:room", join)
    app.on_message("message", "/chat/:room", message)
    return app


def push(data: object, room: str = "1") -> dict[str, object]:
    return {"event": "message", "path": f"/chat/{room}", "params": {"room": room}, "data": data}


# One context


def test_the_composables_work_inside_and_nowhere_else() -> None:
    with prepare_test_ws_message_context(
        event="join", path="/chat/1", data=[1], params={"room": "1"}, id=7
    ) as ctx:
        assert use_ws_connection() is ctx.connection
        assert use_ws_message() is ctx.message
        assert (ctx.message.event, ctx.message.path, ctx.message.id) == ("join", "/chat/1", 7)
        assert use_route_params()["room"] == "1"
        assert use_ws_server().connections() == {ctx.connection}
        assert use_ws_rooms().rooms() == []
    for composable in (use_ws_message, use_ws_rooms, use_ws_connection, use_ws_server):
        with pytest.raises(OutsideContext):
            composable()


@pytest.mark.parametrize(
    ("data", "read"),
    [
        ({"a": [1, None, "é"]}, {"a": [1, None, "é"]}),
        (None, None),
        (Order(3), {"number": 3}),
        (dataclasses.make_dataclass("D", ["x"])(1), {"x": 1}),
        (msgspec.Raw(b'{"raw": true}'), {"raw": True}),
        ((1, 2), [1, 2]),
    ],
)
def test_data_is_what_a_client_would_have_sent(data: object, read: object) -> None:
    with prepare_test_ws_message_context(event="e", path="/", data=data) as ctx:
        assert ctx.message.has_data
        assert ctx.message.data == read
        assert msgspec.json.decode(ctx.message.raw)["data"] == read


def test_without_data_and_id_a_message_has_none() -> None:
    with prepare_test_ws_message_context(event="e", path="/") as ctx:
        assert (ctx.message.has_data, ctx.message.data, ctx.message.id) == (False, None, None)


def test_what_no_client_could_send_is_refused() -> None:
    with pytest.raises(ValueError, match="no client could send that"):
        prepare_test_ws_message_context(event="e", path="/", data=msgspec.Raw(b"{"))
    with pytest.raises(ValueError, match="no client could send that"):
        prepare_test_ws_message_context(event="e", path="/", id=[1])  # type: ignore[arg-type]  # a mistake
    with pytest.raises(TypeError):
        prepare_test_ws_message_context(event="e", path="/", data=object())


def test_data_that_cannot_be_decoded_is_a_400_as_in_production() -> None:
    raw = msgspec.Raw(b"1e999")
    with (
        prepare_test_ws_message_context(event="e", path="/", data=raw) as ctx,
        pytest.raises(WsError) as caught,
    ):
        _ = ctx.message.data
    assert caught.value.code == 400


def test_a_sync_handler_is_called_with_the_message_it_takes_validated() -> None:
    with prepare_test_ws_message_context(event="e", path="/", data={"number": 3}) as ctx:
        assert ctx.call(typed) == Order(3)
        assert ctx.call(lambda: "takes nothing") == "takes nothing"
    with prepare_test_ws_message_context(event="e", path="/", data={"number": "3"}) as ctx:
        with pytest.raises(WsError, match=r"\$\.number") as caught:
            ctx.call(typed)
        assert caught.value.code == 422


async def test_an_async_handler_is_awaited_inside() -> None:
    with prepare_test_ws_message_context(event="join", path="/chat/1") as ctx:
        assert await join() == {"joined": True}
        assert await ctx.call(join) == {"joined": True}
        assert ctx.connection.rooms == {"/chat/1"}


def test_a_sync_test_may_run_an_async_handler() -> None:
    with prepare_test_ws_message_context(event="join", path="/chat/1") as ctx:
        assert asyncio.run(join()) == {"joined": True}
        assert ctx.connection.rooms == {"/chat/1"}


def test_what_the_connection_is_sent_and_answered_is_noted() -> None:
    with prepare_test_ws_message_context(event="e", path="/") as ctx:
        ctx.connection.send("hello", "/x", {"n": 1}, {"room": "1"})
        ctx.connection.send("bare", "/")
        ctx.connection.send("large", "/", "x" * 70_000)
        ctx.connection.reply(7, "yes")
        ctx.connection.reply_error("a", 403, "no")
    assert ctx.sent[:2] == [
        {"event": "hello", "path": "/x", "params": {"room": "1"}, "data": {"n": 1}},
        {"event": "bare", "path": "/"},
    ]
    assert len(ctx.sent[2]["data"]) == 70_000
    assert ctx.replies == [
        {"id": 7, "data": "yes"},
        {"id": "a", "error": {"code": 403, "message": "no"}},
    ]


def test_what_cannot_be_sent_raises_as_in_production() -> None:
    with prepare_test_ws_message_context(event="e", path="/") as ctx:
        with pytest.raises(TypeError):
            ctx.connection.send("e", "/", object())
        with pytest.raises(InvalidRoom):
            use_ws_rooms().join("")
        with pytest.raises(ValueError, match="close code"):
            ctx.connection.close(1005)


def test_a_closed_connection_takes_nothing_more() -> None:
    with prepare_test_ws_message_context(event="e", path="/") as ctx:
        ctx.connection.close(4000, "enough")
        ctx.connection.send("e", "/")
        ctx.connection.reply(1)
        assert (ctx.connection.close_code, ctx.connection.close_reason) == (4000, "enough")
        with pytest.raises(ConnectionGone):
            use_ws_rooms().join()
    assert (ctx.sent, ctx.replies) == ([], [])


def test_a_broadcast_to_the_own_room_leaves_the_sender_out_unless_told() -> None:
    with prepare_test_ws_message_context(event="e", path="/r") as ctx:
        use_ws_rooms().join()
        use_ws_rooms().broadcast("a")
        use_ws_rooms().broadcast("b", exclude_self=False)
        use_ws_server().broadcast("c", "/")
        use_ws_server().room("/r").broadcast("d")
    assert [one["event"] for one in ctx.sent] == ["b", "c", "d"]


# Tasks and threads


async def test_tasks_and_threads_that_are_started_inside_see_the_context() -> None:
    with prepare_test_ws_message_context(event="e", path="/r") as ctx:
        use_ws_rooms().join()
        seen = await asyncio.create_task(in_a_task())
        await asyncio.to_thread(lambda: use_ws_rooms().broadcast("thread", exclude_self=False))
    assert seen is ctx.connection
    assert [one["event"] for one in ctx.sent] == ["thread"]


async def in_a_task() -> object:
    await asyncio.sleep(0)
    return use_ws_connection()


def test_a_thread_of_a_plain_test_works_at_once() -> None:
    with prepare_test_ws_message_context(event="e", path="/r") as ctx:
        use_ws_rooms().join()
        work = contextvars.copy_context()
        thread = threading.Thread(
            target=work.run, args=(lambda: use_ws_rooms().broadcast("t", exclude_self=False),)
        )
        thread.start()
        thread.join()
        assert [one["event"] for one in ctx.sent] == ["t"]


async def test_background_tasks_end_with_the_block(app: WsApp) -> None:
    with prepare_test_ws_message_context(event="join", path="/chat/1", app=app):
        task = app.start_task(asyncio.sleep(3600), name="background")
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_background_task_without_a_loop_says_what_to_do(app: WsApp) -> None:
    with (
        prepare_test_ws_message_context(event="join", path="/chat/1", app=app),
        pytest.raises(RuntimeError, match="make the test async"),
    ):
        app.start_task(asyncio.sleep(0), name="background")


# Several contexts


def test_contexts_of_one_app_share_rooms(app: WsApp) -> None:
    with prepare_test_ws_message_context(event="join", path="/chat/1", app=app) as ann:
        asyncio.run(join())
        with prepare_test_ws_message_context(
            event="message", path="/chat/1", data="hi", app=app
        ) as bob:
            message()
            assert use_ws_connection() is bob.connection
        assert use_ws_connection() is ann.connection
        app.room("/chat/1").broadcast("from the app")
        assert len(app.room("/chat/1")) == 1
    assert ann.sent == [push("hi"), {"event": "from the app", "path": "/chat/1"}]
    assert bob.sent == []


def test_one_after_the_other_they_share_rooms_too_as_long_as_the_first_is_held(app: WsApp) -> None:
    with prepare_test_ws_message_context(event="join", path="/chat/1", app=app) as ann:
        asyncio.run(join())
    with prepare_test_ws_message_context(event="message", path="/chat/1", data=1, app=app):
        message()
    assert ann.sent == [push(1)]


def test_once_nobody_holds_a_context_its_rooms_are_gone(app: WsApp) -> None:
    with prepare_test_ws_message_context(event="join", path="/chat/1", app=app) as ctx:
        asyncio.run(join())
    del ctx
    with prepare_test_ws_message_context(event="message", path="/chat/1", app=app):
        assert len(app.room("/chat/1")) == 0
    with pytest.raises(RuntimeError, match="not running"):
        app.room("/chat/1")


def test_contexts_without_an_app_or_of_two_apps_share_nothing(app: WsApp) -> None:
    with prepare_test_ws_message_context(event="join", path="/chat/1") as one:
        use_ws_rooms().join()
    with prepare_test_ws_message_context(event="message", path="/chat/1"):
        message()
    with prepare_test_ws_message_context(event="message", path="/chat/1", app=app):
        message()
    assert one.sent == []


def test_a_connection_goes_on_in_a_later_context_in_its_rooms() -> None:
    with prepare_test_ws_message_context(event="join", path="/chat/1") as first:
        asyncio.run(join())
    with prepare_test_ws_message_context(
        event="message", path="/chat/1", data=1, connection=first.connection
    ) as second:
        assert use_ws_rooms().rooms() == ["/chat/1"]
        use_ws_rooms().broadcast("b", exclude_self=False)
    assert second.connection is first.connection
    assert second.sent is first.sent
    assert [one["event"] for one in first.sent] == ["b"]


def test_a_connection_brings_its_rooms_back_to_its_app(app: WsApp) -> None:
    def joined() -> Any:
        with prepare_test_ws_message_context(event="join", path="/chat/1", app=app) as ctx:
            asyncio.run(join())
        return ctx.connection

    connection = joined()
    with prepare_test_ws_message_context(
        event="message", path="/chat/1", connection=connection, app=app
    ):
        assert len(app.room("/chat/1")) == 1


def test_a_stage_that_ends_leaves_an_older_one_that_is_held(app: WsApp) -> None:
    def briefly() -> None:
        with prepare_test_ws_message_context(event="message", path="/chat/1", data=2, app=app):
            message()

    with prepare_test_ws_message_context(event="join", path="/chat/1", app=app) as ann:
        asyncio.run(join())
    briefly()
    briefly()
    assert ann.sent == [push(2), push(2)]
    assert len(app.room("/chat/1")) == 1


async def test_a_real_connection_is_no_connection_of_a_context(app: WsApp) -> None:
    async with connect_client(app) as ann:
        real = app.server.get_connection(ann.connection_id)
        with (
            pytest.raises(ValueError, match="is a real one"),
            prepare_test_ws_message_context(event="e", path="/", connection=real),
        ):
            pass


# Of an app


def test_params_are_those_of_the_apps_route_unless_given(app: WsApp) -> None:
    app.on_message("files", "/f/*", lambda: None)
    with prepare_test_ws_message_context(event="join", path="/chat/a%20b?x=1", app=app):
        assert use_route_params().params == {"room": "a b"}
    with prepare_test_ws_message_context(event="join", path="/chat/1", params={"x": "y"}, app=app):
        assert use_route_params().params == {"x": "y"}
    with prepare_test_ws_message_context(event="nobody", path="/asks", app=app):
        assert use_route_params().params == {}


def test_the_apps_own_ways_of_encoding_count() -> None:
    class Odd:
        pass

    def serialize(message: dict[str, Any]) -> bytes:
        if message.get("data") == "bad":
            raise ValueError("cannot be sent")
        return b"custom"

    app = WsApp(enc_hook=lambda _: "odd", message_serializer=serialize)
    with prepare_test_ws_message_context(event="e", path="/", app=app) as ctx:
        ctx.connection.send("e", "/", Odd())
        ctx.connection.reply(1, Odd())
        with pytest.raises(ValueError, match="cannot be sent"):
            ctx.connection.send("e", "/", "bad")
    assert ctx.sent == [{"event": "e", "path": "/", "data": "odd"}]
    assert ctx.replies == [{"id": 1, "data": "odd"}]


async def test_with_an_app_that_runs_real_rooms_are_shared_and_left_again(app: WsApp) -> None:
    async with connect_client(app) as ann:
        await ann.call("join", "/chat/1")
        with prepare_test_ws_message_context(
            event="message", path="/chat/1", data="hi", app=app
        ) as ctx:
            message()
            await join()
            assert len(app.room("/chat/1")) == 2
            assert (await ann.receive())["data"] == "hi"
            ann.send("message", "/chat/1", "hello")
            await ann.settle()
        assert ctx.sent == [push("hello")]
        assert len(app.room("/chat/1")) == 1
        assert app.stats()["connections"] == 1


def test_an_app_that_runs_on_another_loop_is_refused(app: WsApp) -> None:
    async def main() -> None:
        async with connect_client(app):
            await asyncio.to_thread(elsewhere)

    def elsewhere() -> None:
        with (
            pytest.raises(RuntimeError, match="another event loop"),
            prepare_test_ws_message_context(event="e", path="/", app=app),
        ):
            pass

    asyncio.run(main())


async def test_an_app_may_be_started_while_a_context_of_it_is_held(app: WsApp) -> None:
    with prepare_test_ws_message_context(event="join", path="/chat/1", app=app) as ctx:
        await join()
    async with connect_client(app) as ann:
        await ann.call("join", "/chat/1")
        assert len(app.room("/chat/1")) == 1, "the real one counts"
    assert ctx.sent == []


# Nothing is left


def test_contexts_nest_and_end_in_order() -> None:
    with prepare_test_ws_message_context(event="a", path="/") as outer:
        with prepare_test_ws_connection_context() as inner:
            assert use_ws_connection() is inner.connection
        assert use_ws_connection() is outer.connection
        assert use_ws_message().event == "a"


def test_a_block_that_raises_leaves_nothing_set() -> None:
    with (
        pytest.raises(ZeroDivisionError),
        prepare_test_ws_message_context(event="a", path="/"),
    ):
        raise ZeroDivisionError
    with pytest.raises(OutsideContext):
        use_ws_message()


def test_nothing_of_a_context_outlives_the_test(app: WsApp) -> None:
    def use() -> list[weakref.ref[Any]]:
        with prepare_test_ws_message_context(event="join", path="/chat/1", app=app) as ctx:
            asyncio.run(join())
        stand_in = app._life.stand_in()
        return [weakref.ref(one) for one in (ctx, ctx.connection, stand_in)]

    refs = use()
    gc.collect()
    assert [ref() for ref in refs] == [None] * 3


def test_a_context_shows_what_it_is() -> None:
    with prepare_test_ws_message_context(event="a", path="/b") as ctx:
        assert repr(ctx) == "<HandlerContext <WsMessage a /b>>"
        assert isinstance(ctx, HandlerContext)
    with prepare_test_ws_connection_context() as ctx:
        assert repr(ctx) == "<HandlerContext connection>"


def test_routes_without_an_app_are_tested_alike() -> None:
    routes = WsRoutes()

    @routes.on_message("hello", "/:name")
    def hello() -> str:
        return f"hello {use_route_params()['name']}"

    with prepare_test_ws_message_context(event="hello", path="/ann", params={"name": "ann"}):
        assert hello() == "hello ann"
