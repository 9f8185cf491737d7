"""Every example of the page "Rooms and broadcasting", as one app that tests run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wsrooms import (
    Gap,
    WsApp,
    WsError,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)


# --8<-- [start:lifespan]
@asynccontextmanager
async def lifespan(app: WsApp) -> AsyncIterator[None]:
    app.start_task(count_visitors(app), name="visitors")
    yield


async def count_visitors(app: WsApp, every: float = 5.0) -> None:
    while True:
        app.broadcast("visitors", "/stats", len(app.server.connections()))
        await asyncio.sleep(every)


# --8<-- [end:lifespan]

ws = WsApp(lifespan=lifespan)


# --8<-- [start:join]
@ws.on_message("join", "/chat/:room")
async def join() -> dict[str, object]:
    rooms = use_ws_rooms()
    await rooms.join()  # the message's path: "/chat/general"
    await rooms.join("lobby")  # any other name
    return {"you": use_ws_connection().id, "rooms": rooms.rooms()}


# --8<-- [end:join]


# --8<-- [start:leave]
@ws.on_message("leave", "/chat/:room")
def leave() -> list[str]:
    rooms = use_ws_rooms()
    rooms.leave()
    return rooms.rooms()


# --8<-- [end:leave]


# --8<-- [start:broadcast]
@ws.on_message("message", "/chat/:room")
def message() -> None:
    rooms = use_ws_rooms()
    rooms.broadcast("message", use_ws_message().data)  # to the others in this room
    rooms.broadcast("echo", "for you too", exclude_self=False)
    rooms.broadcast("noise", use_route_params()["room"], room="lobby")


# --8<-- [end:broadcast]


# --8<-- [start:confirmed]
@ws.on_message("important", "/chat/:room")
async def important() -> str:
    await use_ws_rooms().broadcast("important", use_ws_message().data)
    return "the bus has it"


# --8<-- [end:confirmed]


# --8<-- [start:server]
@ws.on_message("announce", "/admin")
def announce() -> int:
    server = use_ws_server()
    server.broadcast("announcement", "/news", use_ws_message().data)  # everybody, everywhere
    return len(server.connections())  # of this instance


# --8<-- [end:server]


# --8<-- [start:user]
@ws.on_connect
async def connected() -> None:
    connection = use_ws_connection()
    user = connection.request.query.get("user")
    if user:
        await connection.join(f"user:{user[0]}")


@ws.on_message("tell", "/users/:user")
def tell() -> None:
    user = use_route_params()["user"]
    use_ws_server().room(f"user:{user}").broadcast("told", use_ws_message().data)


# --8<-- [end:user]


# --8<-- [start:disconnect]
@ws.on_disconnect
def disconnected() -> None:
    connection = use_ws_connection()
    for room in connection.rooms:
        use_ws_server().room(room).broadcast("left", connection.id)


# --8<-- [end:disconnect]


# --8<-- [start:members]
@ws.on_message("members", "/chat/:room")
def members() -> int:
    return len(use_ws_server().room(use_ws_message().path))


# --8<-- [end:members]


# --8<-- [start:error]
@ws.on_message("secret", "/vault/:name")
def secret() -> str:
    if use_route_params()["name"] != "open":
        raise WsError(403, "this vault is closed")
    return "42"


# --8<-- [end:error]


# --8<-- [start:gap]
@ws.on_gap
def lost(gap: Gap) -> None:
    server, room = use_ws_server(), gap.room
    if room is None:  # a link to the broker broke: any room here may have missed something
        server.broadcast("reload", "/", local=True)
    else:
        server.room(room).broadcast("reload", local=True)


# --8<-- [end:gap]

if __name__ == "__main__":
    ws.run(port=8000)
