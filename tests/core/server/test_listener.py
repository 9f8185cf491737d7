"""All sockets of one server: from accept to a common end."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms.server.settings import ServerSettings
from wsrooms.server.sockets import listen_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

unix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="there are no unix sockets on Windows"
)


async def test_an_idle_connection_has_no_task(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve(heartbeat_interval=30) as serving, raw_client(serving.address):
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_no_heartbeat_where_there_is_no_interval(serve: Callable[..., Any]) -> None:
    for interval in (None, 0):
        async with serve(heartbeat_interval=interval) as serving:
            assert serving.server.heartbeat is None


async def test_the_end_reaches_every_client_and_every_handshake(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve() as serving,
        raw_client(serving.address) as one,
        raw_client(serving.address) as two,
        raw_client(serving.address, path=None) as half,
    ):
        await half.write(b"GET / HTTP/1.1\r\n")
        serving.server.stop_accepting()
        serving.server.close_all(1001, "going")
        gone = asyncio.ensure_future(serving.server.sockets_gone(60))
        for client in (one, two):
            assert await client.close_code() == (1001, "going")
            await client.write(client.close_frame(1001))
            assert await client.end() == b""
        assert await half.end() == b""
        await gone
        for session in serving.sessions:
            assert await session.has_ended() == (1001, "going")


async def test_clients_that_do_not_leave_are_cut(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve(close_timeout=60) as serving, raw_client(serving.address) as client:
        serving.server.close_all(1001, "")
        await serving.server.sockets_gone(0.01)
        assert await client.close_code() == (1001, "")
        assert await client.ended_cut()


async def test_clients_of_tls_that_do_not_leave_are_cut_too(
    serve: Callable[..., Any], raw_client: Callable[..., Any], certificates: Any
) -> None:
    tls, trust = certificates
    async with (
        serve(close_timeout=60, options={"ssl": tls}) as serving,
        raw_client(serving.address, tls=trust) as client,
    ):
        serving.server.close_all(1001, "")
        await serving.server.sockets_gone(0.01)
        assert await client.close_code() == (1001, "")
        assert await client.ended_cut()


async def test_waiting_for_no_socket_is_over_at_once(serve: Callable[..., Any]) -> None:
    async with serve() as serving:
        await serving.server.sockets_gone(0)


async def test_a_socket_that_is_accepted_while_the_server_closes_is_cut(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve() as serving:
        serving.server.closing = True
        async with raw_client(serving.address, path=None) as late:
            assert await late.end() == b""
        await serving.server.sockets_gone(DEADLINE)


async def test_a_stopped_server_refuses_new_clients_and_keeps_the_others(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve() as serving, raw_client(serving.address) as client:
        serving.server.stop_accepting()
        with pytest.raises(ConnectionRefusedError):
            async with raw_client(serving.address):
                pass
        await client.send("still here")
        await serving.session.has_received(1)


async def test_one_server_listens_on_several_addresses_with_their_own_settings(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve() as serving:
        settings = ServerSettings(allowed_origins="*", logger=serving.server.instance.logger)
        factory = serving.server.factory(settings)
        listening, second = await listen_on(factory, "127.0.0.1", 0, {})
        serving.server.add(listening)
        page = ["Origin: http://elsewhere.example"]
        async with raw_client(second, headers=page) as client:
            await client.send("from the second")
            await serving.session.has_received(1)
        async with raw_client(serving.address, path=None) as client:
            assert (await client.upgrade("/", page)).status == 403
        serving.server.stop_accepting()
        for address in (serving.address, second):
            with pytest.raises(ConnectionRefusedError):
                async with raw_client(address):
                    pass


def files_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@unix_only
async def test_a_unix_socket_serves_and_is_removed(
    serve: Callable[..., Any], raw_client: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "ws.sock"
    async with serve(options={"unix_path": str(path)}) as serving:
        assert serving.address.url == f"ws+unix://{path}"
        async with raw_client(serving.address) as client:
            await client.send("over unix")
            await serving.session.has_received(1)
            assert serving.session.connection.request.remote_address is None
        assert path in files_of(tmp_path)
    assert path not in files_of(tmp_path)


@unix_only
async def test_a_unix_socket_that_another_server_has_taken_over_is_left_alone(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "ws.sock"
    async with serve(options={"unix_path": str(path)}):
        path.rename(tmp_path / "old")  # so that the new one cannot have its inode
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path in files_of(tmp_path)


@unix_only
async def test_a_unix_socket_that_somebody_removed_is_no_failure(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "ws.sock"
    async with serve(options={"unix_path": str(path)}):
        path.unlink()
