"""Starlette with broadcaster, as its README's chat: a subscription for each client.

python broadcaster_server.py PORT REDIS_URL|KAFKA_URL
"""

# The checkers run without the peers' packages, so nothing of them has a type there.
# mypy: disable-error-code="import-not-found"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from broadcaster import Broadcast
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect

# By itself redis-py allows 100 connections and 5 s for a reply: here both raise errors.
BY_REDIS = "?max_connections=9000&socket_timeout=60" if sys.argv[2].startswith("redis") else ""
broadcast = Broadcast(sys.argv[2] + BY_REDIS)
numbers = itertools.count(1)


def channel_of(path: str) -> str:
    """A room's channel; over Kafka it is a topic, whose names have no slashes."""
    return path if BY_REDIS else path.strip("/").replace("/", ".")


async def relay(ws: Any, path: str, me: str, ready: asyncio.Event) -> None:
    async with broadcast.subscribe(channel_of(path)) as subscriber:
        ready.set()
        async for event in subscriber:
            sender, text = event.message.split("\n", 1)
            if sender != me:
                await ws.send_text(text)


async def receive(ws: Any, message: dict[str, Any], me: str, tasks: list[Any]) -> None:
    event, path = message["event"], message["path"]
    if event == "join":
        ready = asyncio.Event()
        tasks.append(asyncio.create_task(relay(ws, path, me, ready)))
        await ready.wait()
    elif event == "message":
        params = {"room": path.rsplit("/", 1)[1]}
        push = {"event": "message", "path": path, "params": params, "data": message["data"]}
        await broadcast.publish(channel_of(path), f"{me}\n{json.dumps(push)}")
    if "id" in message:
        await ws.send_text(json.dumps({"id": message["id"], "data": message.get("data")}))


async def endpoint(ws: Any) -> None:
    await ws.accept()
    me = f"{id(broadcast)}.{next(numbers)}"
    tasks: list[asyncio.Task[None]] = []
    try:
        while True:
            await receive(ws, json.loads(await ws.receive_text()), me, tasks)
    except WebSocketDisconnect:
        pass
    finally:
        for task in tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def connected(_: Starlette) -> AsyncIterator[None]:
    await broadcast.connect()
    # Over Redis, broadcaster 0.3.1 may stop listening for ever if it looks before it has
    # subscribed.
    for channel in ("first", "second") if BY_REDIS else ():
        await broadcast._backend.subscribe(channel)
        await asyncio.sleep(0.1)
    yield
    await broadcast.disconnect()


if __name__ == "__main__":
    uvicorn.run(
        Starlette(routes=[WebSocketRoute("/", endpoint)], lifespan=connected),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        log_level="warning",
        access_log=False,
        backlog=4096,
    )
