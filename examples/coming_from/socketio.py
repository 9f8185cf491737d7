"""The chat of the page "Coming from Socket.IO"."""

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
def connect() -> None:
    connection = use_ws_connection()
    names = connection.request.query.get("name")  # ws://…/?name=ann
    if not names:
        raise WsError(401, "who are you?")
    connection.context[NAME] = names[0]


@ws.on_message("join", "/:room")
async def join() -> dict[str, str]:
    await use_ws_rooms().join()
    return {"room": use_ws_message().path}  # the reply, if the message has an id


@ws.on_message("message", "/:room")
def message() -> None:
    said = {"from": use_ws_connection().get(NAME), "text": use_ws_message().data}
    use_ws_rooms().broadcast("message", said)  # the sender is left out


@ws.on_disconnect
def disconnect() -> None:
    connection = use_ws_connection()
    for room in connection.rooms:
        use_ws_server().room(room).broadcast("left", connection.get(NAME))


if __name__ == "__main__":
    ws.run(port=8000)
