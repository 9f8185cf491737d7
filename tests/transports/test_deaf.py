"""A server that takes everything and delivers nothing: noticed by own messages that are missing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.deadlines import DEADLINE, promised
from tests.transports.told import Told
from wsrooms import Gap, WsApp, use_ws_rooms
from wsrooms.testing import connect_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.brokers import Server
    from tests.transports.kinds import Kind

INTERVAL = promised(0.3)

PING_INTERVAL = promised(1.0)
"""Seconds: a server that is held up for less than two of them is not given up for that."""


class Mute:
    """Before a real server: passes everything on, but for messages while it is ``muted``."""

    def __init__(self, kind: Kind, server: Server) -> None:
        self.muted = False
        self._kind = kind
        self._server = server
        self._behind, self.port = kind.way(server)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Mute]:
        async with await asyncio.start_server(self._client, "127.0.0.1", self.port) as listening:
            self.port = listening.sockets[0].getsockname()[1]
            yield self

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind = await asyncio.open_connection(self._server.host, self._behind)
        except ConnectionError:
            writer.transport.abort()
            return
        conversation = self._kind.conversation()

        def sent(data: bytes) -> bytes:
            conversation.sent(data)
            return data

        def came(data: bytes) -> bytes:
            return conversation.came(data, muted=self.muted)

        await asyncio.gather(
            self._pass_on(reader, behind[1], sent), self._pass_on(behind[0], writer, came)
        )

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passes: Callable[[bytes], bytes],
    ) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(passes(data))
        except ConnectionError:
            pass  # the other end is told below
        finally:
            writer.close()


async def test_a_server_that_delivers_nothing_is_deaf_until_it_does(kind: Kind) -> None:
    async with kind.server() as server, Mute(kind, server).serving() as mute:
        transport = kind.patient(
            kind.url_at(mute.port),
            probe_interval=INTERVAL,
            ping_interval=PING_INTERVAL,
            connect_timeout=promised(3.0),
        )
        seen = Told(transport)
        await transport.start()
        try:
            await transport.subscribe("ws:room:tea", print)
            mute.muted = True
            told = await seen.until("deaf")
            assert told is not None
            assert "took a message and did not bring it back" in told
            assert transport.stats()["probes_lost"] == 1
            before = len(seen.states)
            async with asyncio.timeout(DEADLINE):
                # Where to connect includes to hear something, it stays down instead.
                while transport.stats()["probes_lost"] < 3 and transport.state != "down":  # noqa: ASYNC110 - a counter
                    await asyncio.sleep(0.01)
            assert {state for state, _ in seen.states[before:]} <= {"deaf", "down"}
            mute.muted = False
            await seen.until("up")
            assert transport.stats()["reconnects"] == 1
            assert seen.gaps == ([] if transport.keeps_log else [Gap(None, None, None)])
        finally:
            await transport.close()


async def test_a_join_is_not_answered_while_the_app_is_deaf(kind: Kind) -> None:
    async with kind.server() as server, Mute(kind, server).serving() as mute:
        transport = kind.patient(
            kind.url_at(mute.port),
            probe_interval=INTERVAL,
            ping_interval=PING_INTERVAL,
            connect_timeout=promised(3.0),
        )
        app = WsApp(broadcast_transport=transport, join_timeout=DEADLINE)

        @app.on_message("join", "/tea")
        async def join() -> str:
            await use_ws_rooms().join()
            return "joined"

        async with connect_client(app) as client:
            mute.muted = True
            async with asyncio.timeout(DEADLINE):
                while app.health().state != "deaf":  # noqa: ASYNC110 - a state
                    await asyncio.sleep(0.005)
            joining = asyncio.ensure_future(client.call("join", "/tea", timeout=DEADLINE))
            await asyncio.sleep(3 * INTERVAL)
            assert not joining.done()
            mute.muted = False
            async with asyncio.timeout(DEADLINE):
                assert await joining == "joined"
