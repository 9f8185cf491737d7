"""Floods of one client, on every loop, with an honest client beside that lacks no reply.

That pongs which are not read do not pile up is in server/test_protocol.py, a client that
asks and reads no replies in test_hostile.py, bursts of messages in one read in both.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE, promised
from wsrooms import WsApp, WsLimits, use_ws_connection

from .rfc6455 import BINARY, CONT, PING, PONG, TEXT, frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.core.conftest import RawClient
    from tests.core.hard.input.conftest import Attacked

    Attack = Callable[[WsApp], AbstractAsyncContextManager[Attacked]]
    Raw = Callable[..., AbstractAsyncContextManager[RawClient]]
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]

pytestmark = pytest.mark.every_loop


async def test_ten_thousand_pings_are_all_answered_and_hold_up_nobody(
    attacked: Attack, raw_client: Raw
) -> None:
    async with (
        attacked(WsApp(heartbeat_interval=None)) as server,
        raw_client(server.address) as client,
    ):
        client.writer.write(b"".join(frame(PING, b"%d" % number) for number in range(10_000)))
        await server.keeps_answering()
        for number in range(10_000):
            assert await client.receive() == (PONG, b"%d" % number)
        assert server.app.stats()["connections"] == 2


FLOODS: dict[str, bytes] = {
    "pongs": frame(PONG, b"p") * 20_000,
    "empty fragments": frame(TEXT, fin=False) + frame(CONT, fin=False) * 20_000 + frame(CONT),
    "messages that are none": frame(BINARY, b"\xff") * 10_000,
    "messages that ask for nothing": frame(TEXT, b'{"event":"good","path":"/"}') * 10_000,
    "messages for nobody": frame(TEXT, b'{"event":"none","path":"/"}') * 10_000,
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_that_needs_no_answer_holds_up_nobody_and_passes(
    name: str, attacked: Attack, raw_client: Raw
) -> None:
    async with (
        attacked(WsApp(heartbeat_interval=None)) as server,
        raw_client(server.address) as client,
    ):
        before = server.answered
        client.writer.write(FLOODS[name] + frame(PING, b"over"))
        assert await client.receive() == (PONG, b"over")
        if name.startswith("messages"):
            # They took 150 turns of at most 64 messages, between which others have theirs.
            assert server.answered >= before + 10
        await client.send('{"event":"good","path":"/","data":1,"id":1}')
        assert await client.text() == '{"id":1,"data":1}'


async def test_a_message_in_ever_more_fragments_ends_at_the_hard_limit(
    attacked: Attack, raw_client: Raw
) -> None:
    app = WsApp(heartbeat_interval=None, max_message_size=500)
    async with attacked(app) as server, raw_client(server.address) as client:
        client.writer.write(frame(TEXT, b" ", fin=False) + frame(CONT, b" ", fin=False) * 9000)
        assert (await client.close_code())[0] == 1009
        assert await client.end() == b""


def resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.usefixtures("impatient")
async def test_a_client_that_pings_and_reads_nothing_is_held_up_then_cut_and_costs_little(
    attacked: Attack, raw_client: Raw, eventually: Eventually
) -> None:
    app = WsApp(
        heartbeat_interval=0.2,
        heartbeat_timeout=promised(1.0),
        limits=WsLimits(outbox_bytes=65_536),
    )
    codes: list[int | None] = []
    app.on_disconnect(lambda: codes.append(use_ws_connection().close_code))
    pings = frame(PING, b"p" * 125) * 500
    costs = [0]

    async def flood() -> None:
        before = resident()
        for _ in range(1000):  # 65 MB, many times what the system's own buffers take
            client.writer.write(pings)
            await client.writer.drain()
            costs.append(resident() - before)
        pytest.fail("nothing held it up")

    async with (
        attacked(app) as server,
        raw_client(server.address, receive_buffer=4096) as client,
    ):
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(ConnectionError):
                await flood()
        await eventually(lambda: codes)
        assert codes == [4008]
        assert server.app.stats()["slow_clients"] == 1
        assert max(costs) < 16 * 1_048_576
