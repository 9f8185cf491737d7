"""Two instances on a real Redis, in a container: what a bus in memory cannot show."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wsrooms.testing import Client, TcpProxy, connect_client

from fleet_chat import ws


@asynccontextmanager
async def ann_and_bob(one: str, other: str) -> AsyncIterator[tuple[Client, Client]]:
    """Two clients in the same room, of two instances with these transports."""
    here, there = (ws.replica(broadcast_transport=url) for url in (one, other))
    async with connect_client(here) as ann, connect_client(there) as bob:
        for client in (ann, bob):
            assert await client.call("join", "/chat/general") == {"joined": True}
        yield ann, bob


async def test_what_is_said_on_one_instance_is_heard_on_the_other(
    redis: tuple[str, int], namespace: str
) -> None:
    host, port = redis
    url = f"redis://{host}:{port}?namespace={namespace}"
    async with ann_and_bob(url, url) as (ann, bob):
        ann.send("message", "/chat/general", "hello")
        assert (await bob.receive(timeout=10))["data"] == "hello"


async def test_when_the_line_to_redis_breaks_clients_are_told_and_all_goes_on(
    redis: tuple[str, int], namespace: str
) -> None:
    host, port = redis
    async with TcpProxy(host, port) as line:
        url = f"redis://{host}:{port}?namespace={namespace}"
        broken = f"redis://{line.host}:{line.port}?namespace={namespace}"
        async with ann_and_bob(url, broken) as (ann, bob):
            line.cut()
            assert (await bob.receive(timeout=10))["event"] == "reload"

            ann.send("message", "/chat/general", "hello again")
            assert (await bob.receive(timeout=10))["data"] == "hello again"
