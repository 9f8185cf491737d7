"""Starlette under uvicorn and uvloop: a set and a loop of ``send_text``, as FastAPI has it."""

# The checkers run without the peers' packages, so nothing of them has a type there.
# mypy: disable-error-code="import-not-found"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect

rooms: dict[str, set[Any]] = {}


async def receive(ws: Any, message: dict[str, Any], mine: set[str]) -> None:
    event, path = message["event"], message["path"]
    if event == "join":
        rooms.setdefault(path, set()).add(ws)
        mine.add(path)
    elif event == "message":
        params = {"room": path.rsplit("/", 1)[1]}
        push = {"event": "message", "path": path, "params": params, "data": message["data"]}
        text = json.dumps(push)
        for member in list(rooms[path]):
            if member is not ws:
                await member.send_text(text)
    if "id" in message:
        await ws.send_text(json.dumps({"id": message["id"], "data": message.get("data")}))


async def endpoint(ws: Any) -> None:
    await ws.accept()
    mine: set[str] = set()
    try:
        while True:
            await receive(ws, json.loads(await ws.receive_text()), mine)
    except WebSocketDisconnect:
        pass
    finally:
        for path in mine:
            rooms[path].discard(ws)


if __name__ == "__main__":
    uvicorn.run(
        Starlette(routes=[WebSocketRoute("/", endpoint)]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        log_level="warning",
        access_log=False,
        backlog=4096,
    )
