"""What instances send each other: the original's JSON, in an envelope, overheard by a stranger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.integration.fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.buses import Broker
    from tests.integration.nursery import Nursery

ROOM = "/chat/general"


async def test_the_payload_is_the_original_s_json_with_absent_members_left_out(
    fleet: Fleet, broker: Broker
) -> None:
    client = await fleet.client(0)
    id = await client.call("whoami", "/")
    code = fleet.processes[0]
    params = {"a": "1", "b": ["2", "3"]}
    async with broker.overhear(f"ws:room:{ROOM}", "ws:room:/chat/red", "ws:server") as stranger:
        posted = {"event": "post", "path": ROOM, "params": {"room": "general"}, "excludeId": id}

        await client.call("post", ROOM, {"text": "hi"})
        assert json.loads((await stranger.next()).payload) == {**posted, "data": {"text": "hi"}}

        await client.call("post", ROOM)
        assert json.loads((await stranger.next()).payload) == posted

        await client.call("post", ROOM, None)
        assert json.loads((await stranger.next()).payload) == {**posted, "data": None}

        await client.call("post", "/tags/red/blue")
        assert json.loads((await stranger.next()).payload) == {
            "event": "tags",
            "path": "/chat/red",
            "params": {"tag": ["red", "blue"]},
        }
        await code.ask("broadcast", room=ROOM, event="bell")
        assert json.loads((await stranger.next()).payload) == {"event": "bell", "path": ROOM}

        await code.ask(
            "broadcast",
            room=ROOM,
            event="bell",
            more={"data": [1], "params": params, "exclude": "somebody"},
        )
        assert json.loads((await stranger.next()).payload) == {
            "event": "bell",
            "path": ROOM,
            "data": [1],
            "params": params,
            "excludeId": "somebody",
        }
        await client.call("everybody", "/today", "world")
        heard = await stranger.next()
        assert heard.channel == "ws:server"
        assert json.loads(heard.payload) == {
            "event": "news",
            "path": "/today",
            "data": "world",
            "params": {"by": "us"},
        }


async def test_data_pass_as_they_are_written(fleet: Fleet, broker: Broker) -> None:
    client = await fleet.client(1)
    written = ["1.0", "-0", "1E2", "12345678901234567890123", '{ "a" : [ 1 ,2 ] }', '"\\u00e9\\/"']
    async with broker.overhear(f"ws:room:{ROOM}") as stranger:
        for data in written:
            client.wire.send_text(f'{{"event": "post", "path": "{ROOM}", "data": {data}}}')
            heard = await stranger.next()
            assert b'"data":' + data.encode() + b',"params"' in heard.payload


async def test_the_envelope_names_its_publisher_and_counts_from_one_in_each_channel(
    fleet: Fleet, broker: Broker
) -> None:
    rooms = ["a", "b"]
    heard = []
    async with broker.overhear(*(f"ws:room:{room}" for room in rooms)) as stranger:
        for _ in range(3):
            for index in range(3):
                await fleet.say(index, rooms)
        for _ in range(18):
            heard.append(await stranger.next())  # noqa: PERF401 - one by one

    epochs = {(each.instance, each.epoch) for each in heard}
    assert {instance for instance, _ in epochs} == {each.publisher for each in fleet.processes}
    assert len(epochs) == 3
    for process in fleet.processes:
        for room in rooms:
            numbers = [
                each.seq
                for each in heard
                if (each.instance, each.channel) == (process.publisher, f"ws:room:{room}")
            ]
            assert numbers == [1, 2, 3]


async def test_apps_in_different_namespaces_on_one_broker_do_not_hear_each_other(
    nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    rooms = ["/chat/general", "ws:room:a", "b:ws:room:a"]
    urls = [broker.url(), broker.url(namespace="a"), broker.url(namespace="b")]
    async with (
        Fleet(nursery, urls[0], tmp_path, 2, name="plain") as plain,
        Fleet(nursery, urls[1], tmp_path, 2, name="a") as a,
        Fleet(nursery, urls[2], tmp_path, 2, name="b") as b,
    ):
        for fleet in (plain, a, b):
            for index in range(2):
                member = await fleet.member(index)
                for room in rooms:
                    await member.join(room)
        for _ in range(3):
            for fleet in (plain, a, b):
                for member in fleet.members:
                    for room in rooms:
                        await member.say(room)
                    await member.announce()

        for fleet in (plain, a, b):
            await fleet.assert_ok()  # a foreign message would be one that nobody sent
            for member in fleet.members:
                assert len(member.heard) == 3 * (len(rooms) + 2)
        subscribed = await broker.subscriptions()
        if subscribed is not None:
            assert len(subscribed) == 3 * (len(rooms) + 1)
        async with broker.overhear("ws:server", namespace="b") as stranger:
            await a.announce(0)
            await plain.announce(0)
            id = await b.announce(0)
            assert json.loads((await stranger.next()).payload)["data"] == id
