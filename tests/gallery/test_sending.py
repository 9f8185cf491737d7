"""Mistakes in what is sent, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Mistake = Any  # the fixture of conftest.py


# Data


async def test_data_is_json(mistake: Mistake) -> None:
    """Data that is no JSON.

    Why: What is broadcast becomes JSON before anybody gets it: all or nobody.
    Remedy: As the text says.
    """
    assert await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp()

        async def main():
            async with ws.serving():
                ws.broadcast("started", "/", {"at": object()})
    """) == (
        "TypeError: Encoding objects of type object is unsupported: convert it to dicts, "
        "lists, strings and numbers first, or let WsApp(enc_hook=...) do that"
    )


async def test_a_path_comes_before_the_data(mistake: Mistake) -> None:
    """Data where the path should be.

    Why: What goes to a room has the room for its path, so `broadcast` of a room takes the event
    and the data. What goes to one client, or to all, is of no room, so the path is given.
    Remedy: `ws.broadcast("tick", "/", {"n": 1})`, and likewise `connection.send`.
    """
    assert await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp()

        async def main():
            async with ws.serving():
                ws.broadcast("tick", {"n": 1})
    """) == (
        "TypeError: path={'n': 1} is no str: send() and broadcast() of all clients take "
        "(event, path, data), broadcast() of a room (event, data)"
    )


async def test_keys_are_text(mistake: Mistake) -> None:
    """A dict whose keys are no text.

    Why: A key of a JSON object is a string. Numbers become one, all else is refused.
    Remedy: `{f"{x}:{y}": value for (x, y), value in board.items()}`.
    """
    assert await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp()
        board = {(0, 1): "rook"}

        async def main():
            async with ws.serving():
                ws.room("/game/7").broadcast("board", board)
    """) == (
        "TypeError: Only dicts with str-like or number-like keys are supported: convert the "
        "keys to str first"
    )


async def test_data_does_not_contain_itself(mistake: Mistake) -> None:
    """Data that contains itself.

    Why: Its JSON would never end.
    Remedy: Leave the way back out, or send ids.
    """
    assert (
        await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp()
        node = {"children": []}
        node["children"].append({"parent": node})

        async def main():
            async with ws.serving():
                ws.broadcast("tree", "/", node)
    """)
        == "ValueError: the data is nested too deep for JSON, or contains itself: send less of it"
    )


async def test_text_is_not_cut_inside_a_character(mistake: Mistake) -> None:
    """Half a character.

    Why: JavaScript counts an emoji as two, and a text that was cut between them reaches Python
    as a lone surrogate, which UTF-8 cannot carry.
    Remedy: Cut texts in Python, or replace it:
    `text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")`.
    """
    assert await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp()

        async def main():
            async with ws.serving():
                ws.broadcast("said", "/", "good \\ud83d")
    """) == (
        "ValueError: '\\ud83d' is half a character, which UTF-8 cannot carry: replace it, or "
        "do not cut a text inside a surrogate pair"
    )


