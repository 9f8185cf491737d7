"""One socket: every way to end it, mistakes of ours, and the same over TLS."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import WsApp, WsLimits, use_ws_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    # Fixtures of conftest.py, which importlib mode does not let us import.
    RawClient = Any
    Serving = Any

KIB = 1024
MIB = 1024 * KIB


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
        await session.fill()
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
async def test_a_handler_that_ends_what_the_client_has_ended_too_is_the_first_and_ends_it_at_once(
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
        code = 1011 if how == "it fails" else 4001
        assert (await client.close_code())[0] == code
        assert await client.end() == b""
        assert (await session.has_ended())[0] == code


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
        await session.fill()
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
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with serve(close_timeout=0.05) as serving, raw_client(serving.address) as client:
        serving.session.connection.close(4000)
        assert await client.close_code() == (4000, "")
        assert await client.end() == b""


async def test_a_client_that_does_not_read_is_cut_after_close(
    serve: Callable[..., Any], raw_client: Callable[..., Any]
) -> None:
    async with (
        serve(close_timeout=0.05) as serving,
        raw_client(serving.address, receive_buffer=4096) as client,
    ):
        session = serving.session
        await session.fill()
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
        await session.fill()
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
        serve(options={"ssl": tls}, max_message_size=1000, close_timeout=60) as serving,
        raw_client(serving.address, tls=trust) as client,
    ):
        client.writer.write(client.frame(b"a" * MIB))
        assert (await client.close_code())[0] == 1009
        assert (await serving.session.has_ended())[0] == 1009


async def test_an_app_over_tls_answers_and_closes(
    raw_client: Callable[..., Any], certificates: Any
) -> None:
    tls, trust = certificates
    app = WsApp(heartbeat_interval=None)
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
