"""The chat room of the page "Coming from broadcaster"."""

from wsrooms import WsApp, use_ws_connection, use_ws_message, use_ws_rooms

ws = WsApp()  # or WsApp(broadcast_transport=…): then it spans several instances


@ws.on_connect
async def connect() -> None:
    connection = use_ws_connection()
    await connection.join(connection.request.path)  # ws://…/tea


@ws.on_message("message", "/:room")
def receive() -> None:
    use_ws_rooms().broadcast("message", use_ws_message().data, exclude_self=False)


if __name__ == "__main__":
    ws.run(port=8000)