async def test_a_serializer_gives_text_or_bytes(mistake: Mistake) -> None:
    """message_serializer that returns something else.

    Why: A text frame carries str, a binary frame bytes.
    Remedy: Return one of them.
    """
    assert (
        await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp(message_serializer=lambda message: message)

        async def main():
            async with ws.serving():
                ws.broadcast("started", "/")
    """)
        == "TypeError: message_serializer returned dict, not str or bytes"
    )


# Rooms


async def test_a_room_has_a_name_that_can_be_carried(mistake: Mistake) -> None:
    """A bad room name.

    Why: A room's name crosses to other instances and through brokers, so it is text, not empty
    and not too long (`WsLimits.room_name_bytes`). A client whose path is such a name gets 400
    with the same text.
    Remedy: `str(number)` for a number; a hash for what is long.
    """
    code = """
        from wsrooms import WsApp

        ws = WsApp()

        async def main():
            async with ws.serving():
                ws.room(NAME).broadcast("said", "hello")
    """
    names = ("7", '""', '"/search/" + "x" * 2000')
    seen = [await mistake.main_raises(code.replace("NAME", name)) for name in names]
    assert seen == [
        "wsrooms.errors.InvalidRoom: bad room name 7: it is int, not str",
        "wsrooms.errors.InvalidRoom: bad room name '': it is empty",
        (
            "wsrooms.errors.InvalidRoom: bad room name "
            "'/search/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx."
            "..: it is 2008 bytes long, and the limit is 1024"
        ),
    ]


async def test_a_connection_is_in_so_many_rooms(mistake: Mistake) -> None:
    """Too many rooms.

    Why: A client that may choose its rooms could fill the memory; see `WsLimits`.
    Remedy: Leave rooms, or set `WsLimits(rooms_per_connection=...)`.
    """
    app = mistake.runs("""
        from wsrooms import WsApp, WsLimits, use_ws_rooms

        ws = WsApp(limits=WsLimits(rooms_per_connection=2))

        @ws.on_message("join", "/chat/:room")
        async def join():
            await use_ws_rooms().join()
    """).ws
    async with mistake.client(app) as client:
        for room in "ab":
            await client.call("join", f"/chat/{room}", show=False)
        assert await client.call("join", "/chat/c") == [
            '→ {"event": "join", "path": "/chat/c", "id": 1}',
            ('← {"id":1,"error":{"code":429,"message":"Too many rooms: a connection may join 2"}}'),
        ]


async def test_who_has_left_joins_nothing(mistake: Mistake) -> None:
    """A join after the client has left.

    Why: A handler may still run, for five seconds, when its client has gone. A task that it
    started may run for longer.
    Remedy: In a handler nothing: this ends it, and nothing is logged. A task of your own should
    expect `ConnectionGone`.
    """
    app = mistake.runs("""
        from wsrooms import ConnectionGone, WsApp, use_ws_connection

        ws = WsApp()
        told = []

        @ws.on_disconnect
        async def rejoin():
            try:
                await use_ws_connection().join("/lobby")
            except ConnectionGone as error:
                told.append(error)
                raise
    """).ws
    async with mistake.serving(app) as url:
        async with mistake.connected(url):
            pass
        await mistake.logged(1)
    assert mistake.log() == [
        (
            "ERROR on_disconnect: it failed\n"
            "Traceback (most recent call last):\n"
            "  ...\n"
            "wsrooms.errors.ConnectionGone: connection 5f0c… has closed and can join no "
            "room any more: what outlives its client has to expect that"
        ),
    ]


async def test_a_close_code_is_one_that_a_server_may_send(mistake: Mistake) -> None:
    """A bad close code.

    Why: Of the codes up to 2999 a server may send those that the text names; an application
    has 4000 to 4999 for itself.
    Remedy: `connection.close(4003, "logged in elsewhere")`.
    """
    app = mistake.runs("""
        from wsrooms import WsApp, use_ws_connection

        ws = WsApp()

        @ws.on_message("leave", "/")
        async def leave():
            use_ws_connection().close(403, "no longer welcome")
    """).ws
    async with mistake.client(app) as client:
        await client.call("leave", "/", show=False)
    assert mistake.log() == [
        (
            "ERROR leave /: its handler failed\n"
            "Traceback (most recent call last):\n"
            "  ...\n"
            "ValueError: close code 403 cannot be sent: use 1000-1003, 1007-1014 or 3000-4999"
        ),
    ]


# To nobody: told in debug mode alone


async def test_a_room_is_spelt_in_one_way(mistake: Mistake) -> None:
    """A room that is spelt in two ways.

    Why: `/chat/General` and `/chat/general` are two rooms, and so is `/chat/general/`. An
    empty room is nothing special, so only [debug mode](debugging.md#what-reached-nobody) tells.
    Remedy: Spell it in one way; make the names of rooms in one function.
    """
    app = mistake.runs("""
        from wsrooms import WsApp, use_ws_rooms

        ws = WsApp(debug=True)

        @ws.on_message("join", "/chat/:room")
        async def join():
            await use_ws_rooms().join()

        @ws.on_message("say", "/chat/:room")
        async def say():
            use_ws_rooms().broadcast("said", room="/chat/General")
    """).ws
    async with mistake.client(app) as client:
        await client.call("join", "/chat/general", show=False)
        await client.call("say", "/chat/general", show=False)
    assert mistake.log() == [
        (
            "WARNING 'said' was broadcast to room '/chat/General', where nobody ever was: "
            "did you mean '/chat/general'? Names of rooms are compared to the letter"
        ),
    ]


async def test_a_client_is_in_no_room_by_itself(mistake: Mistake) -> None:
    """A broadcast without a join.

    Why: To send to a path does not make anybody a member of that room: a handler has to join.
    Remedy: A handler for an event such as "join", or a join in `on_connect`.
    """
    app = mistake.runs("""
        from wsrooms import WsApp, use_ws_message, use_ws_rooms

        ws = WsApp(debug=True)

        @ws.on_message("say", "/chat/:room")
        async def say():
            use_ws_rooms().broadcast("said", use_ws_message().data)
    """).ws
    async with mistake.client(app) as client:
        await client.call("say", "/chat/general", show=False)
    assert mistake.log() == [
        (
            "WARNING 'said' was broadcast to room '/chat/general', where nobody ever was, "
            "nor in any other room: a client is in no room until a handler has called "
            "use_ws_rooms().join(), or on_connect use_ws_connection().join(room)"
        ),
    ]


async def test_a_connection_is_let_go_in_the_end(mistake: Mistake) -> None:
    """A connection that is kept after its end.

    Why: A send to a connection that has closed is dropped, as it may close at any time. A list
    that keeps all of them for ever grows, and debug mode tells.
    Remedy: A room, which forgets its members by itself; or take it out in `on_disconnect`.
    """
    app = mistake.runs("""
        from wsrooms import WsApp, use_ws_connection

        ws = WsApp(debug=True)
        everybody = []

        @ws.on_connect
        async def remember():
            everybody.append(use_ws_connection())

        def tell_everybody(news):
            for connection in everybody:
                connection.send("news", "/", news)
    """)
    async with mistake.serving(app.ws) as url:
        async with mistake.connected(url):
            pass
        await mistake.until(lambda: not app.ws.server.connections())
        app.tell_everybody("hello")
    assert mistake.log() == [
        (
            "WARNING sent to connection 5f0c… after its on_disconnect: whoever keeps the "
            "connection must let it go in on_disconnect; rooms do that by themselves, and "
            "app.server.get_connection(id) knows who is still here"
        ),
    ]


async def test_a_reply_answers_a_request(mistake: Mistake) -> None:
    """reply() with an id of one's own.

    Why: A client waits for the ids that it has sent; what answers none of them it drops.
    Remedy: `connection.send("ready", "/")` needs no id.
    """
    app = mistake.runs("""
        from wsrooms import WsApp, use_ws_connection

        ws = WsApp(debug=True)

        @ws.on_message("start", "/job")
        async def start():
            use_ws_connection().reply("job-1", "ready")
    """).ws
    async with mistake.client(app) as client:
        await client.send('{"event":"start","path":"/job"}', show=False)
        await client.handled()
    assert mistake.log() == [
        (
            "WARNING replied to 5f0c… with the id 'job-1', which it has not sent: a client "
            "drops what answers no request; use the id of a message, connection.send() "
            "needs none"
        ),
    ]
