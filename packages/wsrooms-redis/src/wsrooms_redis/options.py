"""The options of the Redis transport, and what its URL says."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal, TypedDict
from urllib.parse import unquote, urlsplit

from redis.credentials import CredentialProvider

from wsrooms.errors import ConfigurationError
from wsrooms.transports import BrokerOptions

__all__ = ["RedisKeywords", "RedisOptions", "Target"]

SCHEMES = ("redis", "rediss", "redis+unix")


@dataclass(frozen=True, kw_only=True)
class RedisOptions(BrokerOptions):
    """Options of the Redis transport, with those of every transport.

    Attributes:
        client_name: What ``CLIENT LIST`` shows for its connections.
        max_payload: Bytes that a message may have. A message over a quarter of the broker's
            ``client-output-buffer-limit pubsub`` (32 MiB by default) endangers whoever reads
            slowly, hence 8 MiB.
        ssl_ca_certs: A file with the authorities that ``rediss://`` trusts; None: the system's.
        ssl_certfile: A client certificate.
        ssl_keyfile: Its key.
        ssl_cert_reqs: Whether the broker's certificate is verified: "required" or "none".
        ssl_check_hostname: Whether it has to name the host.
        credential_provider: Asked for user and password at each connect; as redis-py's.
        logger: For what nobody else is told.
    """

    client_name: str = "wsrooms"
    max_payload: int = 8 * 1024 * 1024
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_cert_reqs: Literal["required", "none"] = "required"
    ssl_check_hostname: bool = True
    credential_provider: CredentialProvider | None = None
    logger: logging.Logger | None = None


class RedisKeywords(TypedDict, total=False):
    """The keywords of :class:`RedisTransport`, which :class:`RedisOptions` explains."""

    namespace: str
    start_timeout: float
    close_timeout: float
    connect_timeout: float
    confirm_timeout: float
    ping_interval: float
    probe_interval: float
    outbox_messages: int
    outbox_bytes: int
    outbox_age: float
    outbox_policy: Literal["reject", "drop_oldest"]
    client_name: str
    max_payload: int
    ssl_ca_certs: str | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    ssl_cert_reqs: Literal["required", "none"]
    ssl_check_hostname: bool
    credential_provider: CredentialProvider | None
    logger: logging.Logger | None


@dataclass(frozen=True)
class Target:
    """Where the broker is, and who asks.

    Attributes:
        where: Scheme, host and port or path, database: what may be shown.
        connection: The keywords of a redis-py connection.
        tls: Whether it speaks TLS.
        unix: Whether it is a Unix socket.
        query: The options of the URL, not read yet.
    """

    where: str
    connection: dict[str, Any]
    tls: bool
    unix: bool
    query: str

    @classmethod
    def of(cls, url: str) -> Target:
        """What ``url`` says.

        Raises:
            ConfigurationError: It is no URL of a Redis server. Its text shows no password.
        """
        scheme, separator, _ = url.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in SCHEMES:
            raise ConfigurationError(
                f"a Redis URL begins with {', '.join(f'{known}://' for known in SCHEMES)}, "
                f"as in redis://localhost:6379"
            )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigurationError(f"this {scheme}:// URL cannot be read: {error}") from None
        connection: dict[str, Any] = {}
        for name, text in ("username", parts.username), ("password", parts.password):
            if text:
                connection[name] = unquote(text)
        if scheme == "redis+unix":
            path = unquote((parts.hostname or "") + parts.path)
            if not path.startswith("/"):
                raise ConfigurationError(
                    "a Unix socket has an absolute path, with three slashes: "
                    "redis+unix:///run/redis.sock"
                )
            connection["path"] = path
            return cls(f"redis+unix://{path}", connection, tls=False, unix=True, query=parts.query)
        host, port = parts.hostname or "localhost", port or 6379
        database = parts.path.strip("/")
        if database and not database.isdecimal():
            raise ConfigurationError(
                f"the path of a Redis URL is the number of a database, not {parts.path!r}"
            )
        connection |= {"host": host, "port": port, "db": int(database or 0)}
        shown = f"[{host}]" if ":" in host else host
        where = f"{scheme}://{shown}:{port}" + (f"/{database}" if database else "")
        return cls(where, connection, tls=scheme == "rediss", unix=False, query=parts.query)
