"""Sockets to listen on: host and port or a unix path, plain or TLS.

What goes wrong here goes wrong at start, in front of a person: every error is
one line that says what to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import os
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from typing import Any

from wsrooms.errors import ServerNotStarted, UnknownOption
from wsrooms.server.settings import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT, ServerOptions, WsAddress

__all__ = ["listen_on"]

BACKLOG = 2048
"""Handshakes that may wait in the kernel: a fleet of clients reconnects at once."""


async def listen_on(
    factory: Callable[[], asyncio.Protocol], host: str, port: int, options: Mapping[str, Any]
) -> tuple[asyncio.Server, WsAddress]:
    """Bind and accept.

    Raises:
        ServerNotStarted: The address cannot be used, or the certificate is missing.
        UnknownOption: There is no such option.
    """
    _check_options(options)
    context: ssl.SSLContext | None = options.get("ssl")
    # Without these a client may hold a socket for a minute, before and after.
    tls: dict[str, Any] = (
        {}
        if context is None
        else {
            "ssl": context,
            "ssl_handshake_timeout": HANDSHAKE_TIMEOUT,
            "ssl_shutdown_timeout": CLOSE_TIMEOUT,
        }
    )
    scheme = "ws" if context is None else "wss"
    unix_path: str | None = options.get("unix_path")
    if unix_path is not None:
        server = await _listen_on_unix(factory, unix_path, tls)
        return server, WsAddress(unix_path, 0, f"{scheme}+unix://{unix_path}")
    if not isinstance(host, str) or not isinstance(port, int):
        raise ServerNotStarted(
            f"host={host!r} and port={port!r} are not a str and an int: run() takes the host "
            "first, listen() and serving() the port, so give them by name"
        )
    if not 0 <= port <= 65535:  # uvloop would take port % 65536
        raise ServerNotStarted(f"port {port!r} does not exist: use 0 to 65535")
    try:
        server = await asyncio.get_running_loop().create_server(
            factory,
            host,
            port,
            backlog=BACKLOG,
            reuse_port=options.get("reuse_port") or None,
            start_serving=False,
            **tls,
        )
        await _begin(server)
    except OSError as error:
        raise ServerNotStarted(_why_not(error, host, port)) from error
    except UnicodeError as error:  # from the encoding of host names
        raise ServerNotStarted(_no_such_host(host)) from error
    bound = server.sockets[0].getsockname()
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return server, WsAddress(bound[0], bound[1], f"{scheme}://{shown}:{bound[1]}")


def _check_options(options: Mapping[str, Any]) -> None:
    known = ServerOptions.__annotations__
    for option in options:
        if option not in known:
            raise UnknownOption(option, known)
    context = options.get("ssl")
    if context is not None:
        check_certificate(context)
    path = options.get("path")
    if path is not None and (not path.startswith("/") or "?" in path):
        raise ServerNotStarted(f"path={path!r}: give what a URL has after the port, such as '/ws'")
    if isinstance(options.get("subprotocols"), str):
        raise ServerNotStarted(f"subprotocols: give a list, such as [{options['subprotocols']!r}]")
    if inspect.iscoroutinefunction(options.get("http_handler")):
        raise ServerNotStarted("http_handler: give a plain function, not an async one")
    if options.get("reuse_port") and not hasattr(socket, "SO_REUSEPORT"):
        raise ServerNotStarted("reuse_port: this platform cannot share a port between processes")


async def _listen_on_unix(
    factory: Callable[[], asyncio.Protocol], path: str, tls: Mapping[str, Any]
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    if not hasattr(socket, "AF_UNIX") or sys.platform == "win32":  # whose loops cannot use it
        raise ServerNotStarted("unix_path: this platform has no unix sockets; use host and port")
    if _answers(path):  # asyncio would take the path away from whoever listens there
        raise ServerNotStarted(f"{path} is in use: stop what uses it, or choose another path")
    try:
        server = await loop.create_unix_server(
            factory, path, backlog=BACKLOG, start_serving=False, **tls
        )
        try:
            await _begin(server)
        except BaseException:
            with contextlib.suppress(OSError):  # since Python 3.13 that has gone with it
                os.unlink(path)
            raise
        return server
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ServerNotStarted(f"cannot listen on {path}: {why}") from error


async def _begin(server: asyncio.Server) -> None:
    """Accept; a server of asyncio's own beginning would stay open if this were cancelled."""
    try:
        await server.start_serving()
    except BaseException:
        server.close()
        raise


def _answers(path: str) -> bool:
    """Whether somebody listens on the unix socket ``path``; one left behind says no."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # its backlog is full
            return True
        except (OSError, ValueError):
            return False
    return True


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use: stop what uses it, or choose another, "
            "such as port=0 for a free one"
        )
    if error.errno == errno.EACCES:
        return f"port {port} on {host} is not allowed to this user: use a port above 1023"
    # Python 3.13 gives no number where none of a host's addresses is ours.
    if error.errno in (errno.EADDRNOTAVAIL, None) or isinstance(error, socket.gaierror):
        return _no_such_host(host)
    return f"cannot listen on {host}:{port}: {error.strerror or error}"


def _no_such_host(host: str) -> str:
    return f"host {host!r} is no address of this machine: use 127.0.0.1, 0.0.0.0 or ::"


def check_certificate(context: ssl.SSLContext) -> None:
    """Find out now, not at the first client, whether ``context`` can serve.

    A handshake with ourselves, in memory: the ssl module has no other way to
    ask a context whether it holds a certificate.

    Raises:
        ServerNotStarted: It cannot.
    """
    if not isinstance(context, ssl.SSLContext):
        raise ServerNotStarted(f"ssl={context!r}: give an ssl.SSLContext with your certificate")
    if context.sni_callback is not None:  # which may choose a certificate by the client's host
        return
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
