"""One socket: frames in, flow control both ways, every way to end."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import WsApp, WsLimits, use_ws_message

if TYPE_CHECKING:
    from collections.abc import Callable

    # Fixtures of conftest.py, which importlib mode does not let us import.
    RawClient = Any
    Serving = Any

KIB = 1024
MIB = 1024 * KIB


# Messages in


async def test_a_message_is_handed_over_with_its_kind(serving: Serving, client: RawClient) -> None:
    await client.send("text: ü", b"binary: \xff")
    await serving.session.has_received(2)
    assert serving.session.received == [("text: ü".encode(), True), (b"binary: \xff", False)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 4095, 4096, 4097, 65_535, 65_536, 300_000])
async def test_a_message_of_any_length_arrives_whole(
    size: int, serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    message = bytes(number % 251 for number in range(size))
    async with serve() as serving, raw_client(serving.address) as client:
        await client.send(message, b"next")
        assert await serving.session.has_received(2) == [message, b"next"]


async def test_bytes_that_come_one_by_one_make_a_message(
    serving: Serving, client: RawClient
) -> None:
    for byte in client.frame("one by one"):
        await client.write(bytes([byte]))
        await asyncio.sleep(0)
    assert await serving.session.has_received(1) == [b"one by one"]


async def test_a_message_that_comes_with_the_handshake_waits_for_it(
    serving: Serving, raw_client: Callable[..., Any]
) -> None:
    async with raw_client(serving.address, path=None) as client:
        rest = client.frame("early\r\n\r\n") + client.frame(b"p", client.PING)
        response = await client.upgrade(rest=rest + client.close_frame(4000))
        assert response.status == 101
        assert (await client.receive()).payload == b"p"
        assert await client.close_code() == (4000, "")
        assert serving.session.received == [(b"early\r\n\r\n", True)]


async def test_fragments_become_one_message_whatever_control_frames_come_between(
    serving: Serving, client: RawClient
) -> None:
    await client.write(
        client.frame(b"a\xc3", client.TEXT, fin=False),
        client.frame(b"1", client.PING),
        client.frame(b"", client.CONT, fin=False),
        client.frame(b"", client.PONG),
        client.frame(b"\xbcb", client.CONT, fin=False),
        client.frame(b"2", client.PING),
        client.frame(b"", client.CONT),
        client.frame(b"x", client.BINARY, fin=False),
        client.frame(b"y", client.CONT),
    )
    await serving.session.has_received(2)
    assert serving.session.received == [("aüb".encode(), True), (b"xy", False)]
    frames = [await client.receive() for _ in range(2)]
    assert [(frame.opcode, frame.payload) for frame in frames] == [
        (client.PONG, b"1"),
        (client.PONG, b"2"),
    ]


@pytest.mark.parametrize("payload", [b"", b"a" * 125, b"\x00\xff"])
async def test_a_ping_is_answered_with_its_payload(payload: bytes, client: RawClient) -> None:
    await client.write(client.frame(payload, client.PING))
    frame = await client.receive()
    assert (frame.opcode, frame.payload) == (client.PONG, payload)


VIOLATIONS: dict[str, tuple[list[tuple[bytes, dict[str, Any]]], int]] = {
    "a frame without a mask": ([(b"a", {"opcode": 1, "masked": False})], 1002),
    "the first reserved bit": ([(b"a", {"opcode": 1, "rsv": 4})], 1002),
    "the second reserved bit": ([(b"a", {"opcode": 1, "rsv": 2})], 1002),
    "the third reserved bit": ([(b"a", {"opcode": 9, "rsv": 1})], 1002),
    "a reserved opcode": ([(b"a", {"opcode": 3})], 1002),
    "a reserved control opcode": ([(b"a", {"opcode": 15})], 1002),
    "a fragmented control frame": ([(b"a", {"opcode": 9, "fin": False})], 1002),
    "a control frame that is too long": ([(b"a" * 126, {"opcode": 9})], 1002),
    "a continuation of nothing": ([(b"a", {"opcode": 0})], 1002),
    "a message within a message": (
        [(b"a", {"opcode": 1, "fin": False}), (b"b", {"opcode": 1})],
        1002,
    ),
    "a CLOSE of one byte": ([(b"\x03", {"opcode": 8})], 1002),
    "a CLOSE with a code that must not be sent": ([(b"\x03\xed", {"opcode": 8})], 1002),
    "a CLOSE whose reason is not UTF-8": ([(b"\x03\xe8\xff", {"opcode": 8})], 1007),
    "text that is not UTF-8": ([(b"\xff", {"opcode": 1})], 1007),
    "too much": ([(b"a" * 16_001, {"opcode": 2})], 1009),
}


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_what_breaks_the_protocol_ends_the_connection_after_what_came_before(
    name: str, serving: Serving, client: RawClient
) -> None:
    frames, code = VIOLATIONS[name]
    session = serving.session
    session.on_receive = lambda payload: session.reply(payload.decode())
    await client.write(
        client.frame("before"),
        *(client.frame(payload, **how) for payload, how in frames),
        client.frame("after"),
    )
    assert await client.text() == '{"id":"before","data":null}'
    told, _ = await client.close_code()
    assert told == code
    assert await client.end() == b""
    assert (await session.has_ended())[0] == code
    assert session.received == [(b"before", True)]


# Turns


async def test_nine_thousand_frames_in_one_write_are_handled_in_order_in_bounded_turns(
    serving: Serving, client: RawClient
) -> None:
    session = serving.session
    loop = asyncio.get_running_loop()
    turn = 0
    handled: Counter[int] = Counter()

    def count_turns() -> None:
        nonlocal turn
        turn += 1
        if len(session.received) < 9000:
            loop.call_soon(count_turns)

    def note(payload: bytes) -> None:
        handled[turn] += 1

    session.on_receive = note
    loop.call_soon(count_turns)
    await client.send(*(b"%d" % number for number in range(9000)))
    assert await session.has_received(9000) == [b"%d" % number for number in range(9000)]
    # The last messages of one read and the first of the next may come in one turn.
    assert max(handled.values()) <= 128
    assert len(handled) > 9000 / 128
    await client.send("and on")
    assert (await session.has_received(9001))[-1] == b"and on"


async def test_a_flood_of_one_client_leaves_others_their_turn(
    serving: Serving, client: RawClient, raw_client: Callable[..., Any]
) -> None:
    flooded = serving.session
    async with raw_client(serving.address) as other:
        quiet = serving.session
        seen: list[int] = []
        quiet.on_receive = lambda payload: seen.append(len(flooded.received))
        flooded.on_receive = lambda payload: None
        await client.send(*[b""] * 9000)
        await flooded.has_received(1)
        await other.send("me too")
        await quiet.has_received(1)
        assert seen[0] < 9000
        await flooded.has_received(9000)


async def test_what_one_turn_sends_is_written_at_once(serving: Serving, client: RawClient) -> None:
    connection = serving.session.connection
    before = serving.counters.writes
    for number in range(20):
        connection.send("tick", "/", number)
    for number in range(20):
        assert await client.text() == f'{{"event":"tick","path":"/","data":{number}}}'
    assert serving.counters.writes == before + 1
    assert serving.counters.messages_out == 20


# Backpressure inwards


async def test_a_full_session_stops_the_reading_of_its_socket_alone(
    serving: Serving, client: RawClient, raw_client: Callable[..., Any]
) -> None:
    session = serving.session

    def fill(payload: bytes) -> None:
        session.full = len(session.received) == 3

    session.on_receive = fill
    await client.send("1", "2", "3", "4", "5")
    await session.has_received(3)
    await client.send("6")
    async with raw_client(serving.address) as other:  # its round trips give ours time to arrive
        for _ in range(3):
            await other.write(other.frame(b"", other.PING))
            await other.receive()
    assert len(session.received) == 3
    session.full = False
    session.ready()
    assert await session.has_received(6) == [b"1", b"2", b"3", b"4", b"5", b"6"]


async def test_what_a_transport_delivers_after_it_was_paused_keeps_its_order(
    serving: Serving, raw_client: Callable[..., Any]
) -> None:
    def fill(session: Any) -> None:
        session.full = True

    serving.on_session = fill
    async with raw_client(serving.address, path=None) as client:
        await client.upgrade(rest=client.frame("1"))
        session = serving.session
        assert session.connection._way._reading_paused
        for message in ("2", "3"):
            session.connection._way.data_received(client.frame(message))
        await client.send("4")
        assert session.received == []
        session.full = False
        session.ready()
        assert await session.has_received(4) == [b"1", b"2", b"3", b"4"]


async def send_until_held_up(client: RawClient, data: bytes) -> int:
    """Write until the socket takes no more; returns how many times that was."""
    for times in range(1, 1000):
        client.writer.write(data)
        try:
            async with asyncio.timeout(0.2):
                await client.writer.drain()
        except TimeoutError:
            return times
    pytest.fail("nothing held it up")


async def test_a_client_of_a_full_session_is_held_up_by_its_socket(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve() as serving, raw_client(serving.address) as client:
        session = serving.session

        def fill(payload: bytes) -> None:
            session.full = True

        session.on_receive = fill
        sent = await send_until_held_up(client, client.frame(b"a" * 60_000))
        assert len(session.received) == 1
        session.on_receive = lambda payload: None
        session.full = False
        session.ready()
        await session.has_received(sent)


async def test_a_slow_handler_stops_reading_and_everything_is_answered_in_order(
    raw_client: Callable[..., Any],
) -> None:
    app = WsApp(heartbeat_interval=None, limits=WsLimits(waiting_messages=2))
    released = asyncio.Event()

    @app.on_message("slow", "/")
    async def slow() -> object:
        await released.wait()
        return use_ws_message().data

    message = '{"event":"slow","path":"/","data":%d,"id":%d}'
    async with app.serving() as address, raw_client(address) as client:
        await client.send(*(message % (number, number) for number in range(500)))
        await client.send(*(message % (number, number) for number in range(500, 1000)))
        released.set()
        for number in range(1000):
            assert await client.text() == f'{{"id":{number},"data":{number}}}'


# Backpressure outwards


async def test_a_client_that_does_not_read_is_ended_with_4008_which_it_may_still_see(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    limits = WsLimits(outbox_bytes=200_000)
    async with (
        serve(limits=limits, close_timeout=60) as serving,
        raw_client(serving.address, receive_buffer=4096) as slow,
        raw_client(serving.address) as good,
    ):
        session, other = serving.sessions
        connection = session.connection
        pushed = await session.fill()
        assert not connection.closed
        for _ in range(10):
            connection.send("n", "/", "a" * 50_000)
        assert connection.closed
        assert await session.has_ended() == (4008, "slow client")
        assert serving.counters.slow_clients == 1
        other.reply("still here")
        assert await good.text() == '{"id":"still here","data":null}'
        for _ in range(pushed + 3):  # what was in the outbox
            assert len(await slow.text()) > 50_000
        assert await slow.close_code() == (4008, "slow client")


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
async def test_a_policy_drops_pushes_and_never_replies(
    policy: Any, serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    limits = WsLimits(outbox_messages=10, slow_client=policy)
    async with (
        serve(limits=limits) as serving,
        raw_client(serving.address, receive_buffer=4096) as client,
    ):
        session = serving.session
        connection = session.connection
        pushed = await session.fill()
        for number in range(10):
            connection.send("late", "/", number)
            session.reply(str(number))
        session.reply("end")
        assert not connection.closed
        for number in range(pushed):
            assert (await client.text()).startswith(f'{{"event":"n","path":"/","data":[{number},')
        rest = await client.texts(until='{"id":"end","data":null}')
        assert [text for text in rest if '"id"' in text] == [
            f'{{"id":"{number}","data":null}}' for number in range(10)
        ]
        late = [int(text[:-1].rpartition(":")[2]) for text in rest if "late" in text]
        assert serving.counters.dropped_slow == 10 - len(late) > 0
        kept = range(len(late)) if policy == "drop_newest" else range(10 - len(late), 10)
        assert late == list(kept)


async def test_a_client_that_reads_no_replies_is_not_read_until_it_does(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    limits = WsLimits(outbox_messages=10)
    async with (
        serve(limits=limits) as serving,
        raw_client(serving.address, receive_buffer=4096) as client,
        raw_client(serving.address) as other,
    ):
        session = serving.sessions[0]
        session.on_receive = lambda payload: session.connection.reply("r", "a" * 50_000)
        asked = 0
        while not session.connection._way.buffer.full:
            await client.send("more")
            asked += 1
            await other.write(other.frame(b"", other.PING))
            await other.receive()
            assert asked < 2000
        answered = len(session.received)
        await client.send(*["more"] * 20)
        for _ in range(3):
            await other.write(other.frame(b"", other.PING))
            await other.receive()
        assert len(session.received) == answered
        for _ in range(asked + 20):
            assert len(await client.text()) > 50_000
        assert len(session.received) == asked + 20


async def test_pings_of_a_client_that_reads_no_pongs_do_not_pile_up(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    limits = WsLimits(outbox_messages=100)
    async with (
        serve(limits=limits) as serving,
        raw_client(serving.address, receive_buffer=4096) as client,
    ):
        await serving.session.fill()
        flood = client.frame(b"a" * 125, client.PING) * 1000
        await send_until_held_up(client, flood)
        assert len(serving.session.connection._way.buffer) < 1000
