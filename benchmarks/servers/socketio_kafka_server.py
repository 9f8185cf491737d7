"""python-socketio in threads under Werkzeug, with its manager for Kafka: PORT HOST:PORT.

There is no such manager for asyncio.
"""

# The checkers run without the peers' packages, so nothing of them has a type there.
# mypy: disable-error-code="import-not-found, untyped-decorator"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import sys
from typing import Any

import socketio
from werkzeug.serving import run_simple

manager = socketio.KafkaManager(f"kafka://{sys.argv[2]}")
server = socketio.Server(
    async_mode="threading", cors_allowed_origins="*", client_manager=manager, logger=True
)


@server.on("join")
def join(sid: str, data: dict[str, Any]) -> bool:
    server.enter_room(sid, data["path"])
    return True


@server.on("message")
def message(sid: str, data: dict[str, Any]) -> None:
    path = data["path"]
    push = {"path": path, "params": {"room": path.rsplit("/", 1)[1]}, "data": data["data"]}
    server.emit("message", push, room=path, skip_sid=sid)


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), socketio.WSGIApp(server), threaded=True)
