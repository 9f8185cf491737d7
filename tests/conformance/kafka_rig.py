"""The rig of a Kafka server: the transport, a proxy before it, and control over the server."""

from __future__ import annotations

import asyncio
import secrets
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer

from tests.brokers import KafkaServer, kafka_images, kafka_server
from tests.brokers.kafka import KAFKA
from tests.conformance.server_rig import WRONG, ServerRig
from tests.deadlines import DEADLINE
from wsrooms.testing import TcpProxy
from wsrooms.testing.conformance import NotApplicable, Stranger
from wsrooms_kafka import KafkaOptions, KafkaTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from wsrooms.testing.conformance import Misfit

BEFORE_ALL, BEFORE_LOGINS, BEFORE_TLS = range(3)
"""The proxies of a rig's server."""

MECHANISM = "SCRAM-SHA-256"
"""With which users come and go while a server runs."""

RESTART = 60.0
"""Seconds that a killed server may take to be back; what is published meanwhile waits."""

PARTITIONS = KafkaOptions().partitions


def server_of(image: str | None) -> KafkaServer:
    """A server that a rig can use: Apache's knows users and TLS, where a proxy is before it."""
    image = image or kafka_images()[0]
    if image not in KAFKA.images:
        return kafka_server(image)
    return kafka_server(image, proxies=("PLAINTEXT", "SASL_PLAINTEXT", "SSL"))


def proxy_of(server: KafkaServer) -> TcpProxy:
    """What is before the server; past Tansu's, clients go after their first question."""
    if server.real:
        return server.proxy(BEFORE_ALL)
    return TcpProxy(server.host, server.port)


class KafkaRig(ServerRig[KafkaServer, KafkaTransport]):
    """A server of Kafka, alone, and one topic on it.

    Attributes:
        namespace: Of its topic, which is its own alone unless one is given.
        outbox_age: How long messages of its transports wait, unless a case says otherwise.
    """

    scheme = "kafka"
    all_options = KafkaOptions
    # A connection to Kafka takes too many round trips for a busy machine's second.
    options = frozenset(KafkaOptions.names()) - {"connect_timeout"}
    keeps_log = True
    patience = 10.0  # one that stood still has then 50 MB to read

    def __init__(
        self,
        server: KafkaServer,
        proxy: TcpProxy,
        image: str | None,
        kind: type[KafkaTransport] = KafkaTransport,
        namespace: str | None = None,
    ) -> None:
        super().__init__(server, proxy, image, kind)
        self.restart_keeps_log = server.real
        if not server.real:
            self.proxy = None
        self.outbox_age = RESTART
        self.namespace = namespace or secrets.token_hex(4)
        self.topic = f"wsrooms-{self.namespace}"

    def made(self, url: str, **options: Any) -> KafkaTransport:
        given: dict[str, Any] = {"namespace": self.namespace, "outbox_age": self.outbox_age}
        if not self.server.real:
            given["fetch_max_wait"] = 0.02  # Tansu does not wake who waits for messages
        return super().made(url, **{**given, **options})

    async def publish_raw(self, channel: str, data: bytes) -> None:
        # What others have before their payloads is in headers here.
        *head, value = data.split(b" ", 4)
        key = channel.encode()
        at = f"{self.server.host}:{self.server.port}"
        producer = AIOKafkaProducer(bootstrap_servers=at, acks="all")
        await producer.start()
        try:
            await producer.send_and_wait(
                self.topic,
                value,
                key=key,
                partition=zlib.crc32(key) % PARTITIONS,
                headers=list(zip("vies", head, strict=False)),
            )
        finally:
            await producer.stop()

    async def forget(self) -> None:
        self._needs_kafka("errors for who reads on where the log has no end yet")
        forgotten = self.server.logs_of(self.topic)
        async with self.server.admin() as admin, asyncio.timeout(DEADLINE):
            await admin.delete_topics([self.topic])
            # The controller answers before the broker does it: what comes between is lost too.
            while forgotten & self.server.logs_of(self.topic):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def login(self, channels: Collection[str] | None = None) -> AsyncIterator[KafkaLogin]:
        self._needs_kafka("logins")
        if channels is not None:
            raise NotApplicable(f"{self.name}: rights are for a topic, and it has all channels")
        async with self.server.proxy(BEFORE_LOGINS) as proxy:
            login = KafkaLogin(self, proxy)
            await login.grant()
            try:
                yield login
            finally:
                await login.revoke()

    @asynccontextmanager
    async def misfit(self, why: Misfit) -> AsyncIterator[Stranger]:
        self._needs_kafka("logins and TLS")
        if why == "tls_untrusted":
            async with self.server.proxy(BEFORE_TLS) as proxy:
                yield Stranger(self.made(f"kafka+ssl://{proxy.host}:{proxy.port}"))
            return
        async with self.login() as login:
            match why:
                case "wrong_password":
                    yield Stranger(login.transport(password=WRONG), (WRONG, login.password))
                case "missing_password":
                    yield Stranger(self.made(f"kafka://{login.at}"))
                case "tls_to_plain_port":
                    # One that would be let in, if it were so careless as to ask in the clear.
                    yield Stranger(login.transport("kafka+ssl"), (login.password,))

    @asynccontextmanager
    async def small_buffers(self) -> AsyncIterator[KafkaRig]:
        # It has none for a subscriber, who reads the log when it can.
        yield self

    def _needs_kafka(self, what: str) -> None:
        if not self.server.real:
            raise NotApplicable(f"{self.name} has no {what}: this needs a real Kafka")


class KafkaLogin:
    """A user of the server, who exists from ``grant()`` to ``revoke()``.

    Attributes:
        at: Where one has to log in.
    """

    refusal = "invalid credentials"

    def __init__(self, rig: KafkaRig, proxy: TcpProxy) -> None:
        self.name = f"user-{secrets.token_hex(4)}"
        self.password = f"secret-{secrets.token_hex(8)}"
        self.at = f"{proxy.host}:{proxy.port}"
        self._proxy = proxy
        self._rig = rig

    def transport(
        self, scheme: str = "kafka", password: str | None = None, **options: Any
    ) -> KafkaTransport:
        url = f"{scheme}://{self.name}:{password or self.password}@{self.at}"
        return self._rig.made(url, sasl_mechanism=MECHANISM, **options)

    async def grant(self) -> None:
        await self._rig.server.rights.add_user(self.name, self.password, MECHANISM)

    async def revoke(self) -> None:
        await self._rig.server.rights.remove_user(self.name, MECHANISM)
        self._proxy.cut()  # Kafka would let them go on for as long as they stay
