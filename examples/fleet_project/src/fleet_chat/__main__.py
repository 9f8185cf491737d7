"""One instance: CHAT_TRANSPORT=redis://localhost:6379 PORT=8001 python -m fleet_chat."""

import os

from wsrooms import WsHttpResponse, WsRequest

from fleet_chat import ws


def health(request: WsRequest) -> WsHttpResponse | None:
    if request.path != "/health":
        return None
    state = ws.health().state
    return WsHttpResponse(200 if state == "up" else 503, state)


if __name__ == "__main__":
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000"))
    ws.run(host, port, http_handler=health)
