"""Broadcasts from another process: it is a client with a token of its own."""

import hmac
import json
import os

from msgspec import Raw, Struct
from websockets.sync.client import connect

from wsrooms import WsApp, WsError, WsMessage, use_ws_connection, use_ws_rooms, use_ws_server

TOKEN = os.environ.get("PUBLISHER_TOKEN", "change me")

ws = WsApp()


@ws.on_message("join", "/orders")
async def join() -> None:
    await use_ws_rooms().join()


# --8<-- [start:server]
class Push(Struct):
    room: str
    event: str
    data: Raw = Raw(b"null")


@ws.on_message("publish", "/internal")
async def publish(message: WsMessage[Push]) -> None:
    given = use_ws_connection().request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {TOKEN}".encode()):
        raise WsError(403, "not for you")
    push = message.data
    await use_ws_server().room(push.room).broadcast(push.event, push.data)


# --8<-- [end:server]


# --8<-- [start:client]
def push(url: str, room: str, event: str, data: object) -> None:
    """Broadcast from a process that has no event loop; returns once it is done."""
    with connect(url, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
        message = {"room": room, "event": event, "data": data}
        socket.send(json.dumps({"event": "publish", "path": "/internal", "data": message, "id": 1}))
        reply = json.loads(socket.recv(timeout=10))
        if "error" in reply:
            raise RuntimeError(reply["error"]["message"])


# --8<-- [end:client]

if __name__ == "__main__":
    ws.run(port=8000)
