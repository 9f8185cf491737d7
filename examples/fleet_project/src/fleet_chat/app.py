"""The chat: what its clients may ask, and what it tells them when messages were lost."""

import os

from wsrooms import Gap, WsApp, use_ws_message, use_ws_rooms, use_ws_server

# Unset: one process, and no broker.
ws = WsApp(broadcast_transport=os.environ.get("CHAT_TRANSPORT"))


@ws.on_message("join", "/chat/:room")
async def join() -> dict[str, bool]:
    await use_ws_rooms().join()
    return {"joined": True}


@ws.on_message("message", "/chat/:room")
def message() -> None:
    use_ws_rooms().broadcast("message", use_ws_message().data)


@ws.on_gap
def lost(gap: Gap) -> None:
    server = use_ws_server()  # the instance that has missed something; ws may be another one
    if gap.room is None:
        server.broadcast("reload", "/", local=True)
    else:
        server.room(gap.room).broadcast("reload", local=True)
