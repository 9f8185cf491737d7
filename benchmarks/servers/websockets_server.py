"""The ``websockets`` package alone: a dict of sets, and its own ``broadcast()``.

python websockets_server.py PORT asyncio|uvloop
"""

from __future__ import annotations

import asyncio
import json
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

rooms: dict[str, set[ServerConnection]] = {}


async def handler(ws: ServerConnection) -> None:
    mine: set[str] = set()
    try:
        async for text in ws:
            message = json.loads(text)
            event, path = message["event"], message["path"]
            if event == "join":
                rooms.setdefault(path, set()).add(ws)
                mine.add(path)
            elif event == "message":
                push = {
                    "event": "message",
                    "path": path,
                    "params": {"room": path.rsplit("/", 1)[1]},
                    "data": message["data"],
                }
                broadcast((member for member in rooms[path] if member is not ws), json.dumps(push))
            if "id" in message:
                await ws.send(json.dumps({"id": message["id"], "data": message.get("data")}))
    finally:
        for path in mine:
            rooms[path].discard(ws)


async def main(port: int) -> None:
    async with serve(handler, "127.0.0.1", port, backlog=4096):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    if sys.argv[2] == "uvloop":
        import uvloop

        uvloop.run(main(int(sys.argv[1])))
    else:
        asyncio.run(main(int(sys.argv[1])))
