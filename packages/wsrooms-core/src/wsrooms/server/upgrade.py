"""The first request on a socket: what is upgraded, what is answered, what is refused."""

from __future__ import annotations

import inspect
import logging
import re
import socket
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from wsrooms.handshake import WsHttpResponse, WsRequest, origin_allowed
from wsrooms.wire import shown

if TYPE_CHECKING:
    import asyncio

    from websockets.http11 import Request

    from wsrooms.server.settings import ServerSettings

__all__ = ["Answer", "new_protocol", "open_protocol", "receive_handshake"]

_SORRY = b"This is no HTTP request, or one with a body, which no answer here needs.\n"
BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SORRY), _SORRY)
)


_FIELD = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*")
"""A header as HTTP has it: a token, then what Latin-1 prints."""


def new_protocol(settings: ServerSettings, max_size: int) -> ServerProtocol:
    """The Sans-I/O side of one socket."""
    return ServerProtocol(
        max_size=max_size,
        logger=cast("logging.Logger", _QuietLogger(settings.logger)),
        subprotocols=[Subprotocol(name) for name in settings.subprotocols] or None,
        select_subprotocol=_select_subprotocol,
    )


def open_protocol(settings: ServerSettings, max_size: int) -> ServerProtocol:
    """The same for a socket whose handshake is done.

    The one that did it would keep the request, twice as large as all that follows.
    """
    return ServerProtocol(
        state=State.OPEN,
        max_size=max_size,
        logger=cast("logging.Logger", _QuietLogger(settings.logger)),
    )


class Answer(NamedTuple):
    """What follows from a client's first request.

    Attributes:
        response: To be written.
        upgraded: The request, if the socket is a WebSocket from now on.
        is_http: Whether it was a request at all.
        rest: What was read behind it.
    """

    response: bytes
    upgraded: WsRequest | None
    is_http: bool
    rest: bytes


def receive_handshake(
    protocol: ServerProtocol, data: bytes, transport: asyncio.Transport, settings: ServerSettings
) -> Answer | None:
    """Parse what was read of the first request; None until it is whole."""
    # Line by line: what follows the request in the same read is no part of it, and the
    # parser must not answer it before the request itself is answered.
    lines = data.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        protocol.receive_data(line)
        events = protocol.events_received()
        if events:
            request = cast("Request", events[0])
            asked = WsRequest(
                request.method,
                request.path,
                request.headers.raw_items(),
                _remote_address(transport),
            )
            response = _respond(protocol, request, asked, settings)
            protocol.send_response(response)
            upgraded = response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
            return Answer(
                b"".join(protocol.data_to_send()),
                asked if upgraded else None,
                is_http=True,
                rest=b"".join(lines[number:]),
            )
        if protocol.eof_sent:
            settings.logger.debug("handshake failed: %s", protocol.handshake_exc)
            told = b"".join(protocol.data_to_send())  # where the request is too long
            return Answer(told or BAD_REQUEST, None, is_http=False, rest=b"")
    return None


def _respond(
    protocol: ServerProtocol, request: Request, asked: WsRequest, settings: ServerSettings
) -> Response:
    """The response to the first request; status 101 upgrades."""
    if "websocket" not in asked.headers.get("upgrade", "").lower():
        return _plain_http(asked, settings)
    if settings.path is not None and asked.path != settings.path:
        settings.logger.debug(
            "refused %s with 404: the WebSocket is at %s (option path)",
            shown(asked.path),
            settings.path,
        )
        text = f"There is no WebSocket at {asked.path}.\n"
        return protocol.reject(HTTPStatus.NOT_FOUND, text)
    origin, host = asked.headers.get("origin"), asked.headers.get("host")
    if not origin_allowed(origin, host, settings.allowed_origins, debug=settings.debug):
        settings.logger.warning(
            "refused a page of origin %.200r on host %.200r: "
            "if it is yours, start with WsApp(allowed_origins=[%.200r])",
            origin,
            host,
            origin,
        )
        return protocol.reject(HTTPStatus.FORBIDDEN, "This origin may not connect.\n")
    response = protocol.accept(request)
    if response.status_code == HTTPStatus.BAD_REQUEST:
        # RFC 6455 §4.4: a client that speaks another version must be told ours.
        response.headers["Sec-WebSocket-Version"] = "13"
    return response


def _plain_http(request: WsRequest, settings: ServerSettings) -> Response:
    try:
        given = _ask_handler(request, settings)
        return _http_response(request, given)
    except Exception:
        settings.logger.exception("http_handler failed for %s", request.path)
        return _http_response(request, WsHttpResponse(500, "Internal Server Error\n"))


def _ask_handler(request: WsRequest, settings: ServerSettings) -> WsHttpResponse:
    if settings.http_handler is None:
        given: object = None
    else:
        given = settings.http_handler(request)
    if given is None:
        text = "This is a WebSocket server: connect with ws:// or wss://.\n"
        return WsHttpResponse(426, text, headers={"Upgrade": "websocket"})
    if inspect.iscoroutine(given):
        given.close()
        raise TypeError("http_handler is async: give a plain function")
    if not isinstance(given, WsHttpResponse):
        raise TypeError(f"http_handler returned {type(given).__name__}, not WsHttpResponse or None")
    return given


def _http_response(request: WsRequest, given: WsHttpResponse) -> Response:
    if not 200 <= given.status <= 599:
        raise ValueError(f"status {given.status} is no answer: use 200 to 599")
    try:
        phrase = HTTPStatus(given.status).phrase
    except ValueError:
        phrase = "Unknown"
    bodiless = given.status in (204, 304)
    fields = {"Connection": "close"}
    if not bodiless:
        fields["Content-Length"] = str(len(given.body))
        fields["Content-Type"] = given.content_type
    headers = Headers()
    for name, value in (*fields.items(), *given.headers.items()):
        if not _FIELD.fullmatch(f"{name}:{value}"):
            # What a handler copied from a request must not end the header and begin another.
            raise ValueError(f"header {name!r} cannot be sent")
        if name in headers:
            del headers[name]
        headers[name] = value
    body = b"" if bodiless or request.method == "HEAD" else given.body
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
