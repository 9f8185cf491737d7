"""Rooms with odd names: each message reaches its room and no other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from wsrooms import WsError

if TYPE_CHECKING:
    from tests.integration.fleet import Fleet

NAMES = [
    *(" ", "  ", " a", "a ", "a b", "\t", "\u00a0"),
    *(".", "..", "a.", ".a", "a.b", "a..b", "%2E", "%252E", "%", "%%", "%41", "A", "a"),
    *(
        "*",
        ">",
        "a.*",
        "a.>",
        "**",
        "a*",
        "[ab]",
        "?",
        "a?b",
        "a?",
        "#",
        "a#b",
        "{a}",
        "$SYS",
        "\\",
    ),
    *("\0", "a\0b", "\r\n", "a\r\nPUBLISH ws:server x\r\n", "\n", '"', "'", '\\"', "`", "|", ";"),
    *(
        "é",
        "e\u0301",
        "\u212b",
        "\u00c5",
        "世界",
        "שלום",
        "\u0131",
        "\u0130",
        "ß",
        "\ufeff",
        "\u2028",
        "\ufffd",
    ),
    *("\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0010ffff"),
    *(
        "ws:server",
        "ws:room:a",
        "server",
        "/",
        "//",
        "/chat/:room",
        ":room",
        "-1",
        "null",
        "__proto__",
    ),
    *("x" * 1024, "x" * 1023, "\U0001f600" * 256, "." * 1024, "%" * 1024),
]
"""Near others on purpose: a prefix, another case, another form of the same letter."""


async def test_each_room_with_an_odd_name_hears_only_what_is_for_it(fleet: Fleet) -> None:
    assert len(set(NAMES)) == len(NAMES)
    sender = await fleet.client(0)
    listeners = await asyncio.gather(*(fleet.client(1 + n % 2) for n in range(len(NAMES))))
    await asyncio.gather(
        *(one.call("enter", "/room", name) for one, name in zip(listeners, NAMES, strict=True))
    )

    for name in NAMES:
        await sender.call("say", "/room", [name, name])
    await sender.call("everybody", "/end")

    for listener, name in zip(listeners, NAMES, strict=True):
        assert await listener.receive() == {"event": "said", "path": name, "data": name}
    for listener, name in zip(listeners, NAMES, strict=True):
        while not any(push["event"] == "news" for push in listener.pushes):
            listener.pushes.appendleft(await listener.receive())
        assert [push["path"] for push in listener.pushes] == ["/end"], repr(name)


async def test_the_path_of_a_message_may_be_a_room_with_an_odd_name(fleet: Fleet) -> None:
    # A line's end ends a wildcard, so no route of recorded clients takes the others.
    names = [name for name in NAMES if name.splitlines() == [name]]
    members = [await fleet.member(index) for index in range(3)]
    for member in members:
        await asyncio.gather(*(member.join(name) for name in names))

    await asyncio.gather(*(member.say(name) for member in members for name in names))

    await fleet.assert_ok()
    for member in members:
        assert len(member.heard) == 2 * len(names)


async def test_a_name_that_is_no_room_is_refused_and_the_others_go_on(fleet: Fleet) -> None:
    sender, listener = await fleet.client(0), await fleet.client(1)
    await listener.call("enter", "/room", "x")

    for name in ("", "x" * 1025, "\U0001f600" * 257):
        for client, event, data in ((listener, "enter", name), (sender, "say", [name, 1])):
            with pytest.raises(WsError) as refusal:
                await client.call(event, "/room", data)
            assert refusal.value.code == 400

    await sender.call("say", "/room", ["x", 2])
    assert (await listener.receive())["data"] == 2
