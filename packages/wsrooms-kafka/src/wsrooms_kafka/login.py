"""How to log in at Kafka, and why that did not work: aiokafka only logs the reason."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest

from wsrooms.errors import (
    AuthenticationFailed,
    ConfigurationError,
    PermissionDenied,
    TransportError,
    TransportUnavailable,
)
from wsrooms.transports import BrokerUrl, certificate_error

if TYPE_CHECKING:
    from wsrooms_kafka.options import KafkaOptions
    from wsrooms_kafka.transport import KafkaTransport

__all__ = ["Login", "cause", "security"]

NO_LOGINS = IllegalSaslStateError.errno
"""What a port answers that knows no logins."""


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


class _WithoutPasswords(logging.Filter):
    """Leaves out what aiokafka says of each request at level DEBUG where that is a password."""

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args if isinstance(record.args, tuple) else ()
        return not any("SaslAuthenticate" in type(each).__name__ for each in args)


_WITHOUT_PASSWORDS = _WithoutPasswords()


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
        logging.getLogger("aiokafka.conn").addFilter(_WITHOUT_PASSWORDS)
        given["sasl_mechanism"] = options.sasl_mechanism
        given["sasl_plain_username"] = login.user
        given["sasl_plain_password"] = login.password
        given["security_protocol"] = "SASL_SSL" if encrypted else "SASL_PLAINTEXT"
    else:
        given["security_protocol"] = "SSL" if encrypted else "PLAINTEXT"
    return given


async def cause(transport: KafkaTransport, error: KafkaError) -> TransportError:
    """What to tell of ``error``: asks the brokers once more, without aiokafka's clients."""
    where, topic = transport.where, transport.topic
    if isinstance(error, TopicAuthorizationFailedError):
        return PermissionDenied(topic, f"{where} denies the topic {topic}: {error}")
    if isinstance(error, ClusterAuthorizationFailedError):
        return PermissionDenied(topic, f"{where} denies writing with idempotence: {error}")
    told: TransportError = TransportUnavailable(f"{where} cannot be reached: {_words(error)}")
    given = await security(transport)
    for address in transport.addresses:
        try:
            connection = await create_conn(
                address.host,
                address.port,
                client_id=transport.options.client_name,
                request_timeout_ms=1000,
                **given,
            )
        except (KafkaError, OSError, TimeoutError) as failure:
            told = _told(transport, failure)
            if isinstance(told, AuthenticationFailed):
                break
            continue
        try:
            if not transport.login.user and await _wants_login(connection):
                return AuthenticationFailed(
                    f"{where} wants a login: give a user and a password, as in "
                    f"{transport.scheme}://user:password@…"
                )
        finally:
            connection.close()
    return told


def _told(transport: KafkaTransport, failure: Exception) -> TransportError:
    where = transport.where
    if isinstance(failure, SaslAuthenticationFailed):
        return AuthenticationFailed(f"{where} refused the login: {_words(failure)}")
    if isinstance(failure, UnsupportedSaslMechanismError):
        mechanism = transport.options.sasl_mechanism
        return AuthenticationFailed(f"{where} has not enabled sasl_mechanism {mechanism}")
    if isinstance(failure, IllegalSaslStateError):
        return TransportUnavailable(f"{where} knows no logins at that port: leave the user out")
    if (words := certificate_error(failure)) is not None:
        return AuthenticationFailed(f"the certificate of {where} is not to be trusted: {words}")
    hint = ""
    if transport.scheme == "kafka+ssl":
        hint = "; does it speak TLS there?"
    elif isinstance(failure, KafkaError | ConnectionResetError):
        hint = "; if it wants TLS there, write kafka+ssl://"
    if isinstance(failure, ssl.SSLError | ConnectionResetError):
        return TransportUnavailable(f"{where} has ended the connection: {failure}{hint}")
    return TransportUnavailable(f"{where} cannot be reached: {_words(failure)}{hint}")


async def _wants_login(connection: AIOKafkaConnection) -> bool:
    """Whether that port knows logins, which one that wants none does not."""
    try:
        answer = await connection.send(SaslHandShakeRequest("PLAIN"))
    except (KafkaError, OSError, TimeoutError):
        return False
    return answer.error_code != NO_LOGINS


def _words(error: Exception) -> str:
    """What the broker, or aiokafka, says; its name where it says nothing."""
    if isinstance(error, KafkaError):
        text = ", ".join(map(str, error.args)) if error.args else ""
        return text or type(error).__name__
    return str(error) or type(error).__name__
