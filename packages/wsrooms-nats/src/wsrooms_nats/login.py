"""From an address to a connection that nats-py has made and logged in."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from nats.aio.client import Client
from nats.errors import Error

from wsrooms.errors import (
    AuthenticationFailed,
    LimitTooLow,
    TransportError,
    TransportUnavailable,
)
from wsrooms.transports import Address, certificate_error, shown, until_done
from wsrooms_nats.credentials import signing
from wsrooms_nats.target import PORTS, is_number

if TYPE_CHECKING:
    from wsrooms_nats.target import Target

__all__ = [
    "HINT",
    "LoggedIn",
    "check_payload",
    "is_about_login",
    "log_in",
    "servers_in",
]

HINT = "; is it NATS, and does it speak TLS first (tls_first)?"
"""What to think of where the handshake of TLS fails or never ends."""

COMMAND = "_connect_command"
"""Of nats-py's client, which :class:`_Client` watches over."""

LOGIN_WORDS = ("authorization violation", "authentication", "permissions violation for nkey")
"""What the server says, in lower case, if it does not like who asks."""

CONTROL_LINE = "maximum control line"
"""What it says, in lower case, of a command that is too long for it."""

LEAVING = 0.5
"""Seconds for nats-py to close what only it knows where to find."""

TRACING = (2, 11)
"""The first release of nats-server that traces messages."""

SMALLEST = 128
"""Bytes of a message without which there is no room for a payload."""

NEVER = 86_400
"""Seconds for what nats-py is not to do by itself."""


@dataclass(frozen=True)
class LoggedIn:
    """What nats-py leaves behind.

    Attributes:
        transport: The connection.
        unread: What has been read of what comes after the login.
        max_payload: Bytes of a message that the server takes.
        where: The server, as it may be shown.
        server: What it is called in its cluster.
        clustered: Whether it has said that it belongs to a cluster.
        traces: Whether it can trace messages, as of 2.11.
        servers: Those of its cluster, itself included, as far as that is to be believed.
        stream: nats-py's own view of the connection: to be kept, or Python would close it.
    """

    transport: asyncio.Transport
    unread: bytes
    max_payload: int
    where: str
    server: str
    clustered: bool
    traces: bool
    servers: list[Address]
    stream: object


class _Failure(Exception):
    """Ends a connect, which nats-py would else try again; its cause says why."""


class _Encrypts(Exception):
    """The server wants TLS, for which nothing has been prepared."""


class _Client(Client):
    """nats-py's client, which sends no secret in the clear where TLS is demanded.

    Attributes:
        login_bytes: Of the command that logs in.
    """

    def __init__(self, where: str, *, encrypted: bool) -> None:
        super().__init__()
        self._where = where
        self._encrypted = encrypted
        self.login_bytes: int = 0

    def _connect_command(self) -> bytes:
        """What logs in. nats-py encrypts if the server asks for it, whatever the URL says."""
        _, transport = _stream_of(self)
        if self._encrypted and transport.get_extra_info("ssl_object") is None:
            raise TransportUnavailable(
                f"{self._where} does not speak TLS, and tls:// demands it; no secret was sent"
            )
        command = super()._connect_command()
        self.login_bytes = len(command)
        return command

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """How to encrypt. nats-py would read what the system trusts, and block the loop."""
        if "tls" not in self.options:
            raise _Encrypts
        return super().ssl_context


async def log_in(
    address: Address,
    target: Target,
    take: Callable[[LoggedIn], None],
    *,
    encrypts: bool = False,
) -> None:
    """Connect to the server at ``address`` and log in, with a client of its own.

    Nothing of nats-py runs afterwards.

    Args:
        address: Where it listens.
        target: Who asks, and how.
        take: Called with what nats-py leaves, before anything else can arrive: has to give
            the transport its protocol.
        encrypts: Whether it has wanted TLS though the URL does not say so.

    Raises:
        AuthenticationFailed: The login or the certificate was refused.
        LimitTooLow: The server takes less than is needed.
        TransportUnavailable: Anything else that nats-py or the system says.
    """
    where, options = shown(target.scheme, address), target.options
    demands_tls = target.scheme == "tls"
    if not hasattr(Client, COMMAND):  # then nobody would watch over what it sends
        raise _unknown_nats_py()
    client = _Client(where, encrypted=demands_tls)
    given: dict[str, Any] = dict(target.login)
    failed: TransportError | None = None
    encrypted = False
    try:
        given.update(signing(options, where))
        if demands_tls or encrypts:
            given["tls"] = options.tls or await options.load_ssl_context()
        if demands_tls:
            given["tls_hostname"] = options.tls_hostname or target.name_of(address)
            given["tls_handshake_first"] = options.tls_first
        given.update(
            servers=[where],
            name=options.client_name,
            allow_reconnect=False,
            connect_timeout=NEVER,
            ping_interval=NEVER,
        )
        # In an INFO before TLS anybody may have named a server to which he has a certificate.
        in_clear = demands_tls and not (options.tls_first or options.tls_hostname)
        connected = _connected(client, where, take, given, in_clear=in_clear)
        await until_done(asyncio.create_task(connected))
    except _Encrypts:
        encrypted = True
    except TransportError as failure:
        failed = failure
    except Exception as failure:  # noqa: BLE001 - nkeys' errors have no base of their own
        error = failure.__cause__ or failure
        if isinstance(error, OSError) and (words := await _last_words(client)):
            error = Error(words)
        failed = _told(client, error, where, target.least_line)
        del error
    finally:
        await _left(client)
        # An error is kept until the next one, and its frames would keep the client.
        del client, given
    if failed is not None:
        failed.__context__ = None
        raise failed.with_traceback(None)
    if encrypted:
        await log_in(address, target, take, encrypts=True)


