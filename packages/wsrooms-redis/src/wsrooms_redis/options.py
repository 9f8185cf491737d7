"""The options of the Redis transport."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from redis.credentials import CredentialProvider

from wsrooms.errors import ConfigurationError
from wsrooms.transports import BrokerOptions

__all__ = ["RedisKeywords", "RedisOptions"]

TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS_OPTIONS = (*TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname")


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
        sentinel_username: For the login at the sentinels of ``redis+sentinel://``.
        sentinel_password: Likewise.
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
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    credential_provider: CredentialProvider | None = None
    logger: logging.Logger | None = None

    def check_tls(self, scheme: str) -> None:
        """Check that the options of TLS are used, and that their files can be read.

        Raises:
            ConfigurationError: They are not; what was meant to be encrypted would not be.
        """
        for name in TLS_OPTIONS:
            value = getattr(self, name)
            if value == getattr(RedisOptions, name):
                continue
            if scheme != "rediss":
                raise ConfigurationError(
                    f"option {name!r} needs TLS, and {scheme}:// has none: write rediss://"
                )
            if name in TLS_FILES:
                try:
                    with open(value, "rb"):
                        pass
                except OSError as error:
                    raise ConfigurationError(f"option {name!r} cannot be read: {error}") from None


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
    sentinel_username: str | None
    sentinel_password: str | None
    credential_provider: CredentialProvider | None
    logger: logging.Logger | None
