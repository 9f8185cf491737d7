"""How to listen and how to treat sockets: what an app says, before any socket exists.

Apart from the code that acts on it, so that importing ``wsrooms`` loads neither
the server nor ``websockets``; starting does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from typing import TypedDict

from wsrooms.handshake import Origins, WsHttpResponse, WsRequest

__all__ = [
    "CLOSE_TIMEOUT",
    "HANDSHAKE_TIMEOUT",
    "RESPONSE_TIMEOUT",
    "ServerOptions",
    "ServerSettings",
    "WsAddress",
]

HANDSHAKE_TIMEOUT = 10.0
"""Seconds for a client to send its whole handshake, and before that the one of TLS."""

CLOSE_TIMEOUT = 2.0
"""Seconds for a client to answer our CLOSE before the socket is cut."""

RESPONSE_TIMEOUT = 60.0
"""Seconds for a client to take a plain HTTP response: it may be a page on a slow line."""


class ServerOptions(TypedDict, total=False):
    """How to listen; see ``WsApp.run``.

    Attributes:
        ssl: Serve wss with this context.
        unix_path: Listen on a unix socket instead of host and port.
        reuse_port: Let several processes listen on one port (not on Windows).
        path: Only this path is upgraded, others get 404; None: all.
        subprotocols: Those we speak, the best first; None: none.
        http_handler: Answers plain HTTP requests; where it gives None: 426.
    """

    ssl: SSLContext | None
    unix_path: str | None
    reuse_port: bool
    path: str | None
    subprotocols: Sequence[str] | None
    http_handler: Callable[[WsRequest], WsHttpResponse | None] | None


@dataclass(frozen=True)
class WsAddress:
    """Where the app listens.

    Attributes:
        host: As bound; the path of a unix socket.
        port: As bound; 0 for a unix socket.
        url: ``ws://…`` or ``wss://…``; ``ws+unix://…`` for a unix socket.
    """

    host: str
    port: int
    url: str


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """How to treat the sockets of one address; see ``WsApp`` and ``ServerOptions``.

    Attributes:
        handshake_timeout: HANDSHAKE_TIMEOUT, shorter in tests.
        close_timeout: CLOSE_TIMEOUT, likewise.
        response_timeout: RESPONSE_TIMEOUT, likewise.
    """

    allowed_origins: Origins
    logger: logging.Logger
    debug: bool = False
    path: str | None = None
    subprotocols: Sequence[str] = ()
    http_handler: Callable[[WsRequest], WsHttpResponse | None] | None = None
    handshake_timeout: float = HANDSHAKE_TIMEOUT
    close_timeout: float = CLOSE_TIMEOUT
    response_timeout: float = RESPONSE_TIMEOUT
