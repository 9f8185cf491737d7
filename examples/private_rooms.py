"""Login with a cookie or a token, rooms that not everybody may join, and showing people out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from wsrooms import (
    WsApp,
    WsConnection,
    WsError,
    WsKey,
    WsMessage,
    WsRequest,
    WsServer,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

# Your database: sessions by their secret, members by room. The first of a room owns it.
SESSIONS = {"ann-secret": "ann", "bob-secret": "bob", "cy-secret": "cy"}
MEMBERS = {"/rooms/team": ["ann", "bob"]}

SESSION = WsKey[str]("session")


@asynccontextmanager
async def lifespan(app: WsApp) -> AsyncIterator[None]:
    app.start_task(patrol(app), name="patrol")
    yield


ws = WsApp(lifespan=lifespan)


# --8<-- [start:login]
@ws.on_connect
def connected() -> None:
    connection = use_ws_connection()
    session = secret_of(connection.request)
    if session not in SESSIONS:
        raise WsError(401, "log in first")  # the connection closes with 1008 and this text
    connection.context[SESSION] = session


def secret_of(request: WsRequest) -> str:
    if "session" in request.cookies:  # a browser, on its own
        return request.cookies["session"]
    return request.headers.get("authorization", "").removeprefix("Bearer ")  # a program


# --8<-- [end:login]


# --8<-- [start:user]
def user_of(connection: WsConnection) -> str | None:
    """Who this is; None once the session has ended."""
    return SESSIONS.get(connection.get(SESSION))


@ws.around_message
async def only_while_logged_in(call_next: Callable[[], Awaitable[object]]) -> object:
    if user_of(use_ws_connection()) is None:
        raise WsError(401, "your session has ended")
    return await call_next()


# --8<-- [end:user]


# --8<-- [start:join]
def may_join(user: str | None, room: str) -> bool:
    return user in MEMBERS.get(room, ())


@ws.on_message("join", "/rooms/:room")
async def join() -> str:
    if not may_join(user_of(use_ws_connection()), use_ws_message().path):
        raise WsError(403, "this room is private")
    await use_ws_rooms().join()
    return f"welcome to {use_route_params()['room']}"


@ws.on_message("message", "/rooms/:room")
def message() -> None:
    connection, said = use_ws_connection(), use_ws_message()
    if said.path not in connection.rooms:
        raise WsError(403, "join the room first")
    use_ws_rooms().broadcast("message", {"from": user_of(connection), "text": said.data})


# --8<-- [end:join]


# --8<-- [start:kick]
@ws.on_message("kick", "/rooms/:room")
def kick(message: WsMessage[str]) -> None:
    owner, *others = MEMBERS.get(message.path, [None])
    if owner != user_of(use_ws_connection()) or message.data not in others:
        raise WsError(403, "only the owner of a room removes others from it")
    MEMBERS[message.path].remove(message.data)
    show_out(use_ws_server())  # from this instance now; the patrol of the others follows


def show_out(server: WsServer) -> None:
    """Close connections whose session has ended; take users out where they were removed."""
    for connection in server.connections():
        user = user_of(connection)
        if user is None:
            connection.close(1008, "your session has ended")
            continue
        for room in list(connection.rooms):
            if room.startswith("/rooms/") and not may_join(user, room):
                connection.leave(room)
                connection.send("removed", room)


async def patrol(app: WsApp, every: float = 5.0) -> None:
    while True:
        await asyncio.sleep(every)
        show_out(app.server)


# --8<-- [end:kick]

if __name__ == "__main__":
    ws.run(port=8000)
