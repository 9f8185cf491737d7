"""What a developer reads while frames pass, and what is told of those that reached nobody."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import (
    WsApp,
    WsConnection,
    WsRoutes,
    use_ws_connection,
    use_ws_rooms,
)
from wsrooms.debug import blocking, traffic
from wsrooms.debug.traffic import frame_text, seen
from wsrooms.wire import binary_frame, text_frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Log:
    """What has been logged, with the ids of connections by the letters given to them."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.names: dict[str, str] = {}

    def lines(self, level: int = logging.DEBUG) -> list[str]:
        """All lines of ``level`` since the last :meth:`clear`."""
        lines = [
            record.getMessage()
            for record in self._caplog.records
            if record.levelno == level and record.name == "wsrooms"
        ]
        for id, name in self.names.items():
            lines = [line.replace(id, name) for line in lines]
        return lines

    def clear(self) -> None:
        self._caplog.clear()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.DEBUG, "wsrooms")
    return Log(caplog)


@pytest.fixture
def chat(log: Log, monkeypatch: pytest.MonkeyPatch) -> WsApp:
    """Give an app that debugs, whose clients are called A, B … in the log."""
    # What a busy machine holds up is told too, which is not about what passes.
    monkeypatch.setattr(blocking, "LIMIT", float("inf"))
    app = WsApp(debug=True)

    @app.on_connect
    def name() -> None:
        log.names[use_ws_connection().id] = "ABCDEF"[len(log.names)]

    app.include(routes)
    return app


routes = WsRoutes()


@routes.on_message("join", "/chat/:room")
def join() -> str:
    use_ws_rooms().join()
    return "joined"


@routes.on_message("say", "/chat/:room")
def say() -> None:
    use_ws_rooms().broadcast("said", 1)


# Frames


async def test_frames_of_one_client_are_told_with_its_id_one_line_each(
    chat: WsApp, connect: Connect, log: Log
) -> None:
    async with chat.serving() as address:
        peer = await connect(address, "/?token=secret", {"Cookie": "secret"})
        await peer.call("join", "/chat/a")
        [client] = chat.server.connections()
        client.send("hi", "/", {"a": 1})
        client.reply(1, None)
        client.reply_error(1, 400, "no")
        await peer.close(1000, "bye\n")
        assert not chat.server.connections()
    assert log.lines() == [
        "A connects to /",
        'from A: {"event": "join", "path": "/chat/a", "id": 1}',
        'to A: {"id":1,"data":"joined"}',
        'to A: {"event":"hi","path":"/","data":{"a":1}}',
        'to A: {"id":1,"data":null}',
        'to A: {"id":1,"error":{"code":400,"message":"no"}}',
        r"A has ended: 1000 bye\n",
    ]
    assert "secret" not in "".join(log.lines())


async def test_a_broadcast_is_told_once_with_the_number_of_those_who_got_it(
    chat: WsApp, connect: Connect, log: Log
) -> None:
    async with chat.serving() as address:
        peers = [await connect(address) for _ in range(3)]
        for peer in peers:
            await peer.call("join", "/chat/a")
        log.clear()
        await peers[0].call("say", "/chat/a")
        chat.room("/chat/a").broadcast("said", 2)
        chat.room("/chat/a").broadcast("said", 3, exclude="nobody")
        chat.broadcast("all", "/x")
        assert log.lines()[1:] == [
            'to 2 of 3 in room \'/chat/a\': {"event":"said","path":"/chat/a",'
            '"params":{"room":"a"},"data":1}',
            'to A: {"id":2,"data":null}',
            'to 3 of 3 in room \'/chat/a\': {"event":"said","path":"/chat/a","data":2}',
            'to 3 of 3 in room \'/chat/a\': {"event":"said","path":"/chat/a","data":3}',
            'to all 3 clients: {"event":"all","path":"/x"}',
        ]


async def test_with_a_transport_what_comes_and_goes_between_instances_is_told(
    connect: Connect, log: Log
) -> None:
    one = WsApp(debug=True, broadcast_transport="memory://")
    one.include(routes)
    async with one.serving() as address, one.replica(debug=False).serving() as elsewhere:
        peer, other = await connect(address), await connect(elsewhere)
        await peer.call("join", "/chat/a")
        await other.call("join", "/chat/a")
        log.clear()
        one.room("/chat/a").broadcast("said", 1)
        one.room("/chat/a").broadcast("said", 2, local=True)
        one.broadcast("all", "/")
        one.broadcast("all", "/", local=True)
        await other.call("say", "/chat/a")
        await peer.push()
        *lines, last = log.lines()
        assert lines == [
            "to 1 of 1 in room '/chat/a', and to the other instances: "
            '{"event":"said","path":"/chat/a","data":1}',
            'to 1 of 1 in room \'/chat/a\': {"event":"said","path":"/chat/a","data":2}',
            'to all 1 clients, and of the other instances: {"event":"all","path":"/"}',
            'to all 1 clients: {"event":"all","path":"/"}',
        ]
        assert last.startswith("from another instance, 'ws:room:/chat/a': {")


