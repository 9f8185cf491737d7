"""A transport gets to its server in time or not at all, and only to one that it may trust."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE
from tests.transports.told import Told
from wsrooms.errors import AuthenticationFailed, TransportError, TransportUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.transports.kinds import Kind


@contextlib.asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[int]:
    """Somebody who listens, and says ``answer`` at first and to each read; None: nothing."""
    clients: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients.add(task)
        with contextlib.suppress(ConnectionError):
            while True:
                if answer is not None:
                    writer.write(answer)
                if not await reader.read(65536):
                    break
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]
    if clients:
        await asyncio.wait(clients)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0",
        b"\0" * 200_000,
        b"\r\n" * 9,
        b"+OK\r\n" * 9,
        b"-ERR no\r\n",
        b"INFO {}\r\n",
        b"INFO {\r\n",
        b'INFO {"max_payload":"x"}\r\nPONG\r\n',
        b"INFO []\r\n+OK\r\n",
        b"PING\r\n" * 9,
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_somebody_else_behind_the_port_fails_the_start_in_time(
    kind: Kind, answer: bytes
) -> None:
    async with answering(answer) as port:
        transport = kind.transport(kind.url_at(port), start_timeout=2.0, connect_timeout=0.3)
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(TransportError) as caught:
                await transport.start()
        assert f"127.0.0.1:{port}" in str(caught.value)


async def test_a_server_that_says_nothing_fails_the_start_in_time(kind: Kind) -> None:
    async with answering(None) as port:
        transport = kind.transport(f"{kind.url_at(port)}?connect_timeout=0.3")
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(TransportUnavailable, match=r"did not answer within 0\.3 s"):
                await transport.start()


async def test_tls_is_spoken_with_whom_we_trust_or_are_told_to_and_with_nobody_else(
    kind: Kind,
) -> None:
    async with kind.server(tls=True) as server:
        assert server.certificates is not None
        with pytest.raises(AuthenticationFailed, match="is not to be trusted"):
            await kind.patient(server.url).start()
        trusting = kind.patient(server.url, ssl_ca_certs=str(server.certificates.ca))
        await trusting.start()
        await trusting.publish("c", "x")
        await trusting.close()
        careless = kind.patient(f"{server.url}?ssl_cert_reqs=none")
        await careless.start()
        await careless.close()


async def test_a_certificate_names_the_host(kind: Kind) -> None:
    async with kind.server(tls=True) as server:
        assert server.certificates is not None
        ca = str(server.certificates.ca)
        elsewhere = server.url.replace("127.0.0.1", "127.1")  # which means the same
        with pytest.raises(AuthenticationFailed, match=r"is not to be trusted: .*127\.1"):
            await kind.patient(elsewhere, ssl_ca_certs=ca).start()
        lax = kind.patient(f"{elsewhere}?ssl_check_hostname=no", ssl_ca_certs=ca)
        await lax.start()
        await lax.close()


async def test_tls_to_a_server_that_has_none_fails_in_time(kind: Kind) -> None:
    async with kind.server() as server:
        scheme = kind.tls_place.partition("://")[0]
        url = f"{scheme}://{server.host}:{server.port}"
        patience = 1.0 + 10 * kind.started_in  # for those who answer; others say nothing to it
        transport = kind.transport(url, start_timeout=2 * patience, connect_timeout=patience)
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(TransportError, match="TLS"):
                await transport.start()


@pytest.mark.parametrize("how", ["cut", "killed"])
async def test_a_connection_that_is_lost_is_told_with_its_server(kind: Kind, how: str) -> None:
    async with kind.server() as server, kind.proxy(server) as proxy:
        # Of several, all of which its URL names.
        transport = kind.patient(f"{kind.url_at(proxy.port)},127.0.0.1:1")
        told = Told(transport)
        await transport.start()
        if how == "cut":
            proxy.cut()
        else:
            await server.kill()
        error = await told.until("down")
        await transport.close()
        assert error is not None
        assert f"127.0.0.1:{proxy.port}" in error
        if kind.name != "kafka":  # whose one connection is a client of several
            assert ",127.0.0.1:1" not in error
