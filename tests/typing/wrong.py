"""Mistakes that type checkers tell: each line that is marked, and no other.

``python tools/check_wrong.py``, part of ``make check``, compares that with what mypy and
pyright report. Never run.
"""

from __future__ import annotations

from typing import TypedDict, assert_type

import msgspec
import pydantic

from wsrooms import (
    Gap,
    ServerOptions,
    WsApp,
    WsConnection,
    WsKey,
    WsLimits,
    WsMessage,
    WsRoomManager,
    WsRouter,
    tagged,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)


class Order(msgspec.Struct):
    text: str


class Named(TypedDict):
    name: str


class User(pydantic.BaseModel):
    name: str


USER = WsKey[User]("user")

app = WsApp()


def data_of_another_type() -> None:
    print(use_ws_message(Order).data.txt)  # error
    print(use_ws_message(User).data.nam)  # error
    print(use_ws_message(Named).data["nam"])  # error
    print(use_ws_message(list[Order]).data.text)  # error
    print(use_ws_message(Order | None).data.text)  # error
    print(use_ws_message(Order | User).data.name)  # error
    number: int = use_ws_message(Order).data.text  # error
    assert_type(use_ws_message(Order).data, User)  # error
    print(number, use_ws_message(5))  # error
    print(use_ws_message("Order".lower()))  # error
    print(use_ws_message(Order, User))  # error


@app.on_message("order", "/")
def order(message: WsMessage[Order]) -> str:
    print(message.data.name)  # error
    message.path = 5  # error
    message.data = Order("t")  # error
    return message.data  # error


def a_decorated_function_is_still_what_it_was(message: WsMessage[Order]) -> None:
    order()  # error
    number: int = order(message)  # error
    print(number)


@app.on_message("path")  # error
def without_path() -> None: ...


def declarations_of_no_function() -> None:
    app.on_message("e", "/", 5)  # error
    app.on_connect(5)  # error
    app.around_message("fn")  # error
    app.include("routes")  # error


async def what_cannot_be_awaited_or_sent(connection: WsConnection) -> None:
    await connection.send("e", "/")  # error
    connection.send("e")  # error
    connection.send(5, "/")  # error
    connection.send("e", "/", params={"a": 1})  # error
    connection.close("1000")  # error
    connection.reply(None, 1)  # error
    connection.join()  # error
    use_ws_rooms().broadcast()  # error
    use_ws_rooms().broadcast("e", 1, "/room")  # error
    use_ws_rooms().broadcast("e", exclude=connection)  # error
    use_ws_server().room(5)  # error
    app.room("r").broadcast("e", exclude=connection)  # error
    number: int = await use_ws_rooms().join()  # error
    print(number)


def keys_and_params() -> None:
    connection = use_ws_connection()
    connection.get("user")  # error
    print(connection.get(USER).nam)  # error
    name: str = connection.get(USER)  # error
    shop: list[str] = use_route_params().get("shop")  # error
    print(name, shop)


async def work() -> int:
    return 1


async def options_that_are_none() -> None:
    app.run(prot=8000)  # error
    app.run(port="8000")  # error
    await app.listen(8000, unix_pth="/tmp/socket")  # error
    await app.listen(8000, reuse_port="yes")  # error
    await app.listen()  # error
    options: ServerOptions = {"sll": None}  # error
    print(options["http_handlers"])  # error
    async with app.serving() as address:
        print(address.prot)  # error
    app.start_task(work, name="work")  # error
    app.start_task(work())  # error
    text: str = await app.start_task(work(), name="work")  # error
    print(text)


def apps_and_limits() -> None:
    WsApp("redis://localhost")  # error
    WsApp(max_message_sise=1)  # error
    WsApp(heartbeat_interval="30")  # error
    WsApp(allowed_origins=5)  # error
    WsApp(limits={"outbox_bytes": 1})  # error
    WsApp(message_parser=len)  # error
    WsLimits(16)  # error
    limits = WsLimits(slow_client="drop")  # error
    limits.outbox_bytes = 5  # error
    Gap(None, None, None).room = "r"  # error
    if app.health().state == "upp":  # error
        print(app.stats()[5])  # error


class Half:
    def publish(self, channel: str, payload: str) -> None: ...


class OtherSignature(Half):
    def subscribe(self, channel: str) -> None: ...
    def unsubscribe(self, channel: str) -> None: ...


class NoMember:
    id = "me"


def the_parts_alone() -> None:
    tagged(Half())  # error
    WsApp(broadcast_transport=OtherSignature())  # error
    WsRoomManager().join(NoMember(), "r")  # error
    WsRoomManager().broadcast("r", "e")  # error
    WsRouter[int]().add("e", "/", "handler")  # error
