"""Who is in a room, on every instance, without shared state: a roll-call, and lists."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex

from wsrooms import (
    WsApp,
    WsConnection,
    WsError,
    WsKey,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

USER = WsKey[str]("user")
PAID = WsKey[float]("until when the calls of the roll are paid for")


# --8<-- [start:lifespan]
@asynccontextmanager
async def lifespan(app: WsApp) -> AsyncIterator[None]:
    app.start_task(tell_who_is_here(app, token_hex(8)), name="presence")
    yield


ws = WsApp(lifespan=lifespan)
# --8<-- [end:lifespan]


@ws.on_connect
def connected() -> None:
    connection = use_ws_connection()
    user = connection.request.query.get("user", [""])[0]  # stands for your login
    if not user:
        raise WsError(401, "log in first")
    connection.context[USER] = user
    connection.context[PAID] = 0.0


# --8<-- [start:roll]
EVERY = 1.0  # seconds for each call of the roll by one connection in the long run,
AT_ONCE = 20  # and so many without waiting, as when a tab joins all its rooms again


@ws.on_message("join", "/rooms/:room")
async def join() -> None:
    pay()
    await use_ws_rooms().join()  # confirmed before the call, so that no answer is missed
    announce()


@ws.on_message("roll", "/rooms/:room")
def roll() -> None:
    member()
    pay()
    announce()


def announce() -> None:
    """Tell who has come, or asks; whoever hears it answers."""
    use_ws_rooms().broadcast("roll", person(member()), exclude_self=False)


def pay() -> None:
    """One call of the roll, or 429: it costs as many answers as there are members."""
    me, now = use_ws_connection(), asyncio.get_running_loop().time()
    paid = max(me.get(PAID), now) + EVERY
    if paid > now + AT_ONCE * EVERY:
        raise WsError(429, "too many calls of the roll, wait a second")
    me.context[PAID] = paid


@ws.on_message("here", "/rooms/:room")
def here() -> None:
    use_ws_rooms().broadcast("here", person(member()), exclude_self=False)


@ws.on_message("leave", "/rooms/:room")
def leave() -> None:
    use_ws_rooms().broadcast("gone", person(member()))
    use_ws_rooms().leave()


@ws.on_disconnect
def disconnected() -> None:
    me = use_ws_connection()
    for room in me.rooms:
        use_ws_server().room(room).broadcast("gone", person(me))


def person(one: WsConnection) -> dict[str, str]:
    return {"id": one.id, "user": one.get(USER)}


def member() -> WsConnection:
    """Whoever sent this message, and 403 for those who are not in its room."""
    if use_ws_message().path not in use_ws_connection().rooms:
        raise WsError(403, "join the room first")
    return use_ws_connection()


# --8<-- [end:roll]


# --8<-- [start:heartbeat]
async def tell_who_is_here(app: WsApp, instance: str, every: float = 10.0) -> None:
    """Each instance tells every room, now and then, who of its clients is in it."""
    while True:
        for room, users in members_by_room(app).items():
            app.room(room).broadcast("present", {"instance": instance, "users": users})
        await asyncio.sleep(every)


def members_by_room(app: WsApp) -> dict[str, list[str]]:
    members: dict[str, set[str]] = {}
    for connection in app.server.connections():
        for room in connection.rooms:
            if room.startswith("/rooms/"):
                members.setdefault(room, set()).add(connection.get(USER))
    return {room: sorted(users) for room, users in members.items()}


# --8<-- [end:heartbeat]

if __name__ == "__main__":
    ws.run(port=8000)
