"""The server of the chat: its rooms are the paths of its messages.

What a client sends, to "/chat" or to a room such as "/chat/general":

    hello {name} · join · leave · who · message {text} · typing · announce {text}

What is pushed: "joined", "renamed", "left", "died", "message" and "typing" to a
room, "announcement" and "tick" to everybody.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import time
from typing import Annotated

from msgspec import Meta, Struct

from wsrooms import (
    WsApp,
    WsConnection,
    WsError,
    WsKey,
    WsMessage,
    WsServer,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

NAME = WsKey[str]("name")
TICK = 3.0


class Hello(Struct):
    """Who somebody is; what is longer, blank or padded is answered with 422."""

    name: Annotated[str, Meta(max_length=24, pattern=r"^\S(.*\S)?\Z")]


class Text(Struct):
    """What somebody says."""

    text: Annotated[str, Meta(max_length=2000, pattern=r"\S")]


@asynccontextmanager
async def lifespan(app: WsApp) -> AsyncGenerator[None, None]:
    """Start the ticker; the app ends it."""
    app.start_task(ticker(app), name="ticker")
    yield


async def ticker(app: WsApp) -> None:
    """Tell everybody here, every few seconds, how it stands."""
    while True:
        app.broadcast("tick", "/chat", status(app.server), local=True)
        await asyncio.sleep(TICK)


ws: WsApp = WsApp(lifespan=lifespan)


@ws.on_connect
def connected() -> None:
    use_ws_connection().context[NAME] = "somebody"


@ws.on_message("hello", "/chat")
def hello(message: WsMessage[Hello]) -> dict[str, object]:
    me = use_ws_connection()
    me.context[NAME] = message.data.name
    for room in me.rooms:
        use_ws_server().room(room).broadcast("renamed", person(me), exclude=me.id)
    return {"you": person(me), "status": status(use_ws_server())}


@ws.on_message("join", "/chat/:room")
async def join() -> list[dict[str, str]]:
    rooms = use_ws_rooms()
    await rooms.join()
    rooms.broadcast("joined", person(use_ws_connection()))
    return who()


@ws.on_message("who", "/chat/:room")
def who() -> list[dict[str, str]]:
    return [person(one) for one in use_ws_server().room_connections(use_ws_message().path)]


@ws.on_message("message", "/chat/:room")
def message(message: WsMessage[Text]) -> dict[str, object]:
    line = said(member(), message.data.text)
    use_ws_rooms().broadcast("message", line)
    return line


@ws.on_message("typing", "/chat/:room")
def typing() -> None:
    use_ws_rooms().broadcast("typing", person(member()))


@ws.on_message("leave", "/chat/:room")
def leave() -> None:
    use_ws_rooms().broadcast("left", person(member()))
    use_ws_rooms().leave()


@ws.on_message("announce", "/chat")
def announce(message: WsMessage[Text]) -> None:
    line = said(use_ws_connection(), message.data.text)
    use_ws_server().broadcast("announcement", "/chat", line)


@ws.on_disconnect
def disconnected() -> None:
    me = use_ws_connection()
    for room in me.rooms:
        use_ws_server().room(room).broadcast("died", {**person(me), "code": me.close_code})


def member() -> WsConnection:
    """Whoever sent this message, and 403 for those who are not in its room."""
    if use_ws_message().path not in use_ws_connection().rooms:
        raise WsError(403, "Join the room first")
    return use_ws_connection()


def person(one: WsConnection) -> dict[str, str]:
    """Somebody, as others see them."""
    return {"id": one.id, "name": one.get(NAME)}


def said(one: WsConnection, text: str) -> dict[str, object]:
    """What somebody says, as others hear it."""
    return {"from": person(one), "text": text, "time": time()}


def status(server: WsServer) -> dict[str, object]:
    """The server's time, how many are here, and the rooms with most people."""
    everybody = server.connections()
    rooms = Counter(room for one in everybody for room in one.rooms)
    return {"time": time(), "online": len(everybody), "rooms": dict(rooms.most_common(20))}
