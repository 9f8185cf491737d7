"""``connect_client``: a client with real frames and no port."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import pytest

from wsrooms import (
    WsApp,
    WsError,
    WsLimits,
    use_ws_connection,
    use_ws_message,
)
from wsrooms.testing import Client, Disconnected, connect_client, run
from wsrooms.testing.clients import line
from wsrooms.testing.clients.client import open_client

pytestmark = pytest.mark.every_loop


# Talking


async def test_a_call_returns_the_data_of_its_reply(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        assert await ann.call("join", "/chat/1") == {"joined": True}


async def test_an_error_reply_raises_what_it_says(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        with pytest.raises(WsError, match="short and stout") as caught:
            await ann.call("fail", "/chat/1")
    assert caught.value.code == 418


async def test_members_of_a_room_receive_what_one_of_them_sends(chat: WsApp) -> None:
    async with connect_client(chat) as ann, connect_client(chat) as bob:
        await ann.call("join", "/chat/1")
        await bob.call("join", "/chat/1")
        ann.send("message", "/chat/1", "hello")
        assert await bob.receive() == {
            "event": "message",
            "path": "/chat/1",
            "params": {"room": "1"},
            "data": "hello",
        }
        await ann.receive_nothing()


async def test_pushes_that_come_before_a_reply_are_received_in_order(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        assert await ann.call("push", "/chat/1") == "done"
        assert [(await ann.receive())["data"] for _ in range(3)] == [0, 1, 2]
        await ann.receive_nothing()


async def test_calls_at_the_same_time_get_each_its_own_reply(chat: WsApp) -> None:
    @chat.on_message("echo", "/")
    async def echo() -> object:
        data = use_ws_message().data
        await asyncio.sleep(0.01 * data)
        return data

    async with connect_client(chat) as ann:
        assert await asyncio.gather(*(ann.call("echo", "/", n) for n in (3, 1, 2))) == [3, 1, 2]


async def test_a_reply_that_no_call_waits_for_is_received(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        await ann.send("join", "/chat/1", id=7)
        assert await ann.receive() == {"id": 7, "data": {"joined": True}}
        ann.send("fail", "/chat/1", id="x")
        assert (await ann.receive())["error"]["code"] == 418


async def test_data_may_be_anything_that_has_a_json_form(chat: WsApp) -> None:
    @dataclasses.dataclass
    class Order:
        number: int

    @chat.on_message("echo", "/")
    def echo() -> object:
        message = use_ws_message()
        return [message.has_data, message.data]

    async with connect_client(chat) as ann:
        assert await ann.call("echo", "/", Order(3)) == [True, {"number": 3}]
        assert await ann.call("echo", "/", None) == [True, None]
        assert await ann.call("echo", "/") == [False, None]
        with pytest.raises(TypeError):
            ann.send("echo", "/", object())


async def test_a_frame_may_be_sent_as_it_is(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        ann.send_raw("no json")
        ann.send_raw(b'{"event": "join", "path": "/chat/1", "id": 1}')
        assert await ann.receive() == {"id": 1, "data": {"joined": True}}
        assert chat.stats()["dropped_json"] == 1


async def test_binary_frames_of_the_server_are_read_too() -> None:
    app = WsApp(message_serializer=lambda message: json.dumps(message).encode())
    app.on_message("hi", "/", lambda: "hello")
    async with connect_client(app) as ann:
        assert await ann.call("hi", "/") == "hello"


async def test_a_large_message_goes_through_in_both_directions(chat: WsApp) -> None:
    chat.on_message("echo", "/", lambda: use_ws_message().data)
    text = "x" * 900_000
    async with connect_client(chat) as ann:
        assert await ann.call("echo", "/", text) == text


# Waiting


async def test_what_does_not_come_is_named_with_what_came_instead(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        with pytest.raises(TimeoutError, match=r"no message within 0\.01 s; nothing came"):
            await ann.receive(timeout=0.01)
        await ann.call("push", "/chat/1")
        with pytest.raises(TimeoutError) as caught:
            await ann.call("wait", "/chat/1", timeout=0.01)
        assert str(caught.value).startswith(
            "no reply to 'wait' on '/chat/1' within 0.01 s; unread: "
            "{'event': 'pushed', 'path': '/', 'data': 0}"
        )
        ann.abort()
        await ann.closed()


async def test_a_timeout_around_it_is_not_taken_for_its_own(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.01):
                await ann.receive(timeout=100)
        assert str(caught.value) == ""


async def test_a_late_reply_is_received_and_confuses_no_later_call(chat: WsApp) -> None:
    @chat.on_message("slow", "/")
    async def slow() -> str:
        await asyncio.sleep(0.05)
        return "late"

    async with connect_client(chat) as ann:
        with pytest.raises(TimeoutError):
            await ann.call("slow", "/", timeout=0.001)
        assert await ann.call("join", "/chat/1") == {"joined": True}
        assert (await ann.receive())["data"] == "late"


async def test_nothing_is_received_once_all_that_is_in_flight_is_handled(chat: WsApp) -> None:
    async with connect_client(chat) as ann, connect_client(chat) as bob:
        await ann.call("join", "/chat/1")
        await ann.receive_nothing()
        bob.send("message", "/chat/1", "hello")
        with pytest.raises(AssertionError, match="hello"):
            await ann.receive_nothing()


async def test_nothing_is_received_only_after_handlers_have_ended(chat: WsApp) -> None:
    async with connect_client(chat) as ann, connect_client(chat) as bob:
        await ann.call("join", "/chat/1")
        bob.send("later", "/chat/1")
        with pytest.raises(AssertionError, match="later"):
            await ann.receive_nothing()


async def test_a_handler_that_does_not_end_is_not_waited_for_for_ever(chat: WsApp) -> None:
    async with connect_client(chat) as ann, connect_client(chat) as bob:
        ann.send("wait", "/chat/1")
        with pytest.raises(TimeoutError, match="1 connections have messages"):
            await bob.receive_nothing(timeout=0.05)
        ann.abort()
        await ann.closed()


async def test_nothing_is_not_received_from_a_closed_connection(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        ann.send("leave", "/chat/1")
        with pytest.raises(Disconnected):
            await ann.receive_nothing()


# The end


async def test_the_end_is_raised_at_once_where_something_is_waited_for(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        call = asyncio.ensure_future(ann.call("wait", "/chat/1", timeout=100))
        receive = asyncio.ensure_future(ann.receive(timeout=100))
        await asyncio.sleep(0)
        connection = chat.server.get_connection(ann.connection_id)
        assert connection is not None
        connection.close(4001, "enough")
        for waiting in (call, receive):
            with pytest.raises(Disconnected, match=r"4001 \(enough\)"):
                await waiting
        assert (ann.close_code, ann.close_reason) == (4001, "enough")


async def test_what_came_before_the_end_can_be_received_after_it(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        ann.send("push", "/chat/1")
        ann.send("leave", "/chat/1")
        assert await ann.closed() == (4000, "as you wish")
        assert [(await ann.receive())["data"] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(Disconnected):
            await ann.receive()
        with pytest.raises(Disconnected):
            ann.send("push", "/chat/1")


async def test_close_returns_when_on_disconnect_has_run(chat: WsApp) -> None:
    gone: list[int | None] = []

    @chat.on_disconnect
    async def bye() -> None:
        await asyncio.sleep(0.05)
        gone.append(use_ws_connection().close_code)

    async with connect_client(chat) as ann:
        assert (ann.close_code, ann.close_reason) == (None, None)
        await ann.close(4002, "I am off")
        assert gone == [4002]
        assert (ann.close_code, ann.close_reason) == (4002, "I am off")
        assert chat.stats()["connections"] == 0
        await ann.close()


async def test_a_server_that_does_not_answer_is_cut_off(chat: WsApp) -> None:
    async with connect_client(chat) as other, connect_client(chat) as ann:
        for _ in range(100):
            ann.send("wait", "/chat/1")
        await ann.close(timeout=0.05)
        await ann.closed()
        await other.call("join", "/chat/1")


async def test_who_goes_on_sending_on_a_broken_socket_is_not_warned_of_it(
    chat: WsApp, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect_client(chat) as ann:
        ann.abort()
        for _ in range(20):
            ann.send("message", "/chat/1", "hello")
        with pytest.raises(Disconnected):
            await ann.receive()

    assert caplog.messages == []


async def test_after_an_abort_the_server_sees_no_close(chat: WsApp) -> None:
    codes: list[int | None] = []
    chat.on_disconnect(lambda: codes.append(use_ws_connection().close_code))
    async with connect_client(chat) as other:
        async with connect_client(chat) as ann:
            ann.abort()
            assert await ann.closed() == (1006, "")
        await other.settle()
        assert codes == [1006]


def test_a_client_of_a_cut_line_can_be_left(chat: WsApp) -> None:
    async def main() -> None:
        async with connect_client(chat) as ann:
            ann.cut()
            with pytest.raises(TimeoutError):
                await ann.call("join", "/chat/1")
            connection = chat.server.get_connection(ann.connection_id)
            assert connection is not None
            await ann.close()
            assert not connection.closed, "nobody has told the server"
            await asyncio.sleep(100)
            assert connection.close_code == 1011, "the heartbeat has found out"

    run(main())


# Pressure


async def test_a_client_that_stops_reading_is_a_slow_client() -> None:
    app = WsApp(limits=WsLimits(outbox_bytes=100_000))
    async with open_client(app, socket_bytes=50_000) as ann:
        ann.pause_reading()
        for _ in range(100):
            app.broadcast("news", "/", "x" * 10_000)
            await asyncio.sleep(0)
        assert app.stats()["slow_clients"] == 1
        with pytest.raises(TimeoutError, match="the client's reading is paused"):
            await ann.receive(timeout=0.01)
        ann.resume_reading()
        assert (await ann.closed())[0] == 4008


async def test_who_reads_again_in_time_misses_nothing(chat: WsApp) -> None:
    async with open_client(chat, socket_bytes=50_000) as ann:
        ann.pause_reading()
        for number in range(50):
            chat.broadcast("news", "/", [number, "x" * 10_000])
            await asyncio.sleep(0)
        ann.resume_reading()
        assert [(await ann.receive())["data"][0] for _ in range(50)] == list(range(50))


async def test_a_send_can_be_awaited_until_the_server_has_read(chat: WsApp) -> None:
    release = asyncio.Event()

    @chat.on_message("hold", "/")
    async def hold() -> None:
        await release.wait()

    async with open_client(chat, socket_bytes=20_000) as ann:
        sent = [ann.send("hold", "/", "x" * 10_000) for _ in range(40)]
        await sent[0]
        assert not sent[-1].done
        release.set()
        await sent[-1]
        await ann.settle()


async def test_a_send_that_is_not_read_fails_in_time_or_with_the_connection(
    chat: WsApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsrooms.testing.clients.client.TIMEOUT", 0.05)
    async with open_client(chat, socket_bytes=20_000) as ann:
        for _ in range(40):
            ann.send("wait", "/chat/1", "x" * 10_000)
        with pytest.raises(TimeoutError, match="the server has not read"):
            await ann.send("wait", "/chat/1")
        monkeypatch.setattr("wsrooms.testing.clients.client.TIMEOUT", 100.0)
        last = ann.send("wait", "/chat/1")
        ann.abort()
        with pytest.raises(Disconnected):
            await last


async def test_a_client_that_receives_nothing_at_all_stops_reading_some_day(
    chat: WsApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "UNREAD", 100)
    async with connect_client(chat) as ann:
        for _ in range(2):
            for number in range(300):
                chat.broadcast("news", "/", number)
                await asyncio.sleep(0)
            with pytest.raises(TimeoutError, match="the client has stopped reading"):
                await ann.call("push", "/nowhere", timeout=0.01)
            assert 100 <= ann.unread < 150
            assert [(await ann.receive())["data"] for _ in range(300)] == list(range(300))
            assert (await ann.receive())["error"]["code"] == 404


# For other parts of the kit


async def test_observers_see_what_is_sent_and_all_that_arrives(chat: WsApp) -> None:
    sent: list[Any] = []
    arrived: list[Any] = []
    async with open_client(chat, on_send=sent.append, on_receive=arrived.append) as ann:
        await ann.call("push", "/chat/1")
    assert [message["event"] for message in sent] == ["push"]
    assert [message.get("event", "reply") for message in arrived] == ["pushed"] * 3 + ["reply"]


async def test_a_client_shows_what_it_is(chat: WsApp) -> None:
    async with connect_client(chat) as ann:
        assert repr(ann) == f"<Client {ann.connection_id} open>"
    assert repr(ann).endswith("closed 1000>")
    assert isinstance(ann, Client)


def test_on_virtual_time_an_hour_takes_none(chat: WsApp) -> None:
    async def main() -> float:
        async with connect_client(chat) as ann:
            assert await ann.call("wait", "/chat/1", timeout=4000) == "waited"
        return asyncio.get_running_loop().time()

    assert run(main()) == 3600
