"""A chat as it is served behind a proxy: its address comes from the environment."""

import json
import logging
import os
from ipaddress import ip_address, ip_network

from wsrooms import (
    ServerOptions,
    WsApp,
    WsHttpResponse,
    WsRequest,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
)

# Who may tell us the address of a client.
PROXIES = [ip_network(one) for one in os.environ.get("PROXIES", "127.0.0.0/8 ::1").split()]

# Unset: one process, whose rooms nobody shares.
ws = WsApp(broadcast_transport=os.environ.get("TRANSPORT"))


@ws.on_connect
def connected() -> None:
    logging.getLogger("chat").info("from %s", client_address(use_ws_connection().request))


@ws.on_message("join", "/chat/:room")
async def join() -> dict[str, str]:
    await use_ws_rooms().join()
    return {"from": client_address(use_ws_connection().request)}


@ws.on_message("message", "/chat/:room")
def message() -> None:
    use_ws_rooms().broadcast("message", use_ws_message().data)


# --8<-- [start:address]
def client_address(request: WsRequest) -> str:
    """Where a client is, told by our proxy; never believed from anybody else."""
    peer = request.remote_address  # None on a unix socket, where only the proxy connects
    if peer is None or any(ip_address(peer[0]) in network for network in PROXIES):
        *_, last = request.headers.get("x-forwarded-for", "").split(",")
        if last.strip():
            return last.strip()  # those before it are what the client said of itself
    return "unknown" if peer is None else peer[0]


# --8<-- [end:address]


# --8<-- [start:health]
def health(request: WsRequest) -> WsHttpResponse | None:
    if request.path != "/health":
        return None
    state = ws.health()
    body = json.dumps({"state": state.state, "since": state.since, "stats": ws.stats()})
    return WsHttpResponse(200 if state.state == "up" else 503, body)


# --8<-- [end:health]


# --8<-- [start:options]
def options() -> ServerOptions:
    chosen = ServerOptions(path="/ws", http_handler=health)
    if "SOCKET" in os.environ:
        chosen["unix_path"] = os.environ["SOCKET"]
    if "SHARED_PORT" in os.environ:  # several processes on one port
        chosen["reuse_port"] = True
    return chosen


if __name__ == "__main__":
    ws.run(os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000")), **options())
# --8<-- [end:options]
