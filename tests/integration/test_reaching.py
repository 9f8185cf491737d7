"""Who receives a broadcast: every member on every instance, once, and nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET

if TYPE_CHECKING:
    from tests.integration.fleet import Fleet


async def test_a_broadcast_reaches_every_member_on_every_instance_once_and_not_its_sender(
    fleet: Fleet,
) -> None:
    crowd = [member for some in await fleet.crowd(12) for member in some]
    inside = [member for number, member in enumerate(crowd) if number % 3]
    await asyncio.gather(*(member.join("/chat/general") for member in inside))
    await asyncio.gather(*(member.say("/chat/general") for member in inside for _ in range(5)))

    await fleet.assert_ok()

    sent = [record for record in fleet.history if record.kind == "send" and record.exclude]
    assert len(sent) == len(inside) * 5
    for member in crowd:
        wanted = {each.message for each in sent if each.by != member.name}
        assert sorted(member.heard) == (sorted(map(str, wanted)) if member in inside else [])


async def test_a_message_to_everybody_reaches_every_client_of_every_instance_once(
    fleet: Fleet,
) -> None:
    crowd = [member for some in await fleet.crowd(10) for member in some]
    await asyncio.gather(*(member.announce() for member in crowd for _ in range(3)))
    for index in range(3):
        await fleet.announce(index)

    await fleet.assert_ok()

    wanted = sorted(
        str(record.message)
        for record in fleet.history
        if record.kind == "send" and not str(record.message).startswith("last")
    )
    assert len(wanted) == 93
    for member in crowd:  # the sender too
        assert sorted(member.heard) == wanted


async def test_a_local_message_to_everybody_stays_on_its_instance(fleet: Fleet) -> None:
    ann, bob, eve = [await fleet.client(index) for index in (0, 0, 1)]

    await ann.call("here", "/news", "local")
    await ann.call("everybody", "/news", "all")

    everywhere = {"event": "news", "path": "/news", "data": "all", "params": {"by": "us"}}
    for local in (ann, bob):
        assert await local.receive() == {"event": "news", "path": "/news", "data": "local"}
        assert await local.receive() == everywhere
    assert await eve.receive() == everywhere


async def test_a_user_is_reached_wherever_he_is_connected(fleet: Fleet) -> None:
    desk, phone = await fleet.client(0, "/?user=ann"), await fleet.client(2, "/?user=ann")
    bob = await fleet.client(1, "/?user=bob")

    await bob.call("message", "/user/ann", "hi")
    await bob.call("message", "/user/bob", "note to self")

    pushed = {"event": "message", "path": "user:ann", "data": "hi"}
    assert [await desk.receive(), await phone.receive()] == [pushed, pushed]
    assert (await bob.receive())["path"] == "user:bob"  # hence not what was for ann

    await desk.close()
    await bob.call("message", "/user/ann", "still there?")
    assert (await phone.receive())["data"] == "still there?"


DATA: dict[str, Any] = {
    "none given": UNSET,
    "null": None,
    "false": False,
    "an empty text": "",
    "an empty list": [],
    "numbers": [0, -1, 1.5, 1e300, 2**53, 2**63, -(2**63), 5e-324],
    "unicode": "Grüße, 世界, שלום, e\u0301 é, \u2028\u2029\ufeff\x7f, \U0001f468\u200d\U0001f469",
    "control characters": "".join(map(chr, range(32))),
    "what looks like a message": {"event": "x", "path": "/", "id": 1, "excludeId": "y"},
    "what looks like an envelope": "1 0123456789abcdef 1 1 {}",
    "deep": [[[[[{"a": {"b": [{"c": None}]}}]]]]],
    "large": "\u00e9\n" * 100_000,
}


async def test_data_arrive_as_they_were_sent(fleet: Fleet) -> None:
    sender, local, far, farther = [await fleet.client(index) for index in (0, 0, 1, 2)]
    for client in (local, far, farther):
        await client.call("join", "/chat/general")

    for what, data in DATA.items():
        await sender.call("post", "/chat/general", data)
        wanted = {"event": "post", "path": "/chat/general", "params": {"room": "general"}}
        if data is not UNSET:
            wanted["data"] = data
        for client in (local, far, farther):
            assert await client.receive() == wanted, what


async def test_params_arrive_as_the_route_found_them(fleet: Fleet) -> None:
    sender, far = await fleet.client(0), await fleet.client(1)
    for client in (sender, far):
        await client.call("join", "/chat/red")
    found = {
        "/tags/red/blue": "blue",
        "/tags/red/a%20b%2Fc": "a b/c",
        "/tags/red/%E4%B8%96 世": "世 世",
        "/tags/red/%00": "\0",
        "/tags/red/%25": "%",
    }

    for path, second in found.items():
        await sender.call("post", path)
        wanted = {"event": "tags", "path": "/chat/red", "params": {"tag": ["red", second]}}
        assert [await sender.receive(), await far.receive()] == [wanted, wanted]


async def test_a_message_at_the_limit_reaches_everybody_and_one_byte_more_reaches_nobody(
    fleet: Fleet,
) -> None:
    listeners = [await fleet.client(index) for index in range(3)]
    for client in listeners:
        await client.call("join", "/chat/big")
    code = fleet.processes[0]
    frame = '{"event":"big","path":"/chat/big","data":""}'
    most = await code.ask("max_payload") - len(frame)

    with pytest.raises(AssertionError, match="PayloadTooLarge"):
        await code.ask("broadcast", room="/chat/big", event="big", more={"data": "x" * (most + 1)})
    error = await code.ask("broadcast", room="/chat/big", event="big", more={"data": "x" * most})

    assert error is None
    for client in listeners:
        assert len((await client.receive())["data"]) == most
