"""What type checkers infer, said with ``assert_type``; mypy and pyright check it with all else.

Never run: what an annotation means here is a checker's affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypedDict, assert_type

import attrs
import msgspec
import pydantic

from wsrooms import (
    Gap,
    MemoryBus,
    MemoryTransport,
    Receipt,
    ServerOptions,
    WsAddress,
    WsApp,
    WsBroadcastTransport,
    WsConnection,
    WsKey,
    WsLimits,
    WsMember,
    WsMessage,
    WsRequest,
    WsRoomManager,
    WsRouteMatch,
    WsRouter,
    WsRoutes,
    tagged,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)
from wsrooms.testing import Client, connect_client

if TYPE_CHECKING:
    from msgspec import Raw


class Order(msgspec.Struct):
    text: str


@dataclass
class Point:
    x: int


class Named(TypedDict):
    name: str


@attrs.define
class Size:
    width: int


class User(pydantic.BaseModel):
    name: str


OrderOrPoint: TypeAlias = Order | Point
USER = WsKey[User]("user")

app = WsApp(limits=WsLimits(outbox_bytes=1), allowed_origins=["https://example.org"])
routes = WsRoutes()


def what_use_ws_message_says_of_data() -> None:
    assert_type(use_ws_message().data, Any)
    assert_type(use_ws_message(Order).data, Order)
    assert_type(use_ws_message(Point).data, Point)
    assert_type(use_ws_message(Named).data, Named)
    assert_type(use_ws_message(Size).data, Size)
    assert_type(use_ws_message(User).data, User)
    assert_type(use_ws_message(int).data, int)
    assert_type(use_ws_message(list[Order]).data, list[Order])
    assert_type(use_ws_message(dict[str, User]).data, dict[str, User])
    assert_type(use_ws_message(tuple[int, str]).data, tuple[int, str])
    assert_type(use_ws_message(Order | None).data, Order | None)
    assert_type(use_ws_message(Order | Point).data, Order | Point)
    assert_type(use_ws_message(OrderOrPoint).data, Order | Point)
    assert_type(use_ws_message(Literal["a", "b"]).data, Literal["a", "b"])
    assert_type(use_ws_message(Annotated[int, msgspec.Meta(gt=0)]).data, int)
    assert_type(use_ws_message(User), WsMessage[User])
    assert_type(use_ws_message(Named).data["name"], str)


def what_a_message_has(message: WsMessage[Order]) -> None:
    assert_type(message.data, Order)
    assert_type(message.data.text, str)
    assert_type(message.has_data, bool)
    assert_type(message.raw, bytes)
    assert_type(message.id, str | int | float | None)
    raw: Raw = message.data_raw
    use_ws_rooms().broadcast("passed on", raw)


@app.on_message("order", "/:shop")
def order(message: WsMessage[Order]) -> str:
    return message.data.text


@routes.on_message("user", "/")
async def user(message: WsMessage[User]) -> User:
    return message.data


@app.on_connect
async def connected() -> int:
    return 1


@app.on_disconnect
def disconnected() -> None: ...


@app.around_message
async def around(call_next: Callable[[], Awaitable[object]]) -> object:
    return await call_next()


@app.on_gap
def gap(gap: Gap) -> str | None:
    return gap.room


@app.on_error
async def error(exception: BaseException, route: str) -> None: ...


def plain() -> int:
    return 1


async def a_decorator_returns_the_function_it_was_given(one: WsMessage[Order]) -> None:
    assert_type(order(one), str)
    assert_type(await user(use_ws_message(User)), User)
    assert_type(await connected(), int)
    assert_type(app.on_message("plain", "/", plain)(), int)
    assert_type(gap(Gap(None, None, None)), str | None)


async def what_sends_gives_a_receipt_that_can_be_awaited() -> None:
    rooms = use_ws_rooms()
    assert_type(rooms.join(), Receipt)
    assert_type(rooms.leave("/other"), Receipt)
    assert_type(rooms.broadcast("said", {"any": object()}, room="/r", exclude_self=False), Receipt)
    assert_type(app.broadcast("said", "/", [User(name="a")], params={"a": ["b"]}), Receipt)
    assert_type(app.room("r").broadcast("said", exclude="id", local=True), Receipt)
    assert_type(use_ws_server().broadcast("said", "/"), Receipt)
    await rooms.join()
    await asyncio.gather(rooms.join("/a"), rooms.join("/b"))
    rooms.join().result(timeout=1.0)


def who_is_connected() -> None:
    connection = use_ws_connection()
    connection.context[USER] = User(name="a")
    assert_type(connection.get(USER), User)
    assert_type(connection.get(USER).name, str)
    assert_type(connection.rooms, set[str])
    assert_type(connection.request, WsRequest)
    assert_type(connection.close_code, int | None)
    assert_type(connection.request.query, Mapping[str, list[str]])
    assert_type(use_ws_server().connections(), frozenset[WsConnection])
    assert_type(use_ws_server().get_connection("id"), WsConnection | None)
    assert_type(len(app.room("r")), int)
    assert_type(use_route_params()["shop"], str)
    assert_type(use_route_params().get("shop"), str | None)
    assert_type(use_route_params().getlist("shop"), list[str])


async def work() -> int:
    return 1


async def how_an_app_runs(options: ServerOptions) -> None:
    async with app.serving(0, path="/ws", subprotocols=["chat"]) as address:
        assert_type(address, WsAddress)
        assert_type(app.start_task(work(), name="work"), asyncio.Task[int])
    assert_type(await app.listen(8000, **options), WsAddress)
    assert_type(app.stats(), dict[str, int])
    assert_type(app.health().state, Literal["starting", "up", "deaf", "down", "closed"])
    assert_type(app.replica(debug=True), WsApp)


class Member:
    def __init__(self) -> None:
        self.id = "me"
        self.rooms: set[str] = set()

    def send(
        self,
        event: str,
        path: str,
        data: object = None,
        params: Mapping[str, str | list[str]] | None = None,
    ) -> None: ...


class Sync:
    def publish(self, channel: str, payload: str) -> None: ...
    def subscribe(self, channel: str, handler: Callable[[str], None]) -> None: ...
    def unsubscribe(self, channel: str) -> None: ...


class Async:
    async def publish(self, channel: str, payload: str) -> None: ...
    async def subscribe(self, channel: str, handler: Callable[[str], None]) -> None: ...
    async def unsubscribe(self, channel: str) -> None: ...


def the_parts_alone(connection: WsConnection) -> None:
    rooms = WsRoomManager(MemoryTransport(MemoryBus()), join_timeout=1.0)
    assert_type(rooms.join(Member(), "r"), Receipt)
    assert_type(rooms.join(connection, "r"), Receipt)
    assert_type(rooms.connections("r"), frozenset[WsMember])
    router = WsRouter[Callable[[], int]]()
    router.add("e", "/:a", plain)
    found = router.lookup("e", "/b")
    assert_type(found, WsRouteMatch[Callable[[], int]] | None)
    assert found is not None
    assert_type(found.handlers[0](), int)
    transports: list[WsBroadcastTransport] = [Sync(), Async(), tagged(Sync()), MemoryTransport()]
    WsApp(broadcast_transport=transports[0])


async def a_test_of_an_app() -> None:
    async with connect_client(app, "/", headers={"cookie": "a=b"}) as client:
        assert_type(client, Client)
        assert_type(await client.call("order", "/", {"text": "t"}), Any)
        assert_type(await client.receive(timeout=1.0), dict[str, Any])
