"""How often this thread writes to a socket, which no proxy can know exactly."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from wsrooms.testing import SocketWrites

if TYPE_CHECKING:
    from wsrooms.testing import TcpProxy

    from .conftest import Broker, Connect

TIMES = 50


async def test_every_write_counts_though_tcp_puts_them_together(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    if type(asyncio.get_running_loop()).__module__.startswith("uvloop"):
        pytest.skip("uvloop writes without Python")
    client = await connect()
    line = await broker.line()
    with SocketWrites(proxy.port) as writes:
        for _ in range(TIMES):
            client.writer.write(b"x")
        assert writes.count == TIMES
        await line.read(TIMES)
    assert writes.count == TIMES, "what the proxy writes goes to another port"
    assert 1 <= proxy.writes < TIMES


def test_what_is_written_elsewhere_or_later_does_not_count() -> None:
    left, right = socket.socketpair()
    with left, right:
        with SocketWrites(1) as elsewhere:
            left.send(b"x")
        with SocketWrites() as writes:
            right.sendall(b"x")
        left.send(b"x")
    assert (elsewhere.count, writes.count) == (0, 1)


def test_all_ways_to_write_count_and_the_profile_function_is_given_back() -> None:
    def before(*_: object) -> None:
        """Was there first."""

    left, right = socket.socketpair()
    with left, right:
        sys.setprofile(before)
        try:
            with SocketWrites() as writes:
                left.send(b"x")
                left.sendall(b"x")
                left.sendmsg([b"x"])
                right.recv(3)
            assert sys.getprofile() is before
        finally:
            sys.setprofile(None)
    assert writes.count == 3


def test_a_socket_that_is_not_connected_counts_for_no_port() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock, SocketWrites(9) as writes:
        sock.sendto(b"x", ("127.0.0.1", 9))
        sock.close()
    assert writes.count == 0
