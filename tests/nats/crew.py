"""Instances at servers of NATS, and what the servers say of them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.deadlines import DEADLINE, PATIENT
from tests.transports.crew import ROOM, Account, Crew, Instance, crew_of
from wsrooms_nats import NatsTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.brokers import NatsServer

__all__ = [
    "LEAVES_SLOWLY",
    "ROOM",
    "Account",
    "Crew",
    "Instance",
    "crew_at",
    "left_by_all",
    "names_at",
    "transport_at",
    "url_of",
]

LEAVES_SLOWLY = "lame_duck_grace_period: 60s"
"""Settings by which a server in lame duck mode closes no connection before we do."""


def url_of(*servers: NatsServer) -> str:
    """A URL with all of them, in that order."""
    return "nats://" + ",".join(f"{server.host}:{server.port}" for server in servers)


async def names_at(server: NatsServer) -> set[str]:
    """Which instances the server has as its clients."""
    told = await server.monitor("/connz")
    return {client["name"] for client in told["connections"]}


async def left_by_all(server: NatsServer) -> None:
    """Wait until no instance is connected there."""
    async with asyncio.timeout(DEADLINE):
        while await names_at(server):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


def transport_at(url: str, name: str) -> NatsTransport:
    """One that tries the servers in the order of the URL, and is called so by them."""
    return NatsTransport(url, client_name=name, randomize=False, outbox_age=DEADLINE, **PATIENT)


@asynccontextmanager
async def crew_at(
    *urls: str, settled: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[Crew]:
    """An instance for each URL, at the first server of that, which all hear each other.

    Where their joins cannot wait for the other servers, ``settled`` does.
    """
    named = [transport_at(url, f"instance-{number}") for number, url in enumerate(urls)]
    async with crew_of(named, settled=settled) as crew:
        yield crew
