"""The Kafka servers of the tests: their logs, logins, rights and proxies, and clusters of them."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.conn import create_conn
from aiokafka.errors import SaslAuthenticationFailed, TopicAuthorizationFailedError

from tests.brokers import DidNotStart, KafkaServer, kafka_cluster, kafka_server
from tests.brokers.kafka import IMAGE, KAFKA
from tests.brokers.kafka_rights import Operation
from tests.conformance.running import lasting
from tests.deadlines import DEADLINE
from tests.transports.test_closing import sockets

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.name != "posix", reason="brokers run on Linux and macOS")

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = 'a "secret" with \\'


@pytest.fixture(scope="module")
def guarded() -> Iterator[KafkaServer]:
    """Give one that lets users in, over TLS, and grants rights."""
    made = kafka_server(
        IMAGE,
        sasl="SCRAM-SHA-256,PLAIN",
        users={"alice": PASSWORD},
        acls=True,
        tls=True,
        proxies=("SASL_PLAINTEXT", "PLAINTEXT"),
    )
    with lasting(made) as server:
        yield server


async def make_topic(server: KafkaServer, name: str, copies: int = 1) -> None:
    async with server.admin() as admin:
        answer: Any = await admin.create_topics([NewTopic(name, 2, copies)])
    assert answer.topic_errors[0][1] == 0, answer


async def topics(server: KafkaServer) -> list[str]:
    async with server.admin() as admin:
        return list(await admin.list_topics())


async def publish(server: KafkaServer, topic: str, port: int | None = None, **how: Any) -> int:
    """Publish a message; returns its offset."""
    at = f"{server.host}:{port or server.port}"
    producer = AIOKafkaProducer(bootstrap_servers=at, acks="all", **how)
    try:
        async with asyncio.timeout(DEADLINE):
            await producer.start()
            return int((await producer.send_and_wait(topic, b"hello", key=b"key")).offset)
    finally:
        await producer.stop()


def login(user: str, password: str, mechanism: str = "SCRAM-SHA-256") -> dict[str, Any]:
    names = {"sasl_plain_username": user, "sasl_plain_password": password}
    return {**names, "sasl_mechanism": mechanism, "security_protocol": "SASL_PLAINTEXT"}


async def log_in(server: KafkaServer, user: str, password: str, **how: Any) -> None:
    """Raise what aiokafka makes of the server's answer."""
    security: dict[str, Any] = {**login(user, password), "security_protocol": "SASL_SSL", **how}
    before = sockets()
    try:
        (await create_conn(server.host, server.port, **security)).close()
    finally:
        # Over TLS it waits for the peer, and would outlive the loop of a test that does not.
        async with asyncio.timeout(DEADLINE):
            while sockets() > before:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)


async def test_a_restarted_one_has_its_settings_and_its_log_until_it_loses_that(
    kafka_image: str,
) -> None:
    async with kafka_server(kafka_image, settings={"AUTO_CREATE_TOPICS_ENABLE": "true"}) as server:
        assert await publish(server, "made-by-a-publish") == 0
        await server.restart()
        assert await publish(server, "made-by-a-publish") == 1
        assert await publish(server, "made-by-another") == 0
        await server.restart(keep_log=False)
        assert await topics(server) == []


async def test_tansu_serves_but_keeps_no_log() -> None:
    async with kafka_server(KAFKA.wheel) as server:
        await make_topic(server, "lost")
        assert await publish(server, "lost") == 0
        await server.restart()
        assert await topics(server) == []


async def test_users_log_in_over_tls_with_their_passwords(guarded: KafkaServer) -> None:
    assert guarded.certificates
    context = guarded.certificates.context()
    for mechanism in ("PLAIN", "SCRAM-SHA-256"):
        await log_in(guarded, "alice", PASSWORD, ssl_context=context, sasl_mechanism=mechanism)
        with pytest.raises(SaslAuthenticationFailed):
            await log_in(guarded, "alice", "", ssl_context=context, sasl_mechanism=mechanism)
    with pytest.raises(ssl.SSLCertVerificationError):
        await log_in(guarded, "alice", PASSWORD, ssl_context=ssl.create_default_context())


async def test_users_of_scram_come_and_go_while_it_runs(guarded: KafkaServer) -> None:
    assert guarded.certificates
    context = guarded.certificates.context()
    await guarded.rights.add_user("bob", "bobs")
    await log_in(guarded, "bob", "bobs", ssl_context=context)
    await guarded.rights.remove_user("bob")
    with pytest.raises(SaslAuthenticationFailed):
        await log_in(guarded, "bob", "bobs", ssl_context=context)


async def test_users_may_do_what_they_are_granted(guarded: KafkaServer) -> None:
    await make_topic(guarded, "granted")
    async with guarded.proxy() as proxy:
        alice = login("alice", PASSWORD)
        with pytest.raises(TopicAuthorizationFailedError):
            await publish(guarded, "granted", proxy.port, **alice)
        await guarded.rights.grant("alice", "granted", Operation.WRITE, Operation.DESCRIBE)
        assert await publish(guarded, "granted", proxy.port, **alice) == 0
        await guarded.rights.revoke("alice")
        with pytest.raises(TopicAuthorizationFailedError):
            await publish(guarded, "granted", proxy.port, **alice)


async def test_who_comes_through_a_proxy_stays_with_it(guarded: KafkaServer) -> None:
    await make_topic(guarded, "proxied")
    async with guarded.proxy(1) as proxy:
        assert await publish(guarded, "proxied", proxy.port) == 0
        # One asks where the broker is, and another one goes there.
        assert proxy.accepted == 2


async def test_one_that_cannot_start_tells_what_it_said() -> None:
    with pytest.raises(DidNotStart, match="Unable to parse nowhere"):
        await kafka_server(IMAGE, settings={"ADVERTISED_LISTENERS": "nowhere"}).__aenter__()


async def test_a_cluster_goes_on_without_one_of_three_which_comes_back_to_it() -> None:
    async with kafka_cluster(3) as servers:
        first, second, third = servers
        await make_topic(first, "kept", copies=3)
        assert await publish(first, "kept") == 0
        await second.kill()
        assert await publish(third, "kept") == 1
        await second.start()
        await third.kill()
        assert await publish(second, "kept") == 2


def test_a_command_gets_the_url_of_a_kafka() -> None:
    command = [sys.executable, "-m", "tests.brokers", "run", "echo", "at {kafka_url}"]
    variables = {**os.environ, KAFKA.variable: KAFKA.wheel}
    said = subprocess.check_output(command, env=variables, cwd=ROOT, text=True)
    assert said.startswith("at kafka://127.0.0.1:")
