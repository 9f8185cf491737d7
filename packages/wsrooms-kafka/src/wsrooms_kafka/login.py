"""Who logs in at Kafka, and how a connection is encrypted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wsrooms.errors import ConfigurationError, TransportUnavailable

if TYPE_CHECKING:
    from wsrooms.transports import BrokerUrl
    from wsrooms_kafka.options import KafkaOptions
    from wsrooms_kafka.transport import KafkaTransport

__all__ = ["Login", "security"]


@dataclass(frozen=True)
class Login:
    """Who logs in; nobody, where there is no user.

    Attributes:
        user: Of the broker.
        password: Likewise.
    """

    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: BrokerUrl, options: KafkaOptions) -> Login:
        """What the URL says, but for what the options do.

        Raises:
            ConfigurationError: It is half a login, or one that cannot be said.
        """
        user = url.user if options.username is None else options.username
        password = url.password if options.password is None else options.password
        if bool(user) != bool(password):
            missing, there = ("password", "user") if user else ("user", "password")
            raise ConfigurationError(f"there is a {there} for Kafka and no {missing}: give both")
        if "\0" in user + password:
            raise ConfigurationError("a user or password for Kafka has a NUL in it")
        return cls(user, password)


async def security(transport: KafkaTransport) -> dict[str, Any]:
    """The keywords of aiokafka for encryption and login; reads certificates in a thread.

    Raises:
        TransportUnavailable: A file of certificates is none.
    """
    encrypted = transport.scheme == "kafka+ssl"
    login, options = transport.login, transport.options
    given: dict[str, Any] = {}
    if encrypted:
        loop = asyncio.get_running_loop()
        try:
            given["ssl_context"] = options.tls or await loop.run_in_executor(
                None, options.ssl_context
            )
        except OSError as error:
            raise TransportUnavailable(f"the certificates for {transport.where}: {error}") from None
    if login.user:
        given["sasl_mechanism"] = options.sasl_mechanism
        given["sasl_plain_username"] = login.user
        given["sasl_plain_password"] = login.password
        given["security_protocol"] = "SASL_SSL" if encrypted else "SASL_PLAINTEXT"
    else:
        given["security_protocol"] = "SSL" if encrypted else "PLAINTEXT"
    return given
