"""Messages to a user, on all his devices, and whether he is online anywhere."""

from wsrooms import (
    WsApp,
    WsConnection,
    WsError,
    WsKey,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

USER = WsKey[str]("user")

ws = WsApp()


def room_of(user: str) -> str:
    return f"user:{user}"  # no route begins like this, so no client's path is such a room


def watchers_of(user: str) -> str:
    return f"watch:{user}"


# --8<-- [start:connect]
@ws.on_connect
async def connected() -> None:
    connection = use_ws_connection()
    user = connection.request.query.get("user", [""])[0]  # stands for your login
    if not user:
        raise WsError(401, "log in first")
    connection.context[USER] = user
    await connection.join(room_of(user))
    use_ws_server().room(watchers_of(user)).broadcast("online", user)


# --8<-- [end:connect]


# --8<-- [start:tell]
@ws.on_message("tell", "/users/:user")
def tell() -> None:
    me, user = use_ws_connection().get(USER), use_route_params()["user"]
    told = {"from": me, "text": use_ws_message().data}
    use_ws_server().room(room_of(user)).broadcast("told", told)


@ws.on_message("read", "/inbox/:id")
def read() -> None:
    """What one tab has read, the other tabs of the same user mark as read."""
    connection = use_ws_connection()
    own = use_ws_server().room(room_of(connection.get(USER)))
    own.broadcast("read", use_route_params()["id"], exclude=connection.id)


# --8<-- [end:tell]


# --8<-- [start:online]
@ws.on_message("watch", "/users/:user")
async def watch() -> None:
    user = use_route_params()["user"]
    await use_ws_rooms().join(watchers_of(user))  # check here who may watch whom
    ask_whether_there(user)


def ask_whether_there(user: str) -> None:
    """Every tab of the user hears this, on whatever instance, and says "here"."""
    use_ws_server().room(room_of(user)).broadcast("there?")


@ws.on_message("here", "/me")
def here() -> None:
    user = use_ws_connection().get(USER)
    use_ws_server().room(watchers_of(user)).broadcast("online", user)


@ws.on_disconnect
def disconnected() -> None:
    connection = use_ws_connection()
    user = connection.get(USER)
    if not any(is_open(one) for one in use_ws_server().room_connections(room_of(user))):
        use_ws_server().room(watchers_of(user)).broadcast("offline?", user)
        ask_whether_there(user)  # a tab on another instance says "online" again


def is_open(connection: WsConnection) -> bool:
    return connection.close_code is None


# --8<-- [end:online]

if __name__ == "__main__":
    ws.run(port=8000)
