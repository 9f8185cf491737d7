"""How a connection to Kafka is encrypted and logged in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wsrooms.errors import TransportUnavailable

if TYPE_CHECKING:
    from wsrooms_kafka.target import Target

__all__ = ["security"]


async def security(target: Target) -> dict[str, Any]:
    """The keywords of aiokafka for encryption and login; reads certificates in a thread.

    Raises:
        TransportUnavailable: A file of certificates is none.
    """
    encrypted = target.scheme == "kafka+ssl"
    options = target.options
    given: dict[str, Any] = {}
    if encrypted:
        try:
            given["ssl_context"] = options.tls or await options.load_ssl_context()
        except OSError as error:
            raise TransportUnavailable(f"the certificates for {target.where}: {error}") from None
    if target.login:
        given.update(target.login)
        given["sasl_mechanism"] = options.sasl_mechanism
        given["security_protocol"] = "SASL_SSL" if encrypted else "SASL_PLAINTEXT"
    else:
        given["security_protocol"] = "SSL" if encrypted else "PLAINTEXT"
    return given
