"""One process with everything around the rooms: health for a load balancer, one path, TLS."""

import json
import ssl
import sys
from pathlib import Path

from wsrooms import ServerOptions, WsApp, WsHttpResponse, WsLimits, WsRequest

ws = WsApp(
    allowed_origins=["https://example.org"],  # pages of other hosts that may connect
    heartbeat_interval=20.0,
    limits=WsLimits(slow_client="drop_oldest"),
)


# --8<-- [start:http]
def http(request: WsRequest) -> WsHttpResponse | None:
    if request.path != "/health":
        return None  # 426: this is a WebSocket server
    health = ws.health()
    body = json.dumps({"state": health.state, "stats": ws.stats()})
    return WsHttpResponse(200 if health.state == "up" else 503, body)


# --8<-- [end:http]


# --8<-- [start:options]
def options(certificate: Path | None = None, key: Path | None = None) -> ServerOptions:
    chosen = ServerOptions(path="/ws", http_handler=http)
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        chosen["ssl"] = context  # clients connect with wss://
    return chosen


# --8<-- [end:options]

if __name__ == "__main__":
    ws.run(**options(*map(Path, sys.argv[1:3])))
