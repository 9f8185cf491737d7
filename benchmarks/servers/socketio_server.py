"""python-socketio (ASGI) under uvicorn and uvloop: PORT [REDIS_URL]."""

# The checkers run without the peers' packages, so nothing of them has a type there.
# mypy: disable-error-code="import-not-found, untyped-decorator"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import sys
from typing import Any

import socketio
import uvicorn

manager = socketio.AsyncRedisManager(sys.argv[2]) if len(sys.argv) > 2 else None
server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*", client_manager=manager)


@server.on("join")
async def join(sid: str, data: dict[str, Any]) -> bool:
    await server.enter_room(sid, data["path"])
    return True


@server.on("message")
async def message(sid: str, data: dict[str, Any]) -> None:
    path = data["path"]
    push = {"path": path, "params": {"room": path.rsplit("/", 1)[1]}, "data": data["data"]}
    await server.emit("message", push, room=path, skip_sid=sid)


@server.on("echo")
async def echo(sid: str, data: dict[str, Any]) -> object:
    return data["data"]


if __name__ == "__main__":
    uvicorn.run(
        socketio.ASGIApp(server),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        log_level="warning",
        access_log=False,
        backlog=4096,
    )
