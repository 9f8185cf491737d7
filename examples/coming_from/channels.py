"""The chat of the page "Coming from Django Channels"."""

from wsrooms import WsApp, use_ws_connection, use_ws_message, use_ws_rooms

ws = WsApp()


@ws.on_connect
async def connect() -> None:
    connection = use_ws_connection()
    await connection.join(connection.request.path)  # ws://…/ws/chat/tea


@ws.on_message("message", "/ws/chat/:room")
def receive() -> None:
    use_ws_rooms().broadcast("message", use_ws_message().data)


if __name__ == "__main__":
    ws.run(port=8000)
