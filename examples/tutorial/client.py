"""A client for the tutorial: python client.py ws://127.0.0.1:8000/?name=ann."""

import asyncio
import json
import sys

from websockets.asyncio.client import connect


async def main(url: str) -> None:
    async with connect(url) as socket:
        await socket.send(json.dumps({"event": "join", "path": "/chat/general", "id": 1}))
        async for frame in socket:
            print(frame)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
