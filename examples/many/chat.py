"""The smallest chat: rooms in the path, joining and talking."""

from wsrooms import WsApp, use_ws_message, use_ws_rooms

ws = WsApp(broadcast_transport="redis://localhost:6379")


@ws.on_message("join", "/chat/:room")
async def join() -> dict[str, bool]:
    await use_ws_rooms().join()  # the room: the path, "/chat/general"
    return {"joined": True}


@ws.on_message("message", "/chat/:room")
def message() -> None:
    use_ws_rooms().broadcast("message", use_ws_message().data)


if __name__ == "__main__":
    ws.run(port=8000)
