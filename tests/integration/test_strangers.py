"""Whoever can publish on the broker can say anything; it must do no harm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.waiting import until_equal

if TYPE_CHECKING:
    from tests.integration.buses import Broker
    from tests.integration.clients import Client
    from tests.integration.fleet import Fleet

ROOM = "/chat/general"
CHANNEL = f"ws:room:{ROOM}"
STRANGER = "feedfacefeedface"
MEGABYTE = 1_048_576

FINE: dict[str, Any] = {"event": "post", "path": ROOM, "data": "forged"}


def _with(**members: Any) -> bytes:
    return json.dumps({**FINE, **members}).encode()


RAW: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"\0",
    "plain text": b"hello",
    "the payload without an envelope": _with(),
    "another version": b"2 feedfacefeedface 1 1 " + _with(),
    "an envelope that ends early": b"1 feedfacefeedface 1",
    "an envelope without a publisher": b"1  1 1 " + _with(),
    "a long publisher": b"1 " + b"f" * 10_000 + b" 1 1 " + _with(),
    "a publisher that is not ASCII": "1 fée 1 1 ".encode() + _with(),
    "no text": b"\xff\xfe\x00\x80" * 100,
    "a negative number": b"1 feedfacefeedface 1 -1 " + _with(),
    "a number of zero": b"1 feedfacefeedface 1 0 " + _with(),
    "a number that is none": b"1 feedfacefeedface 1 x " + _with(),
    "a number with a sign": b"1 feedfacefeedface 1 +1 " + _with(),
    "a number in other digits": "1 feedfacefeedface 1 \u0661 ".encode() + _with(),
    "a number of 2^63": b"1 feedfacefeedface 1 9223372036854775808 " + _with(),
    "a number of 10^30": b"1 feedfacefeedface 1 1" + b"0" * 30 + b" " + _with(),
    "a number of 100,000 digits": b"1 feedfacefeedface 1 " + b"9" * 100_000 + b" " + _with(),
    "an epoch of 10^30": b"1 feedfacefeedface 1" + b"0" * 30 + b" 1 " + _with(),
    "10 MB of noise": b"\xff" * 10 * MEGABYTE,
    "10 MB of JSON": b"1 feedfacefeedface 1 1 " + _with(data="x" * 10 * MEGABYTE),
}
"""Published as they are."""

ENVELOPED: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{event: post}",
    "JSON that ends early": _with()[:-1],
    "two documents": _with() + _with(),
    "no object": b"[1]",
    "null": b"null",
    "an object of other things": b'{"a": 1}',
    "no event": b'{"path": "/chat/general"}',
    "no path": b'{"event": "post"}',
    "an event that is no text": _with(event=1),
    "a path that is no text": _with(path=["/chat/general"]),
    "params that are a list": _with(params=["a"]),
    "params that hold numbers": _with(params={"a": 1}),
    "params in params": _with(params={"a": {"b": "c"}}),
    "an excluded client that is no text": _with(excludeId=1),
    "invalid UTF-8 in the data": _with().replace(b"forged", b"for\xffged"),
    "invalid UTF-8 in the event": _with().replace(b"post", b"po\xc3st"),
    "a surrogate in UTF-8": _with().replace(b"forged", b"\xed\xa0\x80"),
    "data of a thousand thousand lists": _with().replace(
        b'"forged"', b"[" * MEGABYTE + b"]" * MEGABYTE
    ),
    "lists that never end": _with().replace(b'"forged"', b"[" * MEGABYTE),
    "objects that never end": b'{"a":' * MEGABYTE,
    "a control character in a text": _with().replace(b"forged", b"for\nged"),
    "a number with a leading zero": _with().replace(b'"forged"', b"01"),
    "a number without an end": _with().replace(b'"forged"', b"1e"),
    "not a number": _with().replace(b'"forged"', b"NaN"),
    "a comment": _with() + b"// hi",
    "a byte order mark": b"\xef\xbb\xbf" + _with(),
}
"""Published in the envelope of an unknown publisher, each a number higher."""


@pytest.fixture
async def listeners(fleet: Fleet) -> list[Client]:
    """A member of the room on each instance."""
    clients = [await fleet.client(index) for index in range(3)]
    for client in clients:
        await client.call("join", ROOM)
    return clients


async def _go_on(fleet: Fleet, listeners: list[Client], broker: Broker, seq: int) -> None:
    """Everybody still hears strangers, members and instances."""
    end = json.dumps({**FINE, "data": "the end"}).encode()
    await broker.forge(CHANNEL, end, instance=STRANGER, seq=str(seq))
    for listener in listeners:
        assert (await listener.receive())["data"] == "the end"
    for sender in listeners:
        await sender.call("post", ROOM, "hello")
        for listener in listeners:
            if listener is not sender:
                assert (await listener.receive())["data"] == "hello"
    await listeners[0].call("everybody", "/end")
    for listener in listeners:
        assert (await listener.receive())["path"] == "/end"
    assert {health["state"] for health in await fleet.ask("health")} == {"up"}


async def test_what_is_no_message_of_ours_is_dropped_and_counted(
    fleet: Fleet, broker: Broker, listeners: list[Client]
) -> None:
    dropped = 0
    for channel in (CHANNEL, "ws:server"):
        for data in RAW.values():
            await broker.publish(channel, data)
            dropped += 1
            # One after another: a broker cuts off whoever has too much to read.
            await until_equal(lambda: fleet.stats("foreign"), [dropped] * 3)

    await _go_on(fleet, listeners, broker, 1)
    assert await fleet.stats("reconnects") == [0] * 3


async def test_a_payload_that_is_no_message_is_dropped_and_the_room_goes_on(
    fleet: Fleet, broker: Broker, listeners: list[Client]
) -> None:
    for seq, (what, payload) in enumerate(ENVELOPED.items(), 1):
        await broker.forge(CHANNEL, payload, instance=STRANGER, seq=str(seq))
        assert await listeners[0].call("whoami", "/"), what

    await _go_on(fleet, listeners, broker, len(ENVELOPED) + 1)
    assert await fleet.stats("foreign") == [len(ENVELOPED)] * 3


async def test_half_an_emoji_of_a_stranger_arrives_as_a_replacement_character(
    broker: Broker, listeners: list[Client]
) -> None:
    payload = _with(path="/chat/gen\ud800", data="\udc00", params={"\ud83d": ["\ude00", "x"]})
    await broker.forge(CHANNEL, payload, instance=STRANGER, seq="1")

    for listener in listeners:
        assert await listener.receive() == {
            "event": "post",
            "path": "/chat/gen\ufffd",
            "data": "\ufffd",
            "params": {"\ufffd": ["\ufffd", "x"]},
        }


async def test_what_says_that_it_comes_from_the_instance_itself_is_skipped(
    fleet: Fleet, broker: Broker, listeners: list[Client]
) -> None:
    for process in fleet.processes:
        assert process.publisher is not None
        await broker.forge(CHANNEL, _with(data=process.name), instance=process.publisher, seq="1")

    heard = [[(await one.receive())["data"] for _ in range(2)] for one in listeners]
    assert heard == [["i1", "i2"], ["i0", "i2"], ["i0", "i1"]]


async def test_a_forged_exclusion_excludes_only_whom_it_names(
    fleet: Fleet, broker: Broker, listeners: list[Client]
) -> None:
    ids = [await listener.call("whoami", "/") for listener in listeners]
    for seq, excluded in enumerate([ids[1], "nobody", ""], 1):
        payload = _with(data=seq, excludeId=excluded)
        await broker.forge(CHANNEL, payload, instance=STRANGER, seq=str(seq))

    heard = [[(await one.receive())["data"] for _ in range(2)] for one in listeners]
    assert heard == [[1, 2], [2, 3], [1, 2]]
    assert [(await listeners[index].receive())["data"] for index in (0, 2)] == [3, 3]


async def test_numbers_that_leap_are_reported_and_stop_nobody_else(
    fleet: Fleet, broker: Broker, listeners: list[Client]
) -> None:
    leaps = [("1", "1"), ("1", "9223372036854775807"), ("9223372036854775807", "1"), ("1", "2")]
    for epoch, seq in leaps:
        await broker.forge(CHANNEL, _with(data=seq), instance=STRANGER, seq=seq, epoch=epoch)
    for listener in listeners:
        assert [(await listener.receive())["data"] for _ in range(3)] == [
            "1",
            "9223372036854775807",
            "1",
        ]

    for sender in listeners:
        await sender.call("post", ROOM, "hello")
    for listener in listeners:
        assert [(await listener.receive())["data"] for _ in range(2)] == ["hello", "hello"]
    assert fleet.gaps == {f"i{n}": [(ROOM, STRANGER, 2**63 - 3)] for n in range(3)}
