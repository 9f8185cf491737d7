"""The chat of the page "Coming from Wooks"."""

from typing import Any

from wsrooms import (
    WsApp,
    WsError,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
)

ws = WsApp()


@ws.on_message("join", "/chat/:room")
async def join() -> dict[str, Any]:
    await use_ws_rooms().join()
    use_ws_rooms().broadcast("joined", {"id": use_ws_connection().id})
    return {"room": use_route_params()["room"]}


@ws.on_message("message", "/chat/:room")
def message() -> None:
    data = use_ws_message().data
    if not data.get("text"):
        raise WsError(400, "say something")
    use_ws_rooms().broadcast("message", data)


if __name__ == "__main__":
    ws.run(port=3000)
