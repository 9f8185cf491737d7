"""Logins by PLAIN and SCRAM, right ones and wrong ones; what is told of these, and what never."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers.kafka_rights import Operation
from tests.kafka.crew import talk
from tests.kafka.servers import PLAIN_USERS, fresh, open_server, secured_server
from wsrooms.errors import AuthenticationFailed, TransportUnavailable
from wsrooms_kafka import KafkaTransport

if TYPE_CHECKING:
    from tests.brokers import KafkaServer

SCRAM: dict[str, Any] = {"sasl_mechanism": "SCRAM-SHA-256"}


async def welcome(server: KafkaServer, user: str) -> str:
    """Let ``user`` do everything with a topic of their own; its namespace."""
    namespace = fresh()
    await server.rights.grant(user, f"wsrooms-{namespace}", Operation.ALL)
    return namespace


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
async def test_a_login_is_right_or_told_and_never_shown(
    mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    password = PLAIN_USERS["ann"]
    wrong: dict[str, dict[str, Any]] = {
        "another": {"username": "ann", "password": "s3cret-other"},
        "nobody": {"username": "zoe", "password": password},
        "somebody else's": {"username": "bob", "password": password},
    }
    async with secured_server() as server:
        await server.rights.add_user("ann", password)
        options: dict[str, Any] = {
            "namespace": await welcome(server, "ann"),
            "sasl_mechanism": mechanism,
        }
        ann: dict[str, Any] = {"username": "ann", "password": password, **options}
        await talk(KafkaTransport(server.url, **ann), KafkaTransport(server.url, **ann))
        for what, login in wrong.items():
            transport = KafkaTransport(server.url, **{**options, **login})
            with pytest.raises(AuthenticationFailed, match="refused the login: ") as caught:
                await transport.start()
            told = str(caught.value)
            assert f"{server.host}:{server.port}" in told, what
            assert "invalid" in told.lower(), what  # Kafka's own words
            said = told + repr(transport) + repr(transport.options)
            assert not [one for one in (password, "s3cret-other") if one in said], what
    for secret in (password, "s3cret-other"):
        for form in (secret, repr(secret)[1:-1], repr(secret.encode())[2:-1]):
            assert form not in caplog.text


async def test_after_a_refusal_another_broker_is_asked_first() -> None:
    async with secured_server() as server:
        brokers = f"{server.host}:{server.port},localhost:{server.port}"
        transport = KafkaTransport(f"kafka://ann:s3cret-other@{brokers}")
        with pytest.raises(AuthenticationFailed):
            await transport.start()
        assert [each.host for each in transport.target.addresses] == ["localhost", server.host]


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("a,b=c", "d,e=f"),
        ("=2C", "=3D"),
        ("ann-2", "пароль 🎉"),  # Kafka itself takes no names beyond ASCII
        ("x" * 100, "y" * 100),
        ("with space", " "),
    ],
)
async def test_names_and_passwords_may_be_odd(user: str, password: str) -> None:
    async with secured_server() as server:
        await server.rights.add_user(user, password)
        namespace = await welcome(server, user)
        transport = KafkaTransport(
            server.url, username=user, password=password, namespace=namespace, **SCRAM
        )
        await transport.start()
        await transport.publish("c", "x")
        await transport.close()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512"])
async def test_a_mechanism_that_is_not_enabled_is_told(mechanism: str) -> None:
    async with secured_server() as server:
        transport = KafkaTransport(
            f"{server.url}?username=ann&password=x&sasl_mechanism={mechanism}"
        )
        with pytest.raises(AuthenticationFailed, match=f"not enabled.* {mechanism}") as caught:
            await transport.start()
        assert "AIOKafka" not in str(caught.value)


async def test_whoever_does_not_log_in_where_one_has_to_is_told_so() -> None:
    async with secured_server() as server:
        with pytest.raises(AuthenticationFailed, match="wants a login"):
            await KafkaTransport(server.url).start()


async def test_a_login_where_nobody_has_to_is_told() -> None:
    async with open_server() as server:
        transport = KafkaTransport(server.url, username="ann", password="sesame")
        with pytest.raises(TransportUnavailable, match="knows no logins") as caught:
            await transport.start()
        assert "sesame" not in str(caught.value)
        assert "AIOKafka" not in str(caught.value)


async def test_a_start_that_was_refused_may_be_tried_again() -> None:
    user = fresh()
    async with secured_server() as server:
        namespace = await welcome(server, user)
        transport = KafkaTransport(
            server.url, username=user, password="later", namespace=namespace, **SCRAM
        )
        with pytest.raises(AuthenticationFailed):
            await transport.start()
        await server.rights.add_user(user, "later")
        await transport.start()
        await transport.publish("c", "x")
        await transport.close()
