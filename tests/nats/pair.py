"""Servers of a cluster with a proxy before one of them, on the routes from the others."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.brokers import NatsServer, nats_server
from tests.brokers.nats import NATS, Cluster
from tests.deadlines import DEADLINE
from tests.nats.crew import ROOM, Crew, crew_at, url_of
from wsrooms.testing import TcpProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["LOGIN", "MAY_NOT_ASK", "Pair", "a_pair", "behind_a_proxy", "knows_a_room_elsewhere"]

MAY_NOT_ASK = """
authorization: {users: [{user: app, password: geheim, permissions: {
    publish: {allow: "wsrooms.>", deny: "wsrooms.ws:sync.>"}, subscribe: "wsrooms.>"}}]}
"""
"""Settings by which the user may do all but ask what other servers know."""

LOGIN = "?user=app&password=geheim"

PROGRAMS = (NATS.wheel, NATS.on_path)
"""Processes: from within a container the proxy cannot be reached."""


@dataclass
class Pair:
    """Two servers, an instance at each, and the only way between the servers."""

    crew: Crew
    route: TcpProxy
    servers: list[NatsServer]
    cluster: Cluster

    async def routed(self) -> None:
        """Wait until the servers have found each other again."""
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    await self.cluster.join(self.servers[1])
                except ConnectionError:
                    await asyncio.sleep(0.02)  # servers tell nobody when they are
                else:
                    return


async def knows_a_room_elsewhere(server: NatsServer, room: str = ROOM) -> None:
    """Wait until the server knows that another one has an instance in the room."""
    async with asyncio.timeout(DEADLINE):
        while room not in str(await server.monitor("/routez?subs=1")):  # noqa: ASYNC110 - told by nobody
            await asyncio.sleep(0.01)


@asynccontextmanager
async def a_pair(query: str = "", settings: str = "") -> AsyncIterator[Pair]:
    """Two servers with these settings, and instances whose URLs end with the query."""
    async with AsyncExitStack() as stack:
        servers, route, cluster = await stack.enter_async_context(behind_a_proxy(2, settings))
        urls = [url_of(server) + query for server in servers]

        async def settled() -> None:
            for server in servers:
                await knows_a_room_elsewhere(server)

        knows = crew_at(*urls, settled=settled if MAY_NOT_ASK in settings else None)
        crew = await stack.enter_async_context(knows)
        for instance in crew:
            instance.states.clear()
        yield Pair(crew, route, servers, cluster)


@asynccontextmanager
async def behind_a_proxy(
    size: int, settings: str = ""
) -> AsyncIterator[tuple[list[NatsServer], TcpProxy, Cluster]]:
    """Servers of a cluster, of which the others reach the first by the proxy."""
    program = next(filter(NATS.program, PROGRAMS), NATS.wheel)
    cluster = Cluster()
    servers = [nats_server(program, cluster=cluster) for _ in range(size)]
    async with TcpProxy(servers[0].host, servers[0].ports[2]) as route, AsyncExitStack() as stack:
        reached = [f"{route.host}:{route.port}"]
        reached += [f"{server.host}:{server.ports[2]}" for server in servers[1:]]
        for number, server in enumerate(servers):
            block = {
                "name": cluster.name,
                "listen": f"{server.host}:{server.ports[2]}",
                "advertise": reached[number],  # servers tell each other of the rest
                "routes": [f"nats://{at}" for at in reached[:number]],
            }
            server.configure(f"{settings}\ncluster: {json.dumps(block)}")
            await stack.enter_async_context(server)
        yield servers, route, cluster
