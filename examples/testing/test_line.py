"""The line to a server is cut, and its client notices."""

# --8<-- [start:proxy]
import asyncio

import pytest

from wsrooms.testing import TcpProxy


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while question := await reader.read(1024):
        writer.write(b"answer to " + question)
    writer.close()


async def test_a_client_notices_that_its_line_was_cut() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)  # a broker has a port, too
    port = server.sockets[0].getsockname()[1]
    async with server, TcpProxy("127.0.0.1", port) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"question")
        assert await reader.read(1024) == b"answer to question"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read(1024)
        writer.close()


# --8<-- [end:proxy]
