"""A chat with names: who says it, and who has gone."""

from wsrooms import (
    WsApp,
    WsError,
    WsKey,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

ws = WsApp()
NAME = WsKey[str]("name")


@ws.on_connect
def connected() -> None:
    connection = use_ws_connection()
    names = connection.request.query.get("name")
    if not names:
        raise WsError(401, "connect with ?name=… in the address")
    connection.context[NAME] = names[0]


@ws.on_message("join", "/chat/:room")
async def join() -> list[str]:
    rooms = use_ws_rooms()
    await rooms.join()
    rooms.broadcast("joined", use_ws_connection().get(NAME))
    return who()


@ws.on_message("who", "/chat/:room")
def who() -> list[str]:
    members = use_ws_server().room_connections(use_ws_message().path)
    return sorted(member.get(NAME) for member in members)


@ws.on_message("message", "/chat/:room")
def message() -> None:
    text = use_ws_message().data
    if not isinstance(text, str) or not text.strip():
        raise WsError(400, "say something")
    said = {"from": use_ws_connection().get(NAME), "text": text}
    use_ws_rooms().broadcast("message", said, exclude_self=False)


@ws.on_disconnect
def disconnected() -> None:
    connection = use_ws_connection()
    for room in connection.rooms:
        use_ws_server().room(room).broadcast("left", connection.get(NAME))


if __name__ == "__main__":
    ws.run(port=8000)
