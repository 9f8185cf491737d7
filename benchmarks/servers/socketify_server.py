"""socketify (uWebSockets under CFFI): native subscribe and publish.

Its own ``ws.publish`` (0.0.31) also delivers to the sender, so this calls the native function
under it, which does not.
"""

# The checkers run without the peers' packages, so nothing of them has a type there.
# mypy: disable-error-code="import-not-found"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import sys
from typing import Any

from socketify import App, AppListenOptions, CompressOptions, OpCode
from socketify.native import lib

app = App()


def on_message(ws: Any, raw: str | bytes, _: Any) -> None:
    message = json.loads(raw)
    event, path = message["event"], message["path"]
    if event == "join":
        ws.subscribe(path)
    elif event == "message":
        params = {"room": path.rsplit("/", 1)[1]}
        push = {"event": "message", "path": path, "params": params, "data": message["data"]}
        text, topic = json.dumps(push).encode(), path.encode()
        lib.uws_ws_publish_with_options(
            app.SSL, ws.ws, topic, len(topic), text, len(text), int(OpCode.TEXT), False
        )
    if "id" in message:
        ws.send(json.dumps({"id": message["id"], "data": message.get("data")}), OpCode.TEXT)


if __name__ == "__main__":
    options = {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": 1 << 20,
        "idle_timeout": 120,
        "max_backpressure": 16 << 20,
        "open": lambda ws: None,
        "message": on_message,
    }
    app.ws("/*", options)
    app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), lambda config: None)
    app.run()
