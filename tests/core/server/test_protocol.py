"""One socket: frames in, flow control both ways, every way to end."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import WsApp, WsLimits, use_ws_connection, use_ws_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    # Fixtures of conftest.py, which importlib mode does not let us import.
    RawClient = Any
    Serving = Any

DEADLINE = 5.0
KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
async def serving(serve: Callable[..., Any]) -> AsyncIterator[Serving]:
    async with serve(close_timeout=0.05, max_message_size=1000) as serving:
        yield serving


@pytest.fixture
async def client(serving: Serving, raw_client: Callable[..., Any]) -> AsyncIterator[RawClient]:
    async with raw_client(serving.address) as client:
        yield client


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
    "a CLOSE within a message": (
        [(b"a", {"opcode": 1, "fin": False}), (b"\x03\xe8", {"opcode": 8})],
        1002,
    ),
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
    app = WsApp(limits=WsLimits(waiting_messages=2))
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


async def fill(connection: Any) -> int:
    """Push until the socket takes no more; returns how many pushes that took."""
    pushed = 0
    while not connection._way.buffer.blocked:
        connection.send("n", "/", [pushed, "a" * 50_000])
        pushed += 1
        await asyncio.sleep(0)
        assert pushed < 2000, "the socket took 100 MB"
    return pushed


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
        pushed = await fill(connection)
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
        pushed = await fill(connection)
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
        connection = serving.session.connection
        await fill(connection)
        flood = client.frame(b"a" * 125, client.PING) * 1000
        await send_until_held_up(client, flood)
        assert len(connection._way.buffer) < 1000


# Endings


async def test_messages_in_one_segment_with_a_close_are_answered_before_it(
    serving: Serving, client: RawClient
) -> None:
    session = serving.session
    session.on_receive = lambda payload: session.reply(payload.decode())
    await client.write(
        client.frame("1"), client.frame("2"), client.close_frame(4000, "bye"), client.frame("3")
    )
    assert await client.text() == '{"id":"1","data":null}'
    assert await client.text() == '{"id":"2","data":null}'
    assert await client.close_code() == (4000, "bye")
    assert await client.end() == b""
    assert await session.has_ended() == (4000, "bye")
    assert session.received == [(b"1", True), (b"2", True)]


async def test_a_full_session_is_given_what_came_before_the_close_and_the_end_at_once(
    serving: Serving, client: RawClient
) -> None:
    session = serving.session
    session.full = True
    await client.write(client.frame("1"), client.frame("2"), client.close_frame(4000))
    assert await client.close_code() == (4000, "")
    assert await session.has_ended() == (4000, "")
    assert session.received == [(b"1", True), (b"2", True)]


async def test_a_client_that_closes_and_reads_nothing_does_not_hold_up_the_end(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(limits=WsLimits(outbox_messages=2), close_timeout=0.05) as serving,
        raw_client(serving.address, receive_buffer=4096) as client,
    ):
        session = serving.session
        await fill(session.connection)
        held: list[int] = []

        def reply(payload: bytes) -> None:
            session.connection.reply("r", "a" * MIB)
            held.append(session.connection._way.buffer.size)

        session.on_receive = reply
        await client.write(*[client.frame("more")] * 20, client.close_frame(4000))
        assert await session.has_ended() == (4000, "")
        assert len(held) == 20
        assert max(held) < 4 * MIB, "replies that nobody will read are not kept"
        await serving.server.sockets_gone(DEADLINE)


@pytest.mark.parametrize("how", ["it closes", "it fails"])
async def test_a_handler_that_ends_what_the_client_has_ended_answers_the_close_at_once(
    how: str, serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    def end(payload: bytes) -> None:
        if how == "it fails":
            raise RuntimeError("a bug")
        session.connection.close(4001, "ours")

    async with serve(close_timeout=60) as serving, raw_client(serving.address) as client:
        session = serving.session
        session.on_receive = end
        await client.write(client.frame("1"), client.close_frame(4000))
        assert await client.close_code() == (4000, "")
        assert await client.end() == b""
        assert (await session.has_ended())[0] == (1011 if how == "it fails" else 4001)


async def test_a_close_behind_more_than_one_turn_of_messages_is_answered_last(
    serving: Serving, client: RawClient
) -> None:
    session = serving.session
    session.on_receive = lambda payload: session.reply(payload.decode())
    await client.write(*(client.frame(str(n)) for n in range(1000)), client.close_frame(1000))
    assert await client.texts() == [f'{{"id":"{n}","data":null}}' for n in range(1000)]
    assert await client.end() == b""


async def test_the_end_of_the_stream_without_a_close_is_1006_after_all_that_is_owed(
    serving: Serving, client: RawClient
) -> None:
    session = serving.session
    session.on_receive = lambda payload: session.reply(payload.decode())
    await client.send("last")
    client.writer.write_eof()
    assert await client.text() == '{"id":"last","data":null}'
    assert await client.end() == b""
    assert await session.has_ended() == (1006, "")


async def test_half_a_close_of_a_client_that_does_not_read_ends_it_too(
    serving: Serving, raw_client: Callable[..., Any]
) -> None:
    async with raw_client(serving.address, receive_buffer=4096) as client:
        session = serving.session
        await fill(session.connection)
        client.writer.write_eof()
        assert await session.has_ended() == (1006, "")
        assert await client.ended_cut()


async def test_a_socket_that_is_cut_is_1006(serving: Serving, client: RawClient) -> None:
    client.writer.transport.abort()
    assert await serving.session.has_ended() == (1006, "")


async def test_close_flushes_says_close_and_ends_with_the_answer(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve(close_timeout=60) as serving, raw_client(serving.address) as client:
        session = serving.session
        session.reply("last")
        session.connection.close(4000, "bye")
        assert session.connection.closed
        session.reply("too late")
        assert await client.text() == '{"id":"last","data":null}'
        assert await client.close_code() == (4000, "bye")
        assert await session.has_ended() == (4000, "bye")
        # What crossed the CLOSE on the wire is nobody's any more.
        await client.write(*[client.frame("crossed")] * 2000, client.frame(b"", client.PING))
        await client.write(client.close_frame(4000))
        assert await client.end() == b""
        assert session.received == []


async def test_close_gives_a_client_that_reads_its_last_big_message(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(close_timeout=60) as serving,
        raw_client(serving.address, receive_buffer=65_536) as client,
    ):
        serving.session.connection.reply("big", "a" * 20 * MIB)
        serving.session.connection.close(4000)
        assert len(await client.text()) > 20 * MIB
        assert await client.close_code() == (4000, "")


async def test_a_client_that_does_not_answer_the_close_is_cut(
    serving: Serving, client: RawClient
) -> None:
    serving.session.connection.close(4000)
    assert await client.close_code() == (4000, "")
    assert await client.end() == b""


async def test_a_client_that_does_not_read_is_cut_after_close(
    serving: Serving, raw_client: Callable[..., Any]
) -> None:
    async with raw_client(serving.address, receive_buffer=4096) as client:
        session = serving.session
        await fill(session.connection)
        session.connection.close(4000)
        assert await session.has_ended() == (4000, "")
        await serving.server.sockets_gone(DEADLINE)
        assert await client.ended_cut()


async def test_a_client_that_has_not_read_for_long_is_cut_by_close_at_once(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(close_timeout=60) as serving,
        raw_client(serving.address, receive_buffer=4096) as client,
    ):
        session = serving.session
        await fill(session.connection)
        session.connection._way._blocked_at -= 61  # seconds pass
        session.connection.close(4000)
        assert await session.has_ended() == (4000, "")
        assert await client.ended_cut()


async def test_close_inside_a_handler_drops_what_is_not_handed_over_yet(
    serving: Serving, client: RawClient
) -> None:
    session = serving.session
    session.on_receive = lambda payload: session.connection.close(4000)
    await client.send("1", "2", "3")
    assert await client.close_code() == (4000, "")
    await client.write(client.close_frame(4000))
    assert await client.end() == b""
    assert session.received == [(b"1", True)]


async def test_a_refusal_in_open_ends_even_a_client_that_has_sent_already(
    serving: Serving, raw_client: Callable[..., Any]
) -> None:
    def refuse(session: Any) -> None:
        session.open = lambda: session.connection.close(1008, "no")

    serving.on_session = refuse
    async with raw_client(serving.address) as client:
        await client.send("1", "2")
        assert await client.close_code() == (1008, "no")
        await client.write(client.close_frame(1008))
        assert await client.end() == b""
        assert serving.session.received == []


async def test_a_client_that_is_still_sending_reads_why_it_is_refused_and_is_not_reset(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    """To close a socket over unread bytes would reset it, and the CLOSE would be lost."""
    async with (
        serve(max_message_size=1000, close_timeout=60) as serving,
        raw_client(serving.address) as client,
    ):
        client.writer.write(client.frame(b"a" * 16 * MIB))
        assert (await client.close_code())[0] == 1009
        async with asyncio.timeout(DEADLINE):
            assert await client.reader.read() == b""
            await client.writer.drain()  # all of it was still taken


async def test_a_connection_that_was_not_read_hears_the_answer_to_its_close(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve(close_timeout=60) as serving, raw_client(serving.address) as client:
        session = serving.session

        def fill(payload: bytes) -> None:
            session.full = True

        session.on_receive = fill
        await client.send("1")
        await session.has_received(1)
        assert not session.connection._way.reading, "a full session is not read at once"
        session.connection.close(4000)
        assert await client.close_code() == (4000, "")
        await client.write(client.close_frame(4000))
        assert await client.end() == b""


# Mistakes of ours


@pytest.mark.parametrize("messages", [1, 3], ids=["one message", "several messages"])
@pytest.mark.parametrize("error", [RuntimeError("a bug"), asyncio.CancelledError()], ids=repr)
async def test_a_failure_of_the_session_ends_that_connection_alone(
    error: BaseException,
    messages: int,
    serving: Serving,
    client: RawClient,
    raw_client: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = serving.session
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: pytest.fail(f"the loop had to handle {context}")
    )

    def fail(payload: bytes) -> None:
        raise error

    async with raw_client(serving.address) as other:
        session.on_receive = fail
        await client.send(*["x"] * messages)
        assert await client.close_code() == (1011, "Internal Error")
        assert await session.has_ended() == (1011, "Internal Error")
        assert len(session.received) == 1
        (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert session.connection.id in record.message
        assert record.exc_info is not None
        assert record.exc_info[1] is error
        await other.send("fine")
        await serving.session.has_received(1)


async def test_a_failure_in_a_later_turn_ends_the_connection_too(
    serving: Serving, client: RawClient
) -> None:
    session = serving.session

    def fail(payload: bytes) -> None:
        if payload == b"500":
            raise RuntimeError("a bug")

    session.on_receive = fail
    await client.send(*(str(number) for number in range(1000)))
    assert await client.close_code() == (1011, "Internal Error")
    assert len(session.received) == 501


async def test_a_failure_before_there_is_a_session_cuts_the_socket(
    serving: Serving, raw_client: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(session: Any) -> None:
        raise RuntimeError("a bug")

    serving.on_session = fail
    async with raw_client(serving.address) as client:
        assert await client.ended_cut() in (True, False)
    assert "a bug" in caplog.text


async def test_nothing_is_written_to_a_socket_that_is_gone(
    serving: Serving, client: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    connection = serving.session.connection
    connection._way.abort()
    writes = serving.counters.writes
    for _ in range(20):  # each is written early, for its size
        connection.send("n", "/", "a" * 70_000)
    await serving.session.has_ended()
    assert serving.counters.writes == writes
    assert caplog.text == ""


# TLS


async def test_a_tls_socket_is_read_and_held_up_like_any_other(
    serve: Callable[..., Any], raw_client: Callable[..., Any], certificates: Any
) -> None:
    tls, trust = certificates
    async with (
        serve(options={"ssl": tls}) as serving,
        raw_client(serving.address, tls=trust) as client,
    ):
        session = serving.session

        def fill(payload: bytes) -> None:
            session.full = payload == b"stop"

        session.on_receive = fill
        await client.send("1", "stop", "2")
        await session.has_received(2)
        await client.send(*["a" * 10_000] * 100)
        await client.write(client.frame(b"p", client.PING))
        assert session.received == [(b"1", True), (b"stop", True)]
        session.full = False
        session.ready()
        assert len(await session.has_received(103)) == 103
        assert (await client.receive()).payload == b"p"
        await client.write(client.close_frame(4000))
        assert await client.close_code() == (4000, "")
        assert await client.end() == b""
        assert await session.has_ended() == (4000, "")


async def test_a_tls_client_that_breaks_the_protocol_reads_why(
    serve: Callable[..., Any], raw_client: Callable[..., Any], certificates: Any
) -> None:
    tls, trust = certificates
    async with (
        serve(options={"ssl": tls}, max_message_size=1000, close_timeout=0.05) as serving,
        raw_client(serving.address, tls=trust) as client,
    ):
        client.writer.write(client.frame(b"a" * MIB))
        assert (await client.close_code())[0] == 1009
        assert (await serving.session.has_ended())[0] == 1009


async def test_an_app_over_tls_answers_and_closes(
    raw_client: Callable[..., Any], certificates: Any
) -> None:
    tls, trust = certificates
    app = WsApp()
    app.on_message("id", "/", lambda: use_ws_connection().id)
    async with app.serving(ssl=tls) as address:
        assert address.url.startswith("wss://127.0.0.1:")
        async with raw_client(address, tls=trust) as client:
            await client.send('{"event":"id","path":"/","id":1}')
            (connection,) = app.server.connections()
            assert await client.text() == f'{{"id":1,"data":"{connection.id}"}}'
            closing = asyncio.ensure_future(app.close())
            assert (await client.close_code())[0] == 1001
            await client.write(client.close_frame(1001))
            assert await client.end() == b""
            await closing
