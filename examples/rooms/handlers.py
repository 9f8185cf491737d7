"""Handlers, hooks and composables: one small test for each thing the page says of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest
from websockets.asyncio.client import connect

from wsrooms import (
    InvalidHandler,
    NotRunning,
    OutsideContext,
    WsApp,
    WsError,
    WsMessage,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)
from wsrooms.testing import Disconnected, connect_client


# --8<-- [start:sync_and_async]
async def test_handlers_are_sync_or_async() -> None:
    ws = WsApp()

    @ws.on_message("add", "/sum")
    def add() -> int:  # runs on the event loop, so it must be quick
        return sum(use_ws_message().data)

    @ws.on_message("wait", "/sum")
    async def wait() -> int:  # may wait for whatever it likes
        await asyncio.sleep(0)
        return sum(use_ws_message().data)

    async with connect_client(ws) as ann:
        assert await ann.call("add", "/sum", [1, 2, 3]) == 6
        assert await ann.call("wait", "/sum", [1, 2, 3]) == 6


# --8<-- [end:sync_and_async]


# --8<-- [start:parameter]
async def test_a_handler_may_take_the_message() -> None:
    ws = WsApp()

    @ws.on_message("which", "/:where")
    def which(message: WsMessage[Any]) -> str:
        assert message is use_ws_message()
        return f"{message.event} {message.path}"

    with pytest.raises(InvalidHandler):  # at the declaration

        @ws.on_message("which", "/two")
        def two(message: WsMessage[Any], other: object) -> None: ...

    async with connect_client(ws) as ann:
        assert await ann.call("which", "/here?x=1") == "which /here?x=1"


# --8<-- [end:parameter]


# --8<-- [start:typed]
@dataclass
class Order:
    item: str
    count: int = 1


async def test_data_is_validated_before_the_handler_runs() -> None:
    ws = WsApp()
    handled: list[Order] = []

    @ws.on_message("order", "/shop")
    def order(message: WsMessage[Order]) -> None:
        handled.append(message.data)  # a checker knows that it is an Order

    @ws.on_message("order", "/stall")
    def inside() -> None:
        handled.append(use_ws_message(Order).data)  # the same, inside

    async with connect_client(ws) as ann:
        await ann.call("order", "/shop", {"item": "tea"})
        await ann.call("order", "/stall", {"item": "cake", "count": 2})
        with pytest.raises(WsError, match=r"Expected `int`, got `str` - at `\$\.count`") as refused:
            await ann.call("order", "/shop", {"item": "tea", "count": "two"})
        assert refused.value.code == 422
    assert handled == [Order("tea", 1), Order("cake", 2)]


# --8<-- [end:typed]


# --8<-- [start:kinds]
class Point(msgspec.Struct):
    x: int


class Named(TypedDict):
    name: str


async def test_what_is_accepted_as_input_is_accepted_as_output() -> None:
    ws = WsApp()

    @ws.on_message("mirror", "/point")
    def point(message: WsMessage[Point]) -> Point:
        return message.data

    @ws.on_message("mirror", "/named")
    def named(message: WsMessage[Named]) -> Named:
        return message.data

    @ws.on_message("mirror", "/order")
    def order(message: WsMessage[Order]) -> Order:
        return message.data

    async with connect_client(ws) as ann:
        assert await ann.call("mirror", "/point", {"x": 1}) == {"x": 1}
        assert await ann.call("mirror", "/named", {"name": "ann"}) == {"name": "ann"}
        order_of_two = {"item": "tea", "count": 2}
        assert await ann.call("mirror", "/order", order_of_two) == order_of_two


# --8<-- [end:kinds]


# --8<-- [start:data_raw]
async def test_data_raw_passes_on_without_decoding() -> None:
    ws = WsApp()

    @ws.on_message("join", "/relay")
    async def join() -> None:
        await use_ws_rooms().join()

    @ws.on_message("pass", "/relay")
    def pass_on(message: WsMessage[Any]) -> None:
        use_ws_rooms().broadcast("passed", message.data_raw)

    async with connect_client(ws) as ann, connect_client(ws) as bob:
        await bob.call("join", "/relay")
        await ann.call("pass", "/relay", {"any": ["JSON", 1.0]})
        assert (await bob.receive())["data"] == {"any": ["JSON", 1.0]}


# --8<-- [end:data_raw]


# --8<-- [start:on_connect]
async def test_on_connect_has_ended_before_the_first_message_is_handled() -> None:
    ws = WsApp()
    may_go_on, arrived = asyncio.Event(), asyncio.Event()

    @ws.on_connect
    async def connected() -> None:
        await use_ws_connection().join("news")  # confirmed before the first message
        arrived.set()
        await may_go_on.wait()

    @ws.on_message("rooms", "/")
    def rooms() -> list[str]:
        return use_ws_rooms().rooms()

    async with ws.serving() as address, connect(address.url) as ann:
        await arrived.wait()
        await ann.send('{"event":"rooms","path":"/","id":1}')  # waits
        await (await ann.ping())  # the server has got it
        assert not ws.server.connections()  # nor do others see the connection
        ws.room("news").broadcast("welcome")  # what it is sent meanwhile waits, too
        may_go_on.set()
        assert await ann.recv() == '{"event":"welcome","path":"news"}'
        assert await ann.recv() == '{"id":1,"data":["news"]}'
        assert len(ws.server.connections()) == 1


# --8<-- [end:on_connect]


# --8<-- [start:refuse]
async def test_on_connect_refuses_by_raising() -> None:
    ws = WsApp()

    @ws.on_connect
    def connected() -> None:
        if "token" not in use_ws_connection().request.query:
            raise WsError(401, "who are you?")

    with pytest.raises(Disconnected) as refused:
        async with connect_client(ws) as stranger:
            await stranger.receive()
    assert (refused.value.code, refused.value.reason) == (1008, "who are you?")


# --8<-- [end:refuse]


# --8<-- [start:on_disconnect]
async def test_on_disconnect_runs_once_and_still_knows_the_rooms() -> None:
    ws = WsApp()

    @ws.on_connect
    async def connected() -> None:
        await use_ws_connection().join("lobby")

    @ws.on_disconnect
    def disconnected() -> None:
        connection = use_ws_connection()
        assert connection in ws.server.connections()  # still registered,
        for room in connection.rooms:  # and in its rooms
            ws.room(room).broadcast("left", connection.close_code)
        with pytest.raises(OutsideContext):
            use_ws_rooms()  # there is no message whose path it could take

    async with connect_client(ws) as ann:
        async with connect_client(ws):
            pass  # comes and goes
        assert await ann.receive() == {"event": "left", "path": "lobby", "data": 1000}
        await ann.receive_nothing()


# --8<-- [end:on_disconnect]


# --8<-- [start:no_disconnect]
async def test_on_disconnect_does_not_run_where_on_connect_failed() -> None:
    ws = WsApp()
    goodbyes: list[str] = []

    @ws.on_connect
    def connected() -> None:
        if use_ws_connection().request.query:
            raise WsError(403)

    @ws.on_disconnect
    def disconnected() -> None:
        goodbyes.append(use_ws_connection().id)

    async with ws.serving():
        with pytest.raises(Disconnected):
            async with connect_client(ws, "/?refuse=me") as refused:
                await refused.receive()
        async with connect_client(ws):
            pass
    assert len(goodbyes) == 1


# --8<-- [end:no_disconnect]


# --8<-- [start:around]
async def test_around_message_surrounds_every_handler() -> None:
    ws = WsApp()
    seen: list[str] = []

    @ws.around_message
    async def log(call_next: Callable[[], Awaitable[object]]) -> object:
        seen.append(f"{use_ws_message().event} begins")
        try:
            return await call_next()
        finally:
            seen.append("and ends")

    @ws.around_message
    async def guard(call_next: Callable[[], Awaitable[object]]) -> object:
        if use_ws_message().event == "forbidden":
            raise WsError(403, "no")
        return await call_next()

    @ws.on_message("*", "/door")
    def door() -> str:
        return "open"

    async with connect_client(ws) as ann:
        assert await ann.call("knock", "/door") == "open"
        with pytest.raises(WsError, match="no"):
            await ann.call("forbidden", "/door")
    assert seen == ["knock begins", "and ends", "forbidden begins", "and ends"]


# --8<-- [end:around]


# --8<-- [start:on_error]
async def test_on_error_is_told_what_no_handler_meant_to_raise() -> None:
    ws = WsApp()
    reported: list[tuple[str, str]] = []

    @ws.on_error
    def report(error: BaseException, route: str) -> None:
        reported.append((repr(error), route))

    @ws.on_message("divide", "/:by")
    def divide() -> float:
        return 1 / int(use_route_params()["by"])

    async with connect_client(ws) as ann:
        with pytest.raises(WsError, match="Internal Error") as told:  # and no word more
            await ann.call("divide", "/0")
        assert told.value.code == 500
    assert reported == [("ZeroDivisionError('division by zero')", "divide /0")]


# --8<-- [end:on_error]


# --8<-- [start:lifespan]
async def test_lifespan_surrounds_everything() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        events.append("open the pool")  # the transport is up, nobody has connected
        app.start_task(tick(), name="ticker")
        yield
        events.append("close the pool")  # after the last on_disconnect

    async def tick() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            events.append("ticker cancelled")

    ws = WsApp(lifespan=lifespan)

    @ws.on_connect
    def connected() -> None:
        events.append("connected")

    @ws.on_disconnect
    def disconnected() -> None:
        events.append("disconnected")

    async with ws.serving(), connect_client(ws):
        pass
    assert events == [
        "open the pool",
        "connected",
        "disconnected",
        "ticker cancelled",
        "close the pool",
    ]


# --8<-- [end:lifespan]


# --8<-- [start:tasks_and_threads]
async def test_composables_work_in_tasks_and_threads_that_a_handler_starts() -> None:
    ws = WsApp()

    @ws.on_message("rooms", "/:name")
    async def rooms() -> list[str]:
        def in_a_thread() -> str:
            return use_route_params()["name"]

        async def in_a_task() -> str:
            return use_ws_message().path

        async with asyncio.TaskGroup() as group:
            task = group.create_task(in_a_task())
        return [await asyncio.to_thread(in_a_thread), task.result()]

    async with connect_client(ws) as ann:
        assert await ann.call("rooms", "/ann") == ["ann", "/ann"]


# --8<-- [end:tasks_and_threads]


# --8<-- [start:outside]
def test_outside_a_handler_they_say_what_they_need() -> None:
    with pytest.raises(OutsideContext, match=r"use_ws_rooms\(\) needs a message"):
        use_ws_rooms()
    with pytest.raises(OutsideContext, match=r"use_ws_connection\(\) needs a connection"):
        use_ws_connection()
    with pytest.raises(OutsideContext, match=r"use_ws_server\(\) needs a handler"):
        use_ws_server()


# --8<-- [end:outside]


# --8<-- [start:without_context]
async def test_without_a_context_there_is_the_app() -> None:
    ws = WsApp()
    with pytest.raises(NotRunning):
        ws.room("lobby")

    @ws.on_connect
    async def connected() -> None:
        await use_ws_connection().join("lobby")

    async with connect_client(ws) as ann:
        ws.broadcast("hello", "/everybody")
        ws.room("lobby").broadcast("hello")
        for connection in ws.server.connections():
            connection.send("hello", "/you")
        paths = [(await ann.receive())["path"] for _ in range(3)]
        assert paths == ["/everybody", "lobby", "/you"]


# --8<-- [end:without_context]