async def _connected(
    client: Client,
    where: str,
    take: Callable[[LoggedIn], None],
    given: dict[str, Any],
    *,
    in_clear: bool,
) -> None:
    connecting = asyncio.current_task()

    async def fail(error: Exception) -> None:
        if asyncio.current_task() is connecting:  # a task of nats-py's own would keep it unheard
            raise _Failure from error

    await client.connect(**given, error_cb=fail)
    if not client.is_connected:
        raise TransportUnavailable(f"{where} has closed the connection during the login")
    take(await _taken(client, where, in_clear=in_clear))


async def _last_words(client: Client) -> str:
    """Why the server has hung up, which nats-py does not read if it notices at a write."""
    reader: Any = getattr(getattr(client, "_transport", None), "_io_reader", None)
    if reader is None:
        return ""
    reader.set_exception(None)  # what came before the end is still there
    reader.feed_eof()  # so that it can be read without a wait
    for line in (await reader.read()).splitlines():
        if line.startswith(b"-ERR "):
            return str(line[5:].decode("utf-8", "replace").strip(" '"))
    return ""


async def _taken(client: Client, where: str, *, in_clear: bool) -> LoggedIn:
    """Take the connection from nats-py, before its tasks have their first turn: no wait here."""
    most: object = client.max_payload  # as the server has said: anything
    if not isinstance(most, int):
        raise TransportUnavailable(f"{where} takes no messages: its max_payload is {most!r}")
    check_payload(most, where)
    stream, transport = _stream_of(client)
    reader: asyncio.StreamReader = stream._io_reader
    reader.feed_eof()  # so that what it holds can be read without a wait
    unread = await reader.read()
    info: dict[str, Any] = getattr(client, "_server_info", {})
    servers = servers_in(info)  # nats-py leaves out the one that it is connected to
    if in_clear:  # a number has to show a certificate for a host of the URL
        servers = [address for address in servers if is_number(address.host)]
    release = client.connected_server_version
    client._transport = None  # closing the client then leaves the connection alone
    return LoggedIn(
        transport=transport,
        unread=unread,
        max_payload=most,
        where=where,
        server=str(info.get("server_name", "")),
        clustered=bool(servers or info.get("cluster")),
        traces=bool(info.get("headers")) and (release.major, release.minor) >= TRACING,
        servers=servers,
        stream=stream,
    )


def check_payload(most: int, where: str) -> None:
    """Check that a server takes messages that have room for a payload.

    Raises:
        LimitTooLow: It does not.
    """
    if most < SMALLEST:
        raise LimitTooLow(where, "max_payload", most, SMALLEST)


def servers_in(info: dict[str, Any]) -> list[Address]:
    """The servers of a cluster, as one of them tells in its INFO."""
    urls = info.get("connect_urls")
    found = (
        [Address.read(str(url), PORTS["nats"]) for url in urls] if isinstance(urls, list) else []
    )
    return [address for address in found if address is not None]


async def _left(client: Client) -> None:
    """Leave nothing of ``client``, and hardly wait for the peer."""
    stream = getattr(client, "_transport", None)
    if stream is None and not client.is_connected:
        return  # it has never come so far that there is anything to close
    writer = getattr(stream, "_io_writer", stream)
    if writer is not stream:  # else it is where we do not know it, and nats-py does
        if writer is not None:
            writer.transport.abort()
        # A close of it would wait until the peer has read everything, and where TLS has failed
        # for ever; before nats-py 2.15 it fails where nothing was ever connected.
        client._transport = None
    with contextlib.suppress(Error, OSError, TimeoutError):  # it is given up anyway
        async with asyncio.timeout(LEAVING):
            await client.close()


def _stream_of(client: Client) -> tuple[Any, asyncio.Transport]:
    """nats-py's stream and its asyncio transport, for which there is no public way.

    Raises:
        TransportUnavailable: It is not where it is known to be.
    """
    stream = getattr(client, "_transport", None)
    writer = getattr(stream, "_io_writer", None)
    if writer is None or not hasattr(stream, "_io_reader"):
        raise _unknown_nats_py()
    transport: asyncio.Transport = writer.transport
    return stream, transport


def _unknown_nats_py() -> TransportUnavailable:
    return TransportUnavailable(
        f"nats-py {version('nats-py')} keeps its connection where wsrooms-nats does not "
        "know it: install a version that wsrooms-nats allows"
    )


def _told(client: _Client, error: BaseException, where: str, least: int) -> TransportError:
    """What to tell of an error of nats-py or of the system."""
    if (certificate := certificate_error(error, where)) is not None:
        return certificate
    words = str(error).removeprefix("nats: ").strip("'") or type(error).__name__
    if CONTROL_LINE in words.lower():
        return LimitTooLow(where, "max_control_line", None, max(client.login_bytes, least))
    if is_about_login(words):
        return AuthenticationFailed(f"{where} refused the login: {words}")
    if isinstance(error, Error | OSError | ValueError):
        info: dict[str, Any] = getattr(client, "_server_info", {})
        if info.get("tls_verify"):  # it says no after the handshake only, by hanging up
            return AuthenticationFailed(
                f"{where} wants a client certificate that it trusts: options ssl_certfile and "
                f"ssl_keyfile ({words})"
            )
        hint = HINT if isinstance(error, ssl.SSLError) else ""
        return TransportUnavailable(f"{where} cannot be reached: {words}{hint}")
    return AuthenticationFailed(f"the login for {where} failed: {type(error).__name__}")


def is_about_login(text: str) -> bool:
    """Whether the server's words are about who asks."""
    words = text.lower()
    return any(each in words for each in LOGIN_WORDS) and "timeout" not in words
