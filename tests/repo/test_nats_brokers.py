"""The NATS servers of the tests: what only they can do, and clusters of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers import DidNotStart, ReloadRefused, nats_cluster, nats_server
from tests.brokers.containers import Engine, engine
from tests.brokers.nats import NATS, Cluster
from tests.deadlines import DEADLINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.brokers import NatsServer

pytestmark = pytest.mark.skipif(os.name != "posix", reason="brokers run on Linux and macOS")


class Peer:
    """A connection that speaks the protocol line by line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.info: dict[str, Any] = {}

    def send(self, *lines: str) -> None:
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode())

    async def line(self) -> str:
        """Read the next line that is no INFO; an empty one is the end."""
        async with asyncio.timeout(DEADLINE):
            while self._informed(line := (await self._reader.readline()).decode().strip()):
                pass
        return line

    async def hear(self, key: str) -> None:
        """Wait until the server has told this of itself."""
        async with asyncio.timeout(DEADLINE):
            while key not in self.info:
                self._informed(line := (await self._reader.readline()).decode().strip())
                assert line, "it closed the connection"

    def _informed(self, line: str) -> bool:
        word, _, info = line.partition(" ")
        if word == "INFO":
            self.info = json.loads(info)
        return word == "INFO"

    async def greet(self, **login: object) -> str:
        """Log in, and return what is said to a PING."""
        self.send(f"CONNECT {json.dumps({'verbose': False, 'protocol': 1, **login})}", "PING")
        return await self.line()


@asynccontextmanager
async def peer(server: NatsServer) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    made = Peer(reader, writer)
    try:
        await made.hear("server_id")
        yield made
    finally:
        writer.close()


async def test_it_says_of_itself_where_it_can_be_reached(nats: NatsServer) -> None:
    async with peer(nats) as client:
        assert (client.info["host"], client.info["port"]) == (nats.host, nats.port)
        assert client.info["server_name"] == nats.server_name


async def test_its_settings_hold_from_the_start_and_after_a_restart(nats_image: str) -> None:
    async with nats_server(nats_image, config="authorization: {token: secret}") as server:
        for _ in range(2):
            async with peer(server) as client:
                assert await client.greet() == "-ERR 'Authorization Violation'"
            async with peer(server) as client:
                assert await client.greet(auth_token="secret") == "PONG"
            await server.restart()


async def test_settings_may_name_the_files_that_come_with_them(nats_image: str) -> None:
    files = {"login.conf": b"authorization: {token: secret}"}
    async with (
        nats_server(nats_image, config="include login.conf", files=files) as server,
        peer(server) as client,
    ):
        assert await client.greet() == "-ERR 'Authorization Violation'"


async def test_a_test_s_settings_win_over_those_that_make_it_run(nats_image: str) -> None:
    settings = 'server_name: another, client_advertise: "127.0.0.1:4222"'
    async with nats_server(nats_image, config=settings) as server, peer(server) as client:
        assert client.info["server_name"] == "another"
        assert client.info["port"] == 4222


async def test_a_reload_takes_the_new_settings_and_keeps_those_whom_they_suit(
    nats: NatsServer,
) -> None:
    async with peer(nats) as client:
        assert await client.greet() == "PONG"
        await nats.reload("max_payload: 2048")
        assert (await nats.monitor("/varz"))["max_payload"] == 2048
        assert await client.greet() == "PONG"
        await nats.reload("authorization: {token: secret}")
        assert await client.line() == "-ERR 'Authorization Violation'"


async def test_settings_given_for_later_hold_from_the_next_start(nats: NatsServer) -> None:
    nats.configure("authorization: {token: secret}")
    async with peer(nats) as client:
        assert await client.greet() == "PONG"
    await nats.restart()
    async with peer(nats) as client:
        assert await client.greet() == "-ERR 'Authorization Violation'"


@pytest.mark.parametrize(
    ("settings", "said"),
    [("no_such_setting: 1", "no_such_setting"), ("server_name: another", "ServerName")],
)
async def test_a_reload_that_is_refused_says_so_and_changes_nothing(
    settings: str, said: str, nats: NatsServer
) -> None:
    with pytest.raises(ReloadRefused, match=said):
        await nats.reload(f"max_payload: 2048, {settings}")
    assert (await nats.monitor("/varz"))["max_payload"] == 1048576
    await nats.reload("max_payload: 2048")
    assert (await nats.monitor("/varz"))["max_payload"] == 2048


