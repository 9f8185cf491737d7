"""Step 2: a room, and everybody in it."""

from wsrooms import WsApp, use_route_params, use_ws_message, use_ws_rooms

ws = WsApp()


@ws.on_message("join", "/chat/:room")
async def join() -> str:
    await use_ws_rooms().join()
    return f"welcome to {use_route_params()['room']}"


@ws.on_message("leave", "/chat/:room")
def leave() -> None:
    use_ws_rooms().leave()


@ws.on_message("message", "/chat/:room")
def message() -> None:
    use_ws_rooms().broadcast("message", use_ws_message().data)


if __name__ == "__main__":
    ws.run(port=8000)
