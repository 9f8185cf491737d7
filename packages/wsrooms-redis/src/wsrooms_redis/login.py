"""From a URL to a connection that redis-py has made and logged in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from wsrooms.errors import AuthenticationFailed, TransportUnavailable
from wsrooms.transports import Address, certificate_error

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

    from wsrooms_redis.target import Target

__all__ = ["a_replica", "is_replica", "left", "log_in", "made", "primary_of", "transport_of"]


QUIET: dict[str, Any] = {
    "protocol": 2,
    # Its timeouts are asyncio.wait_for, which on Python 3.11 swallows cancellations.
    "socket_timeout": None,
    "socket_connect_timeout": None,
}


async def log_in(connection: AbstractConnection, where: str) -> bool:
    """Connect and log in to a server that reaches all others.

    Returns:
        Whether ``ROLE`` will tell if that changes.

    Raises:
        AuthenticationFailed: The login or the certificate was refused, or the user may not ping.
        TransportUnavailable: It is a replica, or anything else that redis-py or the system says.
    """
    await _connected(connection, where)
    try:
        await _ping(connection)
        role = await _answer(connection, "ROLE")
        replica = is_replica(role) and not await _is_in_cluster(connection)
    except NoPermissionError as error:
        raise AuthenticationFailed(f"{where} lets this user in and not ping: {error}") from None
    except (RedisError, OSError) as error:
        raise TransportUnavailable(f"{where} did not answer: {error}") from None
    if replica:
        raise a_replica(where)
    return role is not None and not is_replica(role)


async def _connected(connection: AbstractConnection, where: str) -> None:
    try:
        await _load_certificates(connection)
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's own
    except AuthenticationError as error:
        raise AuthenticationFailed(f"{where} refused the login: {error}") from None
    except NoPermissionError as error:
        raise AuthenticationFailed(f"{where} lets this user in and not connect: {error}") from None
    except (RedisError, OSError, ValueError) as error:
        if (certificate := certificate_error(error, where)) is not None:
            raise certificate from None
        raise TransportUnavailable(f"{where} cannot be reached: {error}") from None


async def _ping(connection: AbstractConnection) -> None:
    """Find out now whether the user may, and not when a dead connection is to be noticed."""
    await connection.send_command("PING")
    try:
        await connection.read_response()
    except NoPermissionError:
        raise
    except ResponseError:  # it cannot save its data, and refuses pings as if they were writes
        pass


async def _load_certificates(connection: AbstractConnection) -> None:
    """Let redis-py read them in a thread: that takes up to 0.1 s, at each connect."""
    load = getattr(getattr(connection, "ssl_context", None), "get", None)
    if load is not None:
        await asyncio.get_running_loop().run_in_executor(None, load)


def is_replica(role: object) -> bool:
    """Whether that is what a replica answers to ``ROLE``.

    A replica takes a message and hands it to its own subscribers only, but in a cluster.
    """
    return isinstance(role, list) and bool(role) and role[0] == b"slave"


def a_replica(where: str) -> TransportUnavailable:
    """The error that says so."""
    return TransportUnavailable(
        f"{where} is a replica, whose messages reach nobody else: connect to its primary"
    )


async def _is_in_cluster(connection: AbstractConnection) -> bool:
    info = await _answer(connection, "INFO", "cluster")
    return isinstance(info, bytes) and b"cluster_enabled:1" in info


async def _answer(connection: AbstractConnection, *words: str) -> object:
    await connection.send_command(*words)
    try:
        return await connection.read_response()
    except ResponseError:  # it may not ask, or the server does not know the question
        return None


def made(target: Target, address: Address) -> AbstractConnection:
    """A redis-py connection that neither retries nor times out by itself."""
    options = target.options
    given: dict[str, Any] = {
        **target.connection(address),
        **QUIET,
        "client_name": options.client_name,
        "retry": Retry(NoBackoff(), 0),
    }
    if options.credential_provider is not None:
        given.pop("username", None)
        given.pop("password", None)
        given["credential_provider"] = options.credential_provider
    if target.scheme == "redis+unix":
        return UnixDomainSocketConnection(**given)
    if target.scheme == "rediss":
        for name in "ca_certs", "certfile", "keyfile", "cert_reqs", "check_hostname":
            given[f"ssl_{name}"] = getattr(options, f"ssl_{name}")
        if options.ssl_cert_reqs == "none":
            given["ssl_check_hostname"] = False
        return SSLConnection(**given)
    return Connection(**given)


async def primary_of(target: Target, sentinel: Address) -> Address:
    """Where the primary of the service is, by one of its sentinels.

    Raises:
        AuthenticationFailed: The sentinel refused the login.
        TransportUnavailable: It cannot be reached, or knows no such service.
    """
    where = f"the sentinel {sentinel}"
    connection = Connection(
        host=sentinel.host,
        port=sentinel.port,
        username=target.options.sentinel_username,
        password=target.options.sentinel_password,
        retry=Retry(NoBackoff(), 0),
        **QUIET,
    )
    try:
        await _connected(connection, where)
        found = await _answer(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", target.service)
    except (RedisError, OSError) as error:
        raise TransportUnavailable(f"{where} did not answer: {error}") from None
    finally:
        await left(connection)
    if not isinstance(found, list) or len(found) != 2:
        raise TransportUnavailable(f"{where} knows no service {target.service!r}")
    return Address(found[0].decode(), int(found[1]))


async def left(connection: AbstractConnection) -> None:
    """Leave nothing of a connection, and never wait for the peer."""
    transport = transport_of(connection, missing_ok=True)
    if transport is not None:
        # With unsent bytes and a silent peer a mere close would wait for ever.
        transport.abort()
    await connection.disconnect(nowait=True)


def transport_of(connection: AbstractConnection, *, missing_ok: bool = False) -> Any:
    """The asyncio transport of a redis-py connection, for which there is no public way."""
    transport = getattr(getattr(connection, "_writer", None), "transport", None)
    if transport is None and not missing_ok:
        import redis

        raise TransportUnavailable(
            f"redis-py {redis.__version__} keeps its connection where wsrooms-redis does not "
            "know it: install a version that wsrooms-redis allows"
        )
    return transport
