"""TLS with Kafka: whom it trusts, what it shows, and logins over it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests.brokers.kafka_rights import Operation
from tests.deadlines import PATIENT
from tests.kafka.crew import talk
from tests.kafka.servers import PLAIN_USERS, TLS_LOGIN, TLS_ONLY, fresh, secured_server
from wsrooms.errors import AuthenticationFailed, TransportError, TransportUnavailable
from wsrooms_kafka import KafkaTransport

if TYPE_CHECKING:
    from tests.brokers import KafkaServer
    from wsrooms.testing import TcpProxy


def trusting(server: KafkaServer) -> dict[str, Any]:
    assert server.certificates is not None
    return {"ssl_ca_certs": str(server.certificates.ca), **PATIENT}


def at(proxy: TcpProxy, host: str = "127.0.0.1", scheme: str = "kafka+ssl") -> str:
    return f"{scheme}://{host}:{proxy.port}"


async def shared_topic(server: KafkaServer) -> str:
    """A namespace whose topic is everybody's."""
    namespace = fresh()
    await server.rights.grant("*", f"wsrooms-{namespace}", Operation.ALL)
    return namespace


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
async def test_a_login_goes_over_tls_to_whom_we_trust(mechanism: str) -> None:
    user = "ann"
    async with secured_server() as server, server.proxy(TLS_LOGIN) as proxy:
        await server.rights.add_user(user, PLAIN_USERS[user])
        options: dict[str, Any] = {
            "namespace": await shared_topic(server),
            "sasl_mechanism": mechanism,
            "username": user,
        }
        right = {"password": PLAIN_USERS[user], **options}
        ca = trusting(server)
        await talk(
            KafkaTransport(at(proxy), **right, **ca), KafkaTransport(at(proxy), **right, **ca)
        )
        with pytest.raises(AuthenticationFailed, match="refused the login"):
            await KafkaTransport(at(proxy), password="x", **options, **ca).start()
        with pytest.raises(AuthenticationFailed, match="is not to be trusted"):
            await KafkaTransport(at(proxy), **right, **PATIENT).start()
        with pytest.raises(AuthenticationFailed, match="wants a login"):
            await KafkaTransport(at(proxy), **ca).start()


async def test_a_context_says_it_all() -> None:
    async with secured_server() as server, server.proxy(TLS_ONLY) as proxy:
        assert server.certificates is not None
        namespace = await shared_topic(server)
        both = (
            KafkaTransport(
                at(proxy), tls=server.certificates.context(), namespace=namespace, **PATIENT
            )
            for _ in range(2)
        )
        await talk(*both)
        strict = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
        with pytest.raises(AuthenticationFailed, match="is not to be trusted"):
            await KafkaTransport(at(proxy), tls=strict, **PATIENT).start()


async def test_a_broker_that_wants_a_certificate_gets_it_or_says_so() -> None:
    async with secured_server() as server, server.proxy(TLS_ONLY) as proxy:
        assert server.certificates is not None
        options: dict[str, Any] = {"namespace": await shared_topic(server), **trusting(server)}
        ours: dict[str, Any] = {
            "ssl_certfile": str(server.certificates.client_certificate),
            "ssl_keyfile": str(server.certificates.client_key),
        }
        transport = KafkaTransport(at(proxy), **options, **ours)
        await transport.start()
        await transport.publish("c", "x")
        await transport.close()
        with pytest.raises(TransportError, match=r"certificate|TLS"):
            await KafkaTransport(at(proxy), **options).start()
        stranger = ssl.create_default_context(cafile=str(server.certificates.ca))
        trustme.CA().issue_cert("client@localhost").configure_cert(stranger)
        with pytest.raises(TransportError, match=r"certificate|TLS|CA"):
            await KafkaTransport(at(proxy), tls=stranger, **PATIENT).start()


async def test_a_certificate_and_a_key_that_do_not_fit_are_told() -> None:
    async with secured_server() as server, server.proxy(TLS_ONLY) as proxy:
        assert server.certificates is not None
        mixed: dict[str, Any] = {
            "ssl_certfile": str(server.certificates.client_certificate),
            "ssl_keyfile": str(server.certificates.server_key),
        }
        with pytest.raises(TransportError, match=r"ssl_certfile|KEY_VALUES_MISMATCH"):
            await KafkaTransport(at(proxy), **mixed, **trusting(server)).start()


async def test_a_file_that_is_no_certificate_is_told(tmp_path: Any) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(TransportError, match="certificate"):
        await KafkaTransport("kafka+ssl://127.0.0.1:1", ssl_ca_certs=str(file)).start()


@pytest.mark.parametrize("number", [TLS_LOGIN, TLS_ONLY])
async def test_whoever_forgets_tls_is_told_to_try_it(number: int) -> None:
    async with secured_server() as server, server.proxy(number) as proxy:
        transport = KafkaTransport(at(proxy, scheme="kafka"), **PATIENT)
        with pytest.raises(TransportUnavailable, match=r"write kafka\+ssl://"):
            await transport.start()