async def test_a_lame_duck_asks_its_clients_to_leave_and_takes_no_others(
    nats_image: str,
) -> None:
    async with nats_cluster(2, nats_image) as [leaving, staying]:
        async with peer(leaving) as client:
            assert await client.greet() == "PONG"
            await leaving.lame_duck()
            await client.hear("ldm")
            assert f"{staying.host}:{staying.port}" in client.info["connect_urls"]
            with pytest.raises((ConnectionError, AssertionError)):
                async with peer(leaving):
                    pytest.fail("it took another client")
        async with peer(staying) as client:
            assert await client.greet() == "PONG"


async def test_its_monitoring_tells_who_is_connected_and_subscribed(nats: NatsServer) -> None:
    async with peer(nats) as client:
        assert await client.greet(name="somebody") == "PONG"
        client.send("SUB some.subject 1", "PING")
        assert await client.line() == "PONG"
        [connection] = (await nats.monitor("/connz?subs=1"))["connections"]
        assert connection["name"] == "somebody"
        assert connection["subscriptions_list"] == ["some.subject"]
    with pytest.raises(ConnectionError, match="404"):
        await nats.monitor("/nowhere")


async def test_one_that_speaks_tls_at_once_does_so(nats_image: str) -> None:
    async with nats_server(nats_image, tls="handshake_first: true") as server:
        assert server.certificates
        reader, writer = await asyncio.open_connection(
            server.host, server.port, ssl=server.certificates.context()
        )
        try:
            async with asyncio.timeout(DEADLINE):
                assert (await reader.readline()).startswith(b"INFO ")
        finally:
            writer.close()
            await writer.wait_closed()


async def test_what_one_of_a_cluster_is_told_the_others_tell_their_clients(
    nats_image: str,
) -> None:
    async with nats_cluster(3, nats_image) as servers:
        addresses = {f"{server.host}:{server.port}" for server in servers}
        async with peer(servers[0]) as speaker, peer(servers[2]) as listener:
            assert set(speaker.info["connect_urls"]) == addresses
            await listener.greet()
            listener.send("SUB some.subject 1", "PING")
            assert await listener.line() == "PONG"
            await speaker.greet()
            await interest(servers[0], "some.subject")
            speaker.send("PUB some.subject 2", "hi")
            assert [await listener.line() for _ in range(2)] == ["MSG some.subject 1 2", "hi"]


async def interest(server: NatsServer, subject: str) -> None:
    """Wait until a server knows of its neighbours' subscription."""
    async with asyncio.timeout(DEADLINE):
        while True:
            routes = (await server.monitor("/routez?subs=1"))["routes"]
            if any(subject in route.get("subscriptions_list", ()) for route in routes):
                return


async def test_one_that_its_cluster_does_not_know_has_not_started(
    nats_image: str,
) -> None:
    cluster = Cluster()
    first = nats_server(nats_image, cluster=cluster)
    stranger = nats_server(nats_image, cluster=cluster)
    stranger.setup = replace(stranger.setup, patience=5.0)
    listen = f"{stranger.runner.listens_at}:{stranger.ports[2]}"
    stranger.configure(f'cluster: {{name: another, listen: "{listen}"}}')
    async with first:
        with pytest.raises(DidNotStart, match="silent"):
            await stranger.__aenter__()


async def test_one_of_a_cluster_is_killed_alone_and_comes_back_to_the_others(
    nats_image: str,
) -> None:
    async with nats_cluster(3, nats_image) as [first, second, third]:
        await second.kill()
        for survivor in (first, third):
            async with peer(survivor) as client:
                assert await client.greet() == "PONG"
        await second.start()
        neighbours = {route["remote_name"] for route in (await second.monitor("/routez"))["routes"]}
        assert neighbours == {first.server_name, third.server_name}


async def test_a_cluster_s_servers_are_up_one_by_one_where_another_is_not(
    nats_image: str,
) -> None:
    async with nats_cluster(3, nats_image) as [first, second, third]:
        await first.kill()
        await second.kill()
        await first.start()
        await third.stop()
        await second.start()
        neighbours = {route["remote_name"] for route in (await second.monitor("/routez"))["routes"]}
        assert first.server_name in neighbours


KILLED = """
import asyncio, os, signal, sys
from tests.brokers import nats_cluster

async def main():
    async with nats_cluster(2, sys.argv[1]) as servers:
        print(servers[0].setup.network, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize("image", NATS.images)
def test_a_killed_test_run_leaves_no_network(image: str) -> None:
    docker = engine()
    if not isinstance(docker, Engine):
        NATS.runner(image)
        return
    command = [sys.executable, "-c", KILLED, image]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    network = ended.stdout.strip()
    assert network.startswith("wsrooms-")
    # The guardian tells nobody that it is done; the test's own deadline bounds this.
    while docker.has_network(network):
        time.sleep(0.05)
