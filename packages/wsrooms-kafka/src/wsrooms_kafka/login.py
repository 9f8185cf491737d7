"""How to log in at Kafka, and why that did not work: aiokafka only logs the reason."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from wsrooms.errors import (
    AuthenticationFailed,
    PermissionDenied,
    TransportError,
    TransportUnavailable,
)

if TYPE_CHECKING:
    from wsrooms_kafka.transport import KafkaTransport

__all__ = ["cause", "security"]


async def security(transport: KafkaTransport) -> dict[str, Any]:
    """The keywords of aiokafka for encryption and login; reads certificates in a thread."""
    encrypted = transport.scheme == "kafka+ssl"
    protocol = "SSL" if encrypted else "PLAINTEXT"
    given: dict[str, Any] = dict(transport.login)
    if given:
        protocol = "SASL_SSL" if encrypted else "SASL_PLAINTEXT"
        given["sasl_mechanism"] = transport.options.sasl_mechanism
    if encrypted:
        load = transport.options.ssl_context
        context = transport.options.tls
        given["ssl_context"] = context or await asyncio.get_running_loop().run_in_executor(
            None, load
        )
    return {**given, "security_protocol": protocol}


async def cause(transport: KafkaTransport, error: KafkaError) -> TransportError:
    """What to tell of ``error``: asks the brokers once more, without aiokafka's clients."""
    where = transport.where
    if isinstance(error, TopicAuthorizationFailedError | ClusterAuthorizationFailedError):
        return PermissionDenied(transport.topic, f"{where} denies {transport.topic}: {error}")
    told: TransportError = TransportUnavailable(f"{where} cannot be reached: {error}")
    for address in transport.addresses:
        try:
            connection = await create_conn(
                address.host,
                address.port,
                client_id=transport.options.client_name,
                request_timeout_ms=1000,
                **await security(transport),
            )
        except (SaslAuthenticationFailed, UnsupportedSaslMechanismError) as failure:
            return AuthenticationFailed(f"{where} refused the login: {failure}")
        except ssl.SSLCertVerificationError as failure:
            return AuthenticationFailed(
                f"the certificate of {where} is not to be trusted: {failure.verify_message}"
            )
        except IllegalSaslStateError as failure:
            told = TransportUnavailable(f"{where} knows no logins at that port: {failure}")
        except (KafkaError, OSError) as failure:
            told = TransportUnavailable(f"{where} cannot be reached: {failure}")
        else:
            connection.close()
    return told
