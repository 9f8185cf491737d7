"""Two servers of a cluster with a proxy on the route between them, and an instance at each."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.brokers import NatsServer, nats_server
from tests.brokers.nats import NATS, Cluster
from tests.nats.crew import DEADLINE, Crew, crew_at, url_of
from wsrooms.testing import TcpProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["LOGIN", "MAY_NOT_ASK", "Pair", "a_pair"]

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


@asynccontextmanager
async def a_pair(query: str = "", settings: str = "") -> AsyncIterator[Pair]:
    """Two servers with these settings, and instances whose URLs end with the query."""
    program = next(filter(NATS.program, PROGRAMS), NATS.wheel)
    cluster = Cluster()
    first = nats_server(program, config=settings, cluster=cluster)
    async with first, TcpProxy(first.host, first.ports[2]) as route:
        second = nats_server(program, cluster=cluster)
        listen, to = f"{second.host}:{second.ports[2]}", f"nats://{route.host}:{route.port}"
        routed = json.dumps({"name": cluster.name, "listen": listen, "routes": [to]})
        second.configure(f"{settings}\ncluster: {routed}")
        urls = [url_of(server) + query for server in (first, second)]
        async with second, crew_at(*urls) as crew:
            for instance in crew:
                instance.states.clear()
            yield Pair(crew, route, [first, second], cluster)
