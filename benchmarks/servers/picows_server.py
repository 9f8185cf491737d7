"""picows (Cython) on uvloop: a set, and a loop of ``transport.send``."""

# The checkers run without the peers' packages, so nothing of them has a type there.
# mypy: disable-error-code="import-not-found, misc"
# pyright: basic, reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

import json
import sys
from typing import Any

import uvloop
from picows import WSListener, WSMsgType, ws_create_server

rooms: dict[str, set[Any]] = {}


class Client(WSListener):
    def on_ws_connected(self, transport: Any) -> None:
        self.mine: set[str] = set()

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.receive(transport, json.loads(frame.get_payload_as_utf8_text()))
        elif frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def receive(self, transport: Any, message: dict[str, Any]) -> None:
        event, path = message["event"], message["path"]
        if event == "join":
            rooms.setdefault(path, set()).add(transport)
            self.mine.add(path)
        elif event == "message":
            params = {"room": path.rsplit("/", 1)[1]}
            push = {"event": "message", "path": path, "params": params, "data": message["data"]}
            text = json.dumps(push).encode()
            for member in rooms[path]:
                if member is not transport:
                    member.send(WSMsgType.TEXT, text)
        if "id" in message:
            reply = {"id": message["id"], "data": message.get("data")}
            transport.send(WSMsgType.TEXT, json.dumps(reply).encode())

    def on_ws_disconnected(self, transport: Any) -> None:
        for path in self.mine:
            rooms[path].discard(transport)


async def main(port: int) -> None:
    server = await ws_create_server(lambda _: Client(), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
