"""What is taken from nats-py: nothing of it stays, and a version that we do not know is told."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from nats.aio import client as nats_client
from nats.aio.transport import TcpTransport

from tests.brokers import NatsServer, nats_cluster, nats_server
from tests.deadlines import DEADLINE
from wsrooms.errors import TransportUnavailable
from wsrooms.testing import TcpProxy
from wsrooms.transports import Address
from wsrooms_nats import NatsTransport
from wsrooms_nats.login import LoggedIn, log_in
from wsrooms_nats.target import Target

if TYPE_CHECKING:
    import ssl
    from urllib.parse import ParseResult

UNKNOWN = "nats-py .* keeps its connection where wsrooms-nats does not know it"


def sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
        except OSError:
            continue  # that of the listing itself
    return count


async def left_alone(server: NatsServer) -> dict[str, Any]:
    """Wait until the server has no client; its figures."""
    async with asyncio.timeout(DEADLINE):
        # It sees an end when it sees it.
        while (figures := await server.monitor("/varz"))["connections"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return figures


class Hiding:
    """nats-py's connection, as a version might have it that calls its parts something else."""

    def __init__(self) -> None:
        self.__inner = TcpTransport()  # type: ignore[no-untyped-call]  # nats-py's own

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        await self.__inner.connect(uri, buffer_size, connect_timeout)

    async def connect_tls(
        self, uri: str, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        await self.__inner.connect_tls(uri, ssl_context, buffer_size, connect_timeout)

    def __bool__(self) -> bool:
        return bool(self.__inner)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.__inner, name)


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts in /proc")


@needs_proc
@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_a_nats_py_that_keeps_its_connection_elsewhere_is_told_and_gets_no_secret(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_client, "TcpTransport", Hiding)
    async with nats_server(tls=scheme == "tls") as server:
        url = f"{scheme}://ann:sesame@{server.host}:{server.port}"
        before = sockets()
        for _ in range(3):
            options: dict[str, Any] = {"ssl_cert_reqs": "none"} if scheme == "tls" else {}
            transport = NatsTransport(url, **options)
            async with asyncio.timeout(DEADLINE):
                with pytest.raises(TransportUnavailable, match=UNKNOWN):
                    await transport.start()
            await transport.close()
        assert (await left_alone(server))["in_bytes"] == 0
        gc.collect()
        assert sockets() <= before


async def test_a_nats_py_whose_login_nobody_can_watch_over_is_told_and_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(nats_client.Client, "_connect_command")
    async with nats_server() as server:
        transport = NatsTransport(f"nats://ann:sesame@{server.host}:{server.port}")
        with pytest.raises(TransportUnavailable, match=UNKNOWN):
            await transport.start()
        assert (await server.monitor("/varz"))["total_connections"] == 0


async def test_an_app_that_meets_such_a_version_later_is_down_and_heals_with_the_old_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with nats_server() as server:
        transport = NatsTransport(server.url)
        told: asyncio.Queue[tuple[str, str | None]] = asyncio.Queue()
        transport.on_state(lambda state, error: told.put_nowait((state, error)))
        await transport.start()
        monkeypatch.setattr(nats_client, "TcpTransport", Hiding)
        await server.restart()
        async with asyncio.timeout(DEADLINE):
            while True:
                state, error = await told.get()
                if state == "down" and error and "keeps its connection where" in error:
                    break
        monkeypatch.undo()
        async with asyncio.timeout(DEADLINE):
            while (await told.get())[0] != "up":
                pass
        await transport.publish("c", "x")
        await transport.close()


@needs_proc
@pytest.mark.may_block("it looks at all objects that there are")
async def test_nothing_of_nats_py_runs_or_is_left(caplog: pytest.LogCaptureFixture) -> None:
    mine = asyncio.current_task()
    async with nats_server() as server, TcpProxy(server.host, server.port) as proxy:
        before = sockets()
        transport = NatsTransport(f"nats://127.0.0.1:{proxy.port}")
        await transport.start()
        await transport.subscribe("c", print)
        names = {task.get_name() for task in asyncio.all_tasks() if task is not mine}
        ours = {name for name in names if name.startswith("wsrooms")}
        theirs = {
            str(task.get_coro())
            for task in asyncio.all_tasks()
            if "nats/aio" in str(task.get_coro()) or "nats\\aio" in str(task.get_coro())
        }
        assert ours
        assert not theirs
        await transport.close()
        async with asyncio.timeout(DEADLINE):
            while proxy.connections:  # noqa: ASYNC110 - the proxy tells nobody
                await asyncio.sleep(0.01)
        gc.collect()
        assert sockets() <= before
        living = [each for each in gc.get_objects() if isinstance(each, nats_client.Client)]
        assert not living
        assert "nats" not in {record.name.partition(".")[0] for record in caplog.records}


async def test_a_login_tells_all_servers_of_a_cluster_its_own_included() -> None:
    # nats-py leaves that one out; servers before 2.12 do not name it once more afterwards.
    async with nats_cluster(2) as servers:
        own = servers[0]
        found: list[LoggedIn] = []
        address = Address(own.host, own.port)
        await log_in(address, Target.of(own.url), found.append)
        [logged_in] = found
        logged_in.transport.abort()
        assert {each.port for each in logged_in.servers} == {each.port for each in servers}


async def test_a_start_that_is_cancelled_at_any_moment_leaves_nothing() -> None:
    async with nats_server() as server:
        for turns in range(40):
            transport = NatsTransport(server.url)
            starting = asyncio.ensure_future(transport.start())
            for _ in range(turns):
                await asyncio.sleep(0)
            starting.cancel()
            await asyncio.wait({starting})
            await transport.close()
            assert transport.state == "closed"
        await left_alone(server)


async def test_the_error_of_a_failed_login_keeps_nothing_of_nats_py() -> None:
    async with nats_server() as server:
        await server.kill()
        with pytest.raises(TransportUnavailable) as caught:
            await NatsTransport(server.url).start()
        gc.collect()
        kept = [each for each in gc.get_objects() if isinstance(each, nats_client.Client)]
        assert not kept, caught.value


class Hangup(asyncio.Protocol):
    """A server that takes a login and resets the connection in the same turn."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b'INFO {"max_payload": 1048576}\r\n')

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"PING\r\n"):
            self._transport.write(b"PONG\r\n")
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()


async def test_a_connection_that_is_reset_as_the_login_ends_leaves_no_error_unheard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with await asyncio.get_running_loop().create_server(Hangup, "127.0.0.1", 0) as server:
        transport = NatsTransport(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(TransportUnavailable):
            await transport.start()
        for _ in range(5):  # turns in which nats-py's tasks would meet the reset
            await asyncio.sleep(0)
    gc.collect()
    assert not [record for record in caplog.records if record.name != "wsrooms"]
