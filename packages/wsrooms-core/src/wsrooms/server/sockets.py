"""Sockets to listen on: host and port or a unix path, plain or TLS.

What goes wrong here goes wrong at start, in front of a person: every error is
one line that says what to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from wsrooms.errors import (
    ServerNotStarted,
    UnknownOption,
)
from wsrooms.handshake import WsHttpResponse, WsRequest

__all__ = ["ServerOptions", "WsAddress", "listen_on"]

BACKLOG = 2048
"""Handshakes that may wait in the kernel: a fleet of clients reconnects at once."""


class ServerOptions(TypedDict, total=False):
    """How to listen; see ``WsApp.run``.

    Attributes:
        ssl: Serve wss with this context.
        unix_path: Listen on a unix socket instead of host and port.
        reuse_port: Let several processes listen on one port (not on Windows).
        path: Only this path is upgraded, others get 404; None: all.
        subprotocols: Those we speak, the best first.
        http_handler: Answers plain HTTP requests; where it gives None: 426.
    """

    ssl: ssl.SSLContext | None
    unix_path: str | None
    reuse_port: bool
    path: str | None
    subprotocols: Sequence[str]
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


async def listen_on(
    factory: Callable[[], asyncio.Protocol], host: str, port: int, options: Mapping[str, Any]
) -> tuple[asyncio.Server, WsAddress]:
    """Bind and accept.

    Raises:
        ServerNotStarted: The address cannot be used, or the certificate is missing.
        UnknownOption: There is no such option.
    """
    known = ServerOptions.__annotations__
    for option in options:
        if option not in known:
            raise UnknownOption(option, known)
    context: ssl.SSLContext | None = options.get("ssl")
    if context is not None:
        check_certificate(context)
    scheme = "ws" if context is None else "wss"
    loop = asyncio.get_running_loop()
    unix_path: str | None = options.get("unix_path")
    if unix_path is not None:
        if not hasattr(loop, "create_unix_server") or not hasattr(socket, "AF_UNIX"):
            raise ServerNotStarted(
                "unix_path: this platform has no unix sockets; use host and port"
            )
        try:
            server = await loop.create_unix_server(factory, unix_path, ssl=context, backlog=BACKLOG)
        except OSError as error:
            raise ServerNotStarted(
                f"cannot listen on {unix_path}: {error.strerror or error}"
            ) from error
        return server, WsAddress(unix_path, 0, f"{scheme}+unix://{unix_path}")
    reuse_port = bool(options.get("reuse_port"))
    if reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise ServerNotStarted("reuse_port: this platform cannot share a port between processes")
    try:
        server = await loop.create_server(
            factory, host, port, ssl=context, backlog=BACKLOG, reuse_port=reuse_port or None
        )
    except OSError as error:
        raise ServerNotStarted(_why_not(error, host, port)) from error
    except OverflowError as error:
        raise ServerNotStarted(f"port {port} does not exist: use 0 to 65535") from error
    bound = server.sockets[0].getsockname()
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return server, WsAddress(bound[0], bound[1], f"{scheme}://{shown}:{bound[1]}")


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use: stop what uses it, or choose another, "
            "such as port=0 for a free one"
        )
    if error.errno == errno.EACCES:
        return f"port {port} on {host} is not allowed to this user: use a port above 1023"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"host {host!r} is no address of this machine: use 127.0.0.1, 0.0.0.0 or ::"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"


def check_certificate(context: ssl.SSLContext) -> None:
    """Find out now, not at the first client, whether ``context`` can serve.

    A handshake with ourselves, in memory: the ssl module has no other way to
    ask a context whether it holds a certificate.

    Raises:
        ServerNotStarted: It cannot.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = client.wrap_bio(to_client, to_server)
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    try:
        context.wrap_bio(to_server, to_client, server_side=True).do_handshake()
    except ssl.SSLWantReadError:
        return
    except ssl.SSLError as error:
        if "NO_SHARED_CIPHER" in str(error).upper().replace(" ", "_"):
            raise ServerNotStarted(
                "the SSLContext holds no certificate: call "
                "context.load_cert_chain('cert.pem', 'key.pem') first"
            ) from error
        raise ServerNotStarted(
            f"the SSLContext cannot serve ({error.reason or error}): make it with "
            "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)"
        ) from error
