"""RFC 6455 over a real socket, against a running app, on every loop: the table and the cuts."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE
from wsrooms import WsApp, WsLimits, use_ws_connection, use_ws_message

from .rfc6455 import (
    BINARY,
    CASES,
    CONT,
    PING,
    PONG,
    TEXT,
    answer,
    ask,
    close,
    fragments,
    frame,
    head,
    sized,
    sized_answer,
    split,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from tests.core.conftest import RawClient
    from wsrooms import WsAddress

    Connect = Callable[..., AbstractAsyncContextManager[RawClient]]
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]

pytestmark = pytest.mark.every_loop

MARK = '{"event":"echo","path":"/","id":"mark"}'
MARKED = '{"id":"mark","data":null}'


class Echoing:
    """An app that answers with the data, and what it saw of the end of each connection."""

    def __init__(self, *, max_message_size: int = 1_048_576, waiting_messages: int = 16) -> None:
        # Without a heartbeat, so that no ping of the server comes between.
        self.app = WsApp(
            heartbeat_interval=None,
            max_message_size=max_message_size,
            limits=WsLimits(waiting_messages=waiting_messages),
        )
        self.codes: list[int | None] = []
        self.app.on_message("echo", "/", lambda: use_ws_message().data)
        self.app.on_message("echo", "/slow", self.echo_slowly)
        self.app.on_message("close", "/", lambda: use_ws_connection().close(4321, "ours"))
        self.app.on_disconnect(lambda: self.codes.append(use_ws_connection().close_code))

    @staticmethod
    async def echo_slowly() -> object:
        """Let the loop turn a few times, so that messages wait and reading stops."""
        for _ in range(3):
            await asyncio.sleep(0)
        return use_ws_message().data

    def dropped(self) -> dict[str, int]:
        """What was dropped, by reason."""
        counts = self.app.stats().items()
        return {key[8:]: n for key, n in counts if key.startswith("dropped_") and n}


async def write(client: RawClient, data: bytes, piece: int) -> None:
    """Write in pieces, each of which the server, on the same loop, has a turn to read."""
    for part in split(data, piece) if piece else [data]:
        await client.write(part)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def in_two(frames: Iterable[tuple[int, bytes]]) -> tuple[list[bytes], list[tuple[int, bytes]]]:
    """The pongs and the rest: a pong may overtake replies, which the RFC does not mind."""
    frames = list(frames)
    pongs = [payload for opcode, payload in frames if opcode == PONG]
    return pongs, [(opcode, payload) for opcode, payload in frames if opcode != PONG]


async def stays_open(client: RawClient) -> None:
    """See that the connection answers, and that it closes as it should."""
    await client.send(MARK)
    assert await client.text() == MARKED
    await client.write(client.close_frame(1000))
    assert await client.close_code() == (1000, "")
    assert await client.end() == b""


async def ends(client: RawClient, code: int) -> None:
    """See that the next frame is a CLOSE, and that nothing is answered behind it."""
    told, reason = await client.close_code()
    assert told == code, reason
    with contextlib.suppress(ConnectionError):  # it may be gone already
        await client.send(MARK)
    assert await client.end() == b""


@pytest.mark.parametrize("name", CASES)
async def test_what_a_client_sends_is_answered_as_rfc_6455_says(
    name: str, raw_client: Connect, eventually: Eventually
) -> None:
    case = CASES[name]
    echoing = Echoing()
    async with echoing.app.serving() as address, raw_client(address) as client:
        for data in case.sent:
            await write(client, data, case.piece)
        back = [await client.receive() for _ in case.back]
        assert in_two(back) == in_two(case.back)
        if case.code is None:
            await stays_open(client)
        else:
            await ends(client, case.code)
        await eventually(lambda: echoing.codes)
        assert echoing.codes == [case.code or 1000]
        assert echoing.dropped() == case.dropped


@pytest.mark.parametrize("after", [frame(TEXT, ask(b"")), frame(PING), frame(CONT, b"[]")])
@pytest.mark.parametrize("answered", [1000, 4999])
async def test_a_close_of_the_server_is_answered_and_what_crosses_it_is_not(
    answered: int, after: bytes, raw_client: Connect, eventually: Eventually
) -> None:
    echoing = Echoing()
    async with echoing.app.serving() as address, raw_client(address) as client:
        await client.send('{"event":"close","path":"/"}')
        assert await client.close_code() == (4321, "ours")
        await client.write(after)
        await client.write(client.close_frame(answered))
        assert await client.end() == b""
        await eventually(lambda: echoing.codes)
        assert echoing.codes == [4321]


# 9: sizes. The defaults, 1 MiB and 16 MiB, are tested in test_wire_protocol_end.py.

LIMIT = 65_536
HARD = 16 * LIMIT

SIZES: dict[str, tuple[int, str]] = {
    "one below the limit": (LIMIT - 1, "answered"),
    "the limit": (LIMIT, "answered"),
    "one above the limit": (LIMIT + 1, "dropped"),
    "four times the limit": (LIMIT * 4, "dropped"),
    "the hard limit": (HARD, "dropped"),
    "one above the hard limit": (HARD + 1, "refused"),
}


@pytest.mark.parametrize("part", [0, 997, 65_536], ids=["whole", "997 a piece", "64 KiB a piece"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("name", SIZES)
async def test_a_message_is_answered_dropped_or_refused_by_its_size(
    name: str, opcode: int, part: int, raw_client: Connect
) -> None:
    size, expected = SIZES[name]
    payload = sized(size)
    data = fragments(opcode, split(payload, part)) if part else frame(opcode, payload)
    echoing = Echoing(max_message_size=LIMIT)
    async with echoing.app.serving() as address, raw_client(address) as client:
        client.writer.write(data)
        if expected == "refused":
            await ends(client, 1009)
            assert echoing.dropped() == {}
            return
        if expected == "answered":
            assert await client.receive() == sized_answer(size)
        await stays_open(client)
        assert echoing.dropped() == ({"too_long": 1} if expected == "dropped" else {})


FULL = b"".join(
    frame(CONT if number else TEXT, b"*" * LIMIT, fin=False) + frame(PING) for number in range(16)
)

HEADS: dict[str, tuple[bytes, set[int]]] = {
    "a frame": (head(TEXT, HARD + 1), {1009}),
    "a first fragment": (head(BINARY, HARD + 1, fin=False), {1009}),
    "a second fragment": (frame(TEXT, b"*" * HARD, fin=False) + head(CONT, 1), {1009}),
    "an open fragment": (frame(TEXT, b"*", fin=False) + head(CONT, HARD, fin=False), {1009}),
    "a seventeenth fragment": (FULL + head(CONT, 1), {1009}),
    "four gigabytes": (head(TEXT, 2**32), {1009}),
    "a length that 32 bits cut to 1": (head(TEXT, 2**32 + 1), {1009}),
    "the longest length": (head(TEXT, 2**63 - 1), {1009}),
    # The RFC forbids the first bit of a length, so a parser may find that worse than the size.
    "a length of only the first bit": (head(TEXT, 2**63), {1002, 1009}),
    "a length of all bits": (head(BINARY, 2**64 - 1), {1002, 1009}),
}


@pytest.mark.parametrize("name", HEADS)
async def test_what_passes_the_hard_limit_is_refused_before_it_comes(
    name: str, raw_client: Connect, eventually: Eventually
) -> None:
    sent, codes = HEADS[name]
    echoing = Echoing(max_message_size=LIMIT)
    async with echoing.app.serving() as address, raw_client(address) as client:
        client.writer.write(sent)
        for _ in range(sent.count(frame(PING))):
            assert await client.receive() == (PONG, b"")
        code, _ = await client.close_code()
        assert code in codes
        assert await client.end() == b""
        await eventually(lambda: echoing.codes)
        assert echoing.codes == [code]


# One stream, cut wherever TCP may cut it

FIRST, SECOND = ask("first: µ🎉".encode()), sized(130)
STREAM = (
    frame(TEXT, FIRST)
    + frame(BINARY, SECOND[:100], fin=False)
    + frame(PING, b"between")
    + frame(CONT, SECOND[100:])
    + close(4000, b"bye")
)
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def plays(raw_client: Connect, address: WsAddress, *writes: bytes) -> None:
    """See that the handshake and the stream are answered, whatever pieces they come in."""
    async with raw_client(address, path=None) as client:
        for data in writes:
            await write(client, data, 0)
        async with asyncio.timeout(DEADLINE):
            assert (await client.reader.readline()).split()[1] == b"101"
            await client.reader.readuntil(b"\r\n\r\n")
        back = [await client.receive() for _ in range(3)]
        assert in_two(back) == (
            [b"between"],
            [answer("first: µ🎉".encode()), sized_answer(130)],
        )
        assert await client.close_code() == (4000, "bye")
        assert await client.end() == b""


async def test_a_cut_anywhere_changes_nothing(raw_client: Connect) -> None:
    echoing = Echoing()
    whole = HANDSHAKE + STREAM
    async with echoing.app.serving() as address:
        await plays(raw_client, address, whole)
        for cut in range(1, len(whole)):
            await plays(raw_client, address, whole[:cut], whole[cut:])
        for cut in range(1, len(STREAM)):
            await plays(raw_client, address, HANDSHAKE, STREAM[:cut], STREAM[cut:])
        assert echoing.codes == [4000] * (len(whole) + len(STREAM) - 1)


async def test_two_cuts_anywhere_change_nothing(raw_client: Connect) -> None:
    echoing = Echoing()
    pairs = list(itertools.combinations(range(1, len(STREAM)), 2))
    async with echoing.app.serving() as address:
        for one, two in random.Random(6455).sample(pairs, 200):
            parts = STREAM[:one], STREAM[one:two], STREAM[two:]
            await plays(raw_client, address, HANDSHAKE, *parts)


async def test_a_stream_that_comes_by_the_byte_is_the_same_stream(raw_client: Connect) -> None:
    echoing = Echoing()
    async with echoing.app.serving() as address:
        await plays(raw_client, address, *split(HANDSHAKE + STREAM, 1))


SLOW = ask(b"slow").replace(b'"/"', b'"/slow"')
FRAMES = "Á" * 99
"""Unmasked it is C3 81 again and again: its end looks like text frames of 67 masked bytes."""

BUSY = (
    frame(TEXT, SLOW)
    + frame(TEXT, b"1")
    + frame(PING)
    + frame(BINARY, SLOW)
    + frame(BINARY, ask(FRAMES.encode()), mask=bytes(4))
    + frame(TEXT)
    + fragments(TEXT, [SLOW[:9], b"", SLOW[9:]], frame(PONG), frame(PING, b"p"))
    + frame(TEXT, sized(130))
    + frame(TEXT, SLOW)
)


async def test_a_cut_anywhere_changes_nothing_while_handlers_are_slow(raw_client: Connect) -> None:
    echoing = Echoing(waiting_messages=1)
    slow = answer(b"slow")
    async with echoing.app.serving() as address, raw_client(address) as client:
        for cut in range(1, len(BUSY)):
            await write(client, BUSY[:cut], 0)
            await write(client, BUSY[cut:], 0)
            back = [await client.receive() for _ in range(9)]
            assert in_two(back) == (
                [b"", b"p", b"p"],
                [slow, slow, answer(FRAMES.encode()), slow, sized_answer(130), slow],
            )
        assert echoing.dropped() == {"shape": len(BUSY) - 1, "json": len(BUSY) - 1}
        await stays_open(client)
