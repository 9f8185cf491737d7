"""Bytes of a NATS server become messages, however they are cut; garbage ends the connection."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.deadlines import DEADLINE
from wsrooms.errors import TransportError, TransportUnavailable
from wsrooms_nats.wire import NatsWire

Told = tuple[str, object]

MANY = 10_000
"""Turns of the loop after which a wire that still reads what it has would never end."""


class Line(asyncio.Transport):
    """The end of a connection that has nobody at the other: what is written stays here."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.paused = self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """It is told everything by the test."""

    def is_reading(self) -> bool:
        return not self.paused

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Ears:
    """Writes down what it is told, in order; ``on_told`` may raise."""

    def __init__(self, on_told: Callable[[], None] = lambda: None) -> None:
        self.told: list[Told] = []
        self.ended = False
        self._on_told = on_told

    def _tell(self, what: str, which: object = None) -> None:
        self.told.append((what, which))
        self._on_told()

    def on_message(self, sid: bytes, data: bytes, now: float) -> None:
        self._tell("message", (sid, data))

    def on_pong(self) -> None:
        self._tell("pong")

    def on_error(self, text: str) -> None:
        self._tell("error", text)

    def on_info(self, info: dict[str, Any]) -> None:
        self._tell("info", info)

    def on_end(self) -> None:
        self.ended = True


async def unpaused(line: Line) -> int:
    """Let the loop turn while the wire reads what it has; how many times."""
    turns = 0
    while line.paused:
        turns += 1
        assert turns < MANY
        await asyncio.sleep(0)
    return turns


async def heard(pieces: Sequence[bytes], ears: Ears, *, unread: int = 0) -> tuple[NatsWire, Line]:
    """Let a wire read ``pieces``, the first ``unread`` of which somebody else had read."""
    line, wire = Line(), NatsWire(ears)
    wire.take_over(line, b"".join(pieces[:unread]))
    for piece in pieces[unread:]:
        await unpaused(line)
        if line.aborted:
            break
        wire.data_received(piece)
    await unpaused(line)
    return wire, line


async def ended(wire: NatsWire) -> TransportError | None:
    async with asyncio.timeout(DEADLINE):
        return await wire.lost()


# What a server may say, with what is to be told of it.

ENDS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b"MSG "]), max_size=12)
PAYLOADS = (
    st.binary(max_size=80)
    | ENDS.map(b"".join)
    | st.sampled_from(
        [
            b"",
            b"\r\n",
            b"\r",
            b"MSG a 1 3\r\nabc\r\n",
            b"PING\r\n",
            b"-ERR 'x'\r\n",
            b"NATS/1.0\r\n\r\n",
            b"x" * 5000,
            "é漢🎉".encode(),
        ]
    )
)
SIDS = st.integers(1, 99_999).map(lambda number: b"%d" % number)
ANSWER = st.sampled_from([b"", b"_INBOX.x "])
HEADERS = st.sampled_from(
    [b"NATS/1.0\r\n\r\n", b"NATS/1.0\r\nA: b\r\n\r\n", b"NATS/1.0 503\r\n\r\n"]
)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n'", exclude_categories=["Z"]))


def said_message(sid: bytes, answer: bytes, data: bytes) -> tuple[bytes, list[Told]]:
    line = b"MSG wsrooms.a %b %b%d\r\n%b\r\n" % (sid, answer, len(data), data)
    return line, [("message", (sid, data))]


def said_headers(
    sid: bytes, answer: bytes, headers: bytes, data: bytes
) -> tuple[bytes, list[Told]]:
    sizes = b"%d %d" % (len(headers), len(headers) + len(data))
    line = b"HMSG wsrooms.a %b %b%b\r\n%b%b\r\n" % (sid, answer, sizes, headers, data)
    return line, [("message", (sid, data))]


def said_error(words: str) -> tuple[bytes, list[Told]]:
    return f"-ERR '{words}'\r\n".encode(), [("error", words)]


def said_info(info: dict[str, str | int | list[str]]) -> tuple[bytes, list[Told]]:
    return b"INFO %b \r\n" % json.dumps(info).encode(), [("info", info)]


SAID = st.one_of(
    st.builds(said_message, SIDS, ANSWER, PAYLOADS),
    st.builds(said_headers, SIDS, ANSWER, HEADERS, PAYLOADS),
    st.builds(said_error, WORDS),
    st.builds(said_info, st.dictionaries(WORDS, WORDS | st.integers() | st.lists(WORDS))),
    st.just((b"PING\r\n", list[Told]())),
    st.just((b"PONG\r\n", [("pong", None)])),
    st.just((b"+OK\r\n", list[Told]())),
)


@settings(deadline=None)
@given(st.lists(SAID, max_size=12), st.data())
def test_however_the_stream_is_cut_the_same_is_told(
    said: list[tuple[bytes, list[Told]]], data: st.DataObject
) -> None:
    stream = b"".join(line for line, _ in said)
    expected = [told for _, each in said for told in each]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    ears = Ears()
    _, line = asyncio.run(heard(pieces, ears, unread=data.draw(st.integers(0, len(pieces)))))
    assert ears.told == expected
    assert not line.aborted
    assert line.written == b"PONG\r\n" * sum(what == b"PING\r\n" for what, _ in said)


@settings(deadline=None)
@given(st.lists(SAID, max_size=6), st.binary(max_size=200))
def test_rubbish_is_waited_out_or_ends_it_and_changes_nothing_of_what_came_before(
    said: list[tuple[bytes, list[Told]]], rubbish: bytes
) -> None:
    ears = Ears()
    stream = b"".join(line for line, _ in said)

    async def read() -> None:
        wire, line = await heard([stream, rubbish, b"\r\n", b"PONG\r\n" * 2], ears)
        if line.aborted:
            assert isinstance(await ended(wire), TransportUnavailable)

    asyncio.run(read())
    expected = [told for _, each in said for told in each]
    assert ears.told[: len(expected)] == expected


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\r\n",
        b"MSG\r\n",
        b"MSG \r\n",
        b"MSG a\r\n",
        b"MSG a 1\r\n",
        b"MSG a 1 -1\r\n\r\n",
        b"MSG a 1 +1\r\nx\r\n",
        b"MSG a 1 1_0\r\n0123456789\r\n",
        b"MSG a 1 0x1\r\nx\r\n",
        "MSG a 1 ²\r\nxx\r\n".encode(),
        b"MSG a 1 99999999999999999999\r\n",
        b"MSG a 1 1000000000\r\n",
        b"MSG a 1 %b\r\n" % (b"9" * 5000),  # Python refuses to read a number so long
        b"MSG a 1 b c 1\r\nx\r\n",
        b"MSG a 1 3\r\nabcd\r\n",
        b"MSG a 1 3\r\nab\r\n",
        b"MSG a 1 0\r\nPONG\r\n",
        b"HMSG a 1 3\r\nabc\r\n",
        b"HMSG a 1 x 3\r\nabc\r\n",
        b"HMSG a 1 5 3\r\nabc\r\n",
        b"HMSG a 1 b 5 3\r\nabc\r\n",
        b"HMSG a 1 -2 3\r\nabc\r\n",
        b"INFO\r\n",
        b"INFO {\r\n",
        b"INFO []\r\n",
        b"INFO 5\r\n",
        b"INFO \xff\r\n",
        b"INFO " + b"[" * 100_000 + b"\r\n",
        b"SUB a 1\r\n",
        b"\0\0\0\0\r\n",
    ],
)
async def test_garbage_ends_it_with_an_error_that_says_so(garbage: bytes) -> None:
    ears = Ears()
    wire, line = await heard([b"PONG\r\n", garbage, b"PONG\r\nPONG\r\n"], ears)
    assert line.aborted
    told = str(await ended(wire))
    assert told.startswith("the broker: what answers there is not NATS: ")
    assert len(told) < 300
    assert ears.told == [("pong", None)]
    assert ears.ended


async def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    wire, line = await heard([b"x" * 65_536] * 64, Ears())
    assert line.aborted
    assert str(await ended(wire)).startswith("the broker: what answers there is not NATS: b'xxx")


async def test_a_large_message_in_small_pieces_costs_what_a_large_message_costs() -> None:
    size = 8 * 1024 * 1024
    stream = b"MSG a 1 %d\r\n%b\r\n" % (size, b"x" * size)

    async def seconds(piece: int) -> float:
        ears = Ears()
        pieces = [stream[at : at + piece] for at in range(0, len(stream), piece)]
        began = time.thread_time()
        await heard(pieces, ears)
        assert ears.told == [("message", (b"1", b"x" * size))]
        return time.thread_time() - began

    # If it looked at all of it at each piece it would take 4,000 times 8 MiB: seconds.
    assert await seconds(2048) < 10 * await seconds(65_536) + 0.5


async def test_many_messages_leave_the_loop_its_turns_and_pause_the_peer() -> None:
    ears = Ears(lambda: time.sleep(0.0005))
    line, wire = Line(), NatsWire(ears)
    wire.take_over(line)
    wire.data_received(b"MSG a 1 5\r\n12345\r\n" * 400)
    turns = await unpaused(line)
    assert len(ears.told) == 400
    assert turns > 3


async def test_what_arrives_while_it_has_paused_comes_after_the_rest() -> None:
    ears = Ears(lambda: time.sleep(0.0005))
    line, wire = Line(), NatsWire(ears)
    wire.take_over(line)
    wire.data_received(b"MSG a 1 1\r\nx\r\n" * 400)
    assert not line.is_reading()
    wire.data_received(b"MSG a 2 1\r\ny\r\n")  # was on its way already
    assert ("message", (b"2", b"y")) not in ears.told
    await unpaused(line)
    assert ears.told[-1] == ("message", (b"2", b"y"))
    assert len(ears.told) == 401


async def test_what_a_reader_raises_ends_it_and_nothing_is_told_after_it() -> None:
    why = TransportUnavailable("enough")

    def refuse() -> None:
        raise why

    ears = Ears(refuse)
    wire, line = await heard([b"-ERR 'x'\r\nPONG\r\nMSG a 1 1\r\nx\r\n", b"PONG\r\n"], ears)
    assert line.aborted
    assert await ended(wire) is why
    assert ears.told == [("error", "x")]


async def test_after_an_abort_nothing_is_told_that_had_arrived() -> None:
    why = TransportUnavailable("enough")
    ears = Ears(lambda: wire.abort(why))
    line, wire = Line(), NatsWire(ears)
    wire.take_over(line)
    wire.data_received(b"PONG\r\nPONG\r\nMSG a 1 1\r\nx\r\n")
    wire.data_received(b"PONG\r\n")
    assert ears.told == [("pong", None)]
    assert await ended(wire) is why
    wire.write(b"nobody reads this")
    assert line.written == b""


async def test_a_connection_that_the_system_ends_is_told_with_its_server() -> None:
    wire = NatsWire(Ears())
    wire.where = "nats://there:4222"
    wire.connection_lost(ConnectionResetError("reset by peer"))
    assert str(await ended(wire)) == "nats://there:4222: the connection was lost: reset by peer"
