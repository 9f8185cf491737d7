"""The options of the Redis transport."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from redis.credentials import CredentialProvider

from wsrooms.transports import TlsKeywords, TlsOptions

__all__ = ["RedisKeywords", "RedisOptions"]


@dataclass(frozen=True, kw_only=True)
class RedisOptions(TlsOptions):
    """Options of the Redis transport, with those of every transport.

    Attributes:
        client_name: What ``CLIENT LIST`` shows for its connections.
        max_payload: Bytes that a message may have. A message over a quarter of the broker's
            ``client-output-buffer-limit pubsub`` (32 MiB by default) endangers whoever reads
            slowly, hence 8 MiB.
        sentinel_username: For the login at the sentinels of ``redis+sentinel://``.
        sentinel_password: Likewise.
        credential_provider: Asked for user and password at each connect; as redis-py's.
        logger: For what nobody else is told.
    """

    client_name: str = "wsrooms"
    max_payload: int = 8 * 1024 * 1024
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    credential_provider: CredentialProvider | None = None
    logger: logging.Logger | None = None


class RedisKeywords(TlsKeywords, total=False):
    """The keywords of :class:`RedisTransport`, which :class:`RedisOptions` explains."""

    client_name: str
    max_payload: int
    sentinel_username: str | None
    sentinel_password: str | None
    credential_provider: CredentialProvider | None
    logger: logging.Logger | None
