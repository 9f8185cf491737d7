"""The first question to the cluster, and why it was not answered: aiokafka only logs that.

Each of aiokafka's clients would ask it for itself, with a login of its own, and would leave
a connection behind where it is cancelled meanwhile. So it is asked once, and they are told.
"""

from __future__ import annotations

import asyncio
import ssl
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
from aiokafka.protocol.metadata import MetadataRequest

from wsrooms.errors import (
    AuthenticationFailed,
    PermissionDenied,
    TransportError,
    TransportUnavailable,
)
from wsrooms.transports import Address, certificate_error, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka.protocol.metadata import MetadataResponse

    from wsrooms_kafka.target import Target

__all__ = ["asked", "cause", "tls_hint"]

NO_LOGINS: int = IllegalSaslStateError.errno
"""What a port answers that knows no logins."""

FAILURES: tuple[type[Exception], ...] = (KafkaError, OSError, TimeoutError)
"""What aiokafka raises where a broker does not do what it is asked."""

CONNECTION = (
    "client_id",
    "security_protocol",
    "ssl_context",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
)
"""Of the keywords of its clients, those of a connection."""

AGAIN = 0.05
"""Seconds until brokers are asked again of which one knew of none."""

FOR_THE_REST = 0.25
"""Of the time to connect: what is left for the rest where brokers are asked again."""


class _Fenced(TransportUnavailable):
    """It has just started, or stood still: its controller does not let it in."""


async def asked(
    target: Target, given: dict[str, Any], until: float, turn: Callable[[], None]
) -> MetadataResponse:
    """Which brokers there are, as the first one says that knows; they share the time.

    One that its controller does not let in answers, and knows of nobody. If none knows more,
    all are asked again while there is time.

    Args:
        target: Which brokers, and who asks.
        given: What aiokafka is told.
        until: When the last one has to have answered, by the loop's time.
        turn: Puts the first one last; called after each that was of no use. What it raises
            ends the asking.

    Raises:
        AuthenticationFailed: One refused the login, or its certificate is not to be trusted.
        TransportUnavailable: None has answered, or none that knew of any.
    """
    error: TransportError | None = None
    fenced: _Fenced | None = None
    share = target.options.connect_timeout / len(target.addresses)
    enough = until - FOR_THE_REST * target.options.connect_timeout
    loop = asyncio.get_running_loop()
    while True:
        for _ in range(len(target.addresses)):
            try:
                async with asyncio.timeout_at(min(loop.time() + 0.95 * share, until)):
                    return await _answer(target, target.addresses[0], given)
            except TimeoutError:
                told = f"{_name(target)} did not answer within {share:.2g} s"
                error = TransportUnavailable(told + tls_hint(target))
            except _Fenced as failure:
                fenced = failure
            except TransportUnavailable as failure:
                error = failure
            except AuthenticationFailed:
                turn()
                raise
            turn()
        if fenced is None or loop.time() > enough:
            break
        await asyncio.sleep(AGAIN)
    told_last = fenced or error
    assert told_last is not None
    raise told_last


async def _answer(target: Target, address: Address, given: dict[str, Any]) -> MetadataResponse:
    where = _name(target)
    try:
        connection = await _connected(address, given)
    except TimeoutError:
        raise
    except (KafkaError, OSError) as failure:
        raise _told(target, failure) from None
    try:
        metadata = await connection.send(MetadataRequest([]))
    except (KafkaError, OSError) as failure:
        if not target.login and await _wants_login(address, given):
            raise AuthenticationFailed(
                f"{where} wants a login: give a user and a password, as in "
                f"{target.scheme}://user:password@{address}"
            ) from None
        raise _told(target, failure) from None
    finally:
        _leave(connection)
    if not metadata.brokers:
        raise _Fenced(
            f"{where} answers and knows no brokers, not even itself: its controller does not "
            "let it in (it is fenced); see the log of the controller"
        )
    return metadata


async def _connected(address: Address, given: dict[str, Any]) -> AIOKafkaConnection:
    timeout = given["request_timeout_ms"]
    options = {name: given[name] for name in CONNECTION if name in given}
    return await create_conn(address.host, address.port, request_timeout_ms=timeout, **options)


def _leave(connection: AIOKafkaConnection) -> None:
    """Close ``connection`` at once: with TLS it would wait for half a minute for the peer."""
    writer = getattr(connection, "_writer", None)
    connection.close()
    if writer is not None:
        writer.transport.abort()


async def _wants_login(address: Address, given: dict[str, Any]) -> bool:
    """Whether that port knows logins, which one that wants none does not."""
    try:
        connection = await _connected(address, given)
        try:
            answer = await connection.send(SaslHandShakeRequest("PLAIN"))
        finally:
            _leave(connection)
    except FAILURES:
        return False
    return answer.error_code != NO_LOGINS


async def cause(
    target: Target, error: Exception, metadata: MetadataResponse, given: dict[str, Any]
) -> TransportError:
    """What to tell of ``error``, which the cluster was not asked for but after."""
    where, topic = target.where, target.topic
    if isinstance(error, TopicAuthorizationFailedError):
        return PermissionDenied(topic, f"{where} denies the topic {topic}: {_words(error)}")
    if isinstance(error, ClusterAuthorizationFailedError):
        return PermissionDenied(topic, f"{where} denies writing with idempotence: {_words(error)}")
    told: TransportError = TransportUnavailable(f"{where}: {_words(error)}")
    brokers = [Address(host, port) for _, host, port, *_ in metadata.brokers]
    for broker in brokers:
        try:
            _leave(await _connected(broker, given))
        except FAILURES as failure:
            told = TransportUnavailable(
                f"{where} leads to its broker {broker}, which cannot be reached: "
                f"{_words(failure)} (see the broker's advertised.listeners)"
            )
        else:
            return TransportUnavailable(f"{where}: {_words(error)}")
    return told


def _told(target: Target, failure: Exception) -> TransportError:
    where = _name(target)
    if isinstance(failure, SaslAuthenticationFailed):
        return AuthenticationFailed(f"{where} refused the login: {_words(failure)}")
    if isinstance(failure, UnsupportedSaslMechanismError):
        mechanism = target.options.sasl_mechanism
        return AuthenticationFailed(f"{where} has not enabled sasl_mechanism {mechanism}")
    if isinstance(failure, IllegalSaslStateError):
        return TransportUnavailable(f"{where} knows no logins at that port: leave the user out")
    if (certificate := certificate_error(failure, where)) is not None:
        return certificate
    hint = tls_hint(target)
    if not hint and not isinstance(failure, ConnectionRefusedError):
        hint = "; if it wants TLS there, write kafka+ssl://"
    if isinstance(failure, ssl.SSLError | ConnectionResetError | KafkaError):
        return TransportUnavailable(f"{where} has ended the connection{hint}")
    return TransportUnavailable(f"{where} cannot be reached: {_words(failure)}{hint}")


def tls_hint(target: Target) -> str:
    """What to think of a broker of ``target`` that does not answer."""
    return "; does it speak TLS there?" if target.scheme == "kafka+ssl" else ""


def _name(target: Target) -> str:
    return shown(target.scheme, target.addresses[0])


def _words(error: Exception) -> str:
    """What the broker, or aiokafka, says; its name where it says nothing."""
    if isinstance(error, TimeoutError):
        return "a broker did not answer in time"
    if isinstance(error, KafkaError):
        text = ", ".join(map(str, error.args))
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    return str(error) or type(error).__name__
