"""The first request on a socket: what is upgraded, what is answered, what is refused."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from wsrooms.handshake import Origins, WsHttpResponse, WsRequest, origin_allowed

if TYPE_CHECKING:
    import asyncio

__all__ = ["BAD_REQUEST", "ServerSettings", "answer", "new_protocol", "read_request"]

BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 21\r\n\r\nnot an HTTP request.\n"
)


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """How to treat the sockets of one address; see ``WsApp`` and ``ServerOptions``."""

    allowed_origins: Origins
    logger: logging.Logger
    debug: bool = False
    path: str | None = None
    subprotocols: Sequence[str] = ()
    http_handler: Callable[[WsRequest], WsHttpResponse | None] | None = None


def new_protocol(settings: ServerSettings, max_size: int) -> ServerProtocol:
    """The Sans-I/O side of one socket."""
    return ServerProtocol(
        max_size=max_size,
        logger=cast("logging.Logger", _QuietLogger(settings.logger)),
        subprotocols=[Subprotocol(name) for name in settings.subprotocols] or None,
        select_subprotocol=_select_subprotocol,
    )


def read_request(request: Request, transport: asyncio.Transport) -> WsRequest:
    """The request as handlers see it."""
    return WsRequest(
        request.method,
        request.path,
        request.headers.raw_items(),
        _remote_address(transport),
    )


def answer(
    protocol: ServerProtocol, request: Request, asked: WsRequest, settings: ServerSettings
) -> Response:
    """The response to the first request; status 101 upgrades."""
    if "websocket" not in asked.headers.get("upgrade", "").lower():
        return _plain_http(asked, settings)
    if settings.path is not None and asked.path != settings.path:
        text = f"There is no WebSocket at {asked.path}.\n"
        return protocol.reject(HTTPStatus.NOT_FOUND, text)
    origin, host = asked.headers.get("origin"), asked.headers.get("host")
    if not origin_allowed(origin, host, settings.allowed_origins, debug=settings.debug):
        settings.logger.warning(
            "refused a page of origin %s on host %s: "
            "if it is yours, start with WsApp(allowed_origins=[%r])",
            origin,
            host,
            origin,
        )
        return protocol.reject(HTTPStatus.FORBIDDEN, "This origin may not connect.\n")
    return protocol.accept(request)


def _plain_http(request: WsRequest, settings: ServerSettings) -> Response:
    given: WsHttpResponse | None = None
    if settings.http_handler is not None:
        try:
            given = settings.http_handler(request)
        except Exception:
            settings.logger.exception("http_handler failed for %s", request.path)
            given = WsHttpResponse(500, "Internal Server Error\n")
    if given is None:
        given = WsHttpResponse(
            426, "This is a WebSocket server.\n", headers={"Upgrade": "websocket"}
        )
    try:
        phrase = HTTPStatus(given.status).phrase
    except ValueError:
        phrase = "Unknown"
    headers = Headers(given.headers)
    for name, value in (
        ("Connection", "close"),
        ("Content-Length", str(len(given.body))),
        ("Content-Type", given.content_type),
    ):
        if name not in headers:
            headers[name] = value
    body = b"" if request.method == "HEAD" else given.body
    return Response(given.status, phrase, headers, body)


class _QuietLogger:
    """What the Sans-I/O layer logs to: its lines about each connection go nowhere."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def isEnabledFor(self, level: int) -> bool:
        """Only errors."""
        return level >= logging.ERROR

    def debug(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    info = warning = debug

    def error(self, message: str, *args: Any, **kwargs: Any) -> None:
        """What should not happen."""
        self._logger.error(message, *args, **kwargs)


def _select_subprotocol(
    protocol: ServerProtocol, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """Ours that the client offers too, the first of ours; none is no reason to refuse."""
    return next((one for one in protocol.available_subprotocols or () if one in offered), None)


def _remote_address(transport: asyncio.Transport) -> tuple[str, int] | None:
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    peer = transport.get_extra_info("peername")
    return (peer[0], peer[1]) if isinstance(peer, tuple) else None