async def test_control_characters_are_never_shown_as_they_are(
    chat: WsApp, connect: Connect, log: Log
) -> None:
    async with chat.serving() as address:
        peer = await connect(address)
        peer.send_text('{"event":"a\x1b[31m\n","path":"/\\n"}')
        await peer.settled()
    assert "\x1b" not in "".join(log.lines() + log.lines(logging.WARNING))
    assert "\n" not in "".join(log.lines() + log.lines(logging.WARNING))
    assert log.lines()[1] == r'from A: {"event":"a\x1b[31m\n","path":"/\\n"}'


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"x" * 200, "x" * 200),
        (b"x" * 201, "x" * 200 + "... (201 long)"),
        ("é" * 300, "é" * 200 + "... (300 long)"),
        (("é" * 300).encode(), "é" * 200 + "... (600 long)"),
        (b"\xff\n", "\ufffd\\n"),
    ],
)
def test_a_payload_is_shown_in_one_line_and_cut(payload: str | bytes, text: str) -> None:
    assert seen(payload) == text


@pytest.mark.parametrize("size", [0, 125, 126, 200])
def test_a_frame_is_shown_by_what_is_in_it(size: int) -> None:
    assert frame_text(text_frame(b"x" * size)) == "x" * size
    assert frame_text(binary_frame(b"x" * size)) == f"{size} bytes, binary"


def test_a_large_frame_is_cut() -> None:
    assert frame_text(text_frame(b"x" * 70_000)) == "x" * 200 + "... (70000 long)"


# In vain


async def test_a_broadcast_to_another_spelling_of_a_room_is_a_warning_told_once(
    chat: WsApp, connect: Connect, log: Log
) -> None:
    async with chat.serving() as address:
        await (await connect(address)).call("join", "/chat/general")
        for _ in range(2):
            chat.room("/chat/General/").broadcast("said", 1)
        chat.room("/chat/General/").broadcast("other", 1)
    assert log.lines(logging.WARNING) == [
        f"{event!r} was broadcast to room '/chat/General/', where nobody ever was: did you mean "
        "'/chat/general'? Names of rooms are compared to the letter"
        for event in ("said", "other")
    ]


async def test_a_room_that_is_like_another_is_told_one_level_lower(
    chat: WsApp, connect: Connect, log: Log
) -> None:
    async with chat.serving() as address:
        await (await connect(address)).call("join", "/chat/general")
        log.clear()
        for _ in range(2):
            chat.room("/chat/genral").broadcast("said", 1)
        assert log.lines(logging.INFO) == [
            "'said' was broadcast to room '/chat/genral', where nobody ever was; there are members "
            "in '/chat/general'"
        ]
        assert log.lines(logging.WARNING) == []


async def test_a_handler_that_broadcasts_before_anybody_has_joined_anything_is_told_how_to(
    chat: WsApp, connect: Connect, log: Log
) -> None:
    async with chat.serving() as address:
        peer = await connect(address)
        for room in "ab":
            await peer.call("say", f"/chat/{room}")
    [line] = log.lines(logging.WARNING)
    assert line.startswith(
        "'said' was broadcast to room '/chat/a', where nobody ever was, nor in any other room: "
        "a client is in no room until a handler has called use_ws_rooms().join()"
    )


async def test_rooms_that_are_empty_as_rooms_may_be_are_no_mistake(
    chat: WsApp, connect: Connect, log: Log
) -> None:
    async with chat.serving() as address:
        chat.room("/chat/early").broadcast("said", 1)  # a background task before the first client
        assert log.lines(logging.WARNING) == []
        ann, bob = await connect(address), await connect(address)
        await ann.call("join", "/chat/ann-1")
        await ann.call("say", "/chat/ann-1")  # alone in it
        await bob.call("join", "/chat/Ann-1")
        await ann.close()
        log.clear()
        await bob.call("say", "/chat/ann-1")  # somebody was there
        await bob.call("say", "/chat/ann-2")  # another of its kind
        await bob.call("say", "/chat/elsewhere")
        assert log.lines(logging.WARNING) + log.lines(logging.INFO) == []


async def test_with_a_transport_nobody_can_know_who_is_in_a_room(
    connect: Connect, log: Log
) -> None:
    app = WsApp(debug=True, broadcast_transport="memory://")
    app.include(routes)
    async with app.serving() as address:
        await (await connect(address)).call("join", "/chat/general")
        log.clear()
        app.room("/chat/General").broadcast("said", 1)
        assert log.lines(logging.WARNING) == []
        app.room("/chat/General").broadcast("said", 1, local=True)
        assert len(log.lines(logging.WARNING)) == 1


async def test_looking_for_what_was_meant_takes_a_twentieth_of_the_time_at_most(
    chat: WsApp, connect: Connect, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]

    def slow(room: str, rooms: object) -> list[str]:
        now[0] += 0.06
        return ["/chat/general"]

    monkeypatch.setattr(traffic, "monotonic", lambda: now[0])
    monkeypatch.setattr(traffic, "spelt_otherwise", slow)
    async with chat.serving() as address:
        await (await connect(address)).call("join", "/chat/general")
        for event in ("first", "too soon"):
            chat.room("/chat/General").broadcast(event, 1)
        now[0] += 1
        chat.room("/chat/General").broadcast("second", 1)
    told = [line.split()[0] for line in log.lines(logging.WARNING)]
    assert told == ["'first'", "'second'"]


async def test_past_so_many_rooms_none_is_thought_unused(
    chat: WsApp, connect: Connect, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "ROOMS", 1)
    async with chat.serving() as address:
        peer = await connect(address)
        await peer.call("join", "/chat/a")
        await peer.call("join", "/chat/b")
        await peer.call("say", "/chat/A")
    assert log.lines(logging.WARNING) == []


async def test_a_send_to_a_connection_that_is_over_is_a_warning_once(
    chat: WsApp, connect: Connect, log: Log, eventually: Eventually
) -> None:
    kept: list[WsConnection] = []

    @chat.on_connect
    def keep() -> None:
        kept.append(use_ws_connection())

    @chat.on_disconnect
    def leave() -> None:
        use_ws_connection().send("too", "/late")  # it has closed, and that is normal here

    async with chat.serving() as address:
        peer = await connect(address)
        await peer.close()
        await eventually(lambda: not chat.server.connections())
        assert log.lines()[-1] == (
            'to A, which has closed, so it is dropped: {"event":"too","path":"/late"}'
        )
        assert log.lines(logging.WARNING) == []
        kept[0].send("a", "/")
        kept[0].send("a", "/")
    [line] = log.lines(logging.WARNING)
    assert line.startswith("sent to connection A after its on_disconnect: ")


async def test_a_reply_that_nobody_asked_for_is_a_warning_once(
    chat: WsApp, connect: Connect, log: Log
) -> None:
    async with chat.serving() as address:
        peer = await connect(address)
        await peer.call("join", "/chat/a")
        [client] = chat.server.connections()
        client.reply(1, "it was asked for")
        client.reply("x", "it was not")
        client.reply_error("y", 400, "nor this")
    [line] = log.lines(logging.WARNING)
    assert line.startswith("replied to A with the id 'x', which it has not sent: ")


async def test_after_a_thousand_requests_no_reply_is_thought_wrong(
    chat: WsApp, connect: Connect, log: Log
) -> None:
    async with chat.serving() as address:
        peer = await connect(address)
        for _ in range(1001):
            await peer.call("join", "/chat/a")
        [client] = chat.server.connections()
        client.reply(1, "it was asked for, long ago")
    assert log.lines(logging.WARNING) == []


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            '{"event":"jion","path":"/chat/a","id":1}',
            "no route for 'jion' '/chat/a', answered with 404: did you mean 'join' '/chat/:room'?",
        ),
        (
            '{"event":"join","path":"/elsewhere"}',
            "no route for 'join' '/elsewhere', dropped as it has no id: "
            "of this event there is 'join' '/chat/:room'",
        ),
        (
            '{"event":"leave","path":"/x"}',
            "no route for 'leave' '/x', dropped as it has no id: app.routes() lists what there is",
        ),
        ("[1]", 'dropped a message of A without an answer: a message is an object with the '
         'strings "event" and "path", and perhaps "data" and an "id", a string or number'),
        ("nonsense", "dropped a message of A without an answer: it is no JSON"),
    ],
)  # fmt: skip
async def test_a_message_that_no_handler_gets_is_told_once(
    chat: WsApp, connect: Connect, log: Log, message: str, line: str
) -> None:
    async with chat.serving() as address:
        peer = await connect(address)
        peer.send_text(message, message)
        await peer.settled()
    assert log.lines(logging.WARNING) == [line]


async def test_broadcasts_work_as_they_do_without_debug(chat: WsApp, connect: Connect) -> None:
    async with chat.serving() as address:
        ann, bob = await connect(address), await connect(address)
        for peer in (ann, bob):
            await peer.call("join", "/chat/a")
        await ann.call("say", "/chat/a")
        assert (await bob.push())["data"] == 1
        assert await ann.pushes() == []
