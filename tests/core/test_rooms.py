"""``Rooms`` alone: without a server, and without a loop where none is needed."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET, Raw

from tests.ids import shown
from wsrooms import (
    Gap,
    InvalidRoom,
    MemoryBus,
    MemoryTransport,
    PayloadTooLarge,
    PermissionDenied,
)
from wsrooms.recent import Recent
from wsrooms.rooms import Rooms
from wsrooms.wire import CustomCodec

from .members import Member, SyncTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Eventually = Callable[[Callable[[], object]], Awaitable[None]]
    Bus = Any


@pytest.fixture
def no_loop() -> None:
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


# Without a transport


@pytest.mark.usefixtures("no_loop")
def test_rooms_need_no_loop_and_no_server() -> None:
    rooms = Rooms()
    a, b, c = Member("a"), Member("b"), Member("c")
    for member in (a, b, c):
        receipt = rooms.join(member, "r")
        assert receipt.done
        assert receipt.error is None
    assert rooms.connections("r") == {a, b, c}
    assert a.rooms == {"r"}
    assert rooms.broadcast("r", "e", "/p", {"x": 1}, {"k": "v"}, exclude=a).done
    assert rooms.broadcast("r", "e", "/p", exclude="b").done
    assert a.received == [("e", "/p", UNSET, None)]
    assert b.received == [("e", "/p", {"x": 1}, {"k": "v"})]
    assert len(c.received) == 2
    assert rooms.leave(b, "r").done
    assert rooms.leave(b, "never").done
    assert rooms.join(a, "r").done
    rooms.join(a, "s")
    assert rooms.leave_all(a).done
    assert a.rooms == set()
    assert rooms.connections("r") == {c}
    assert rooms.connections("s") == frozenset()
    assert rooms.stats()["rooms"] == rooms.stats()["memberships"] == 1


@pytest.mark.usefixtures("no_loop")
def test_members_may_leave_and_join_while_they_receive() -> None:
    rooms = Rooms()

    class Restless(Member):
        def send(
            self, event: str, path: str, data: object = UNSET, params: object | None = None
        ) -> None:
            super().send(event, path, data, params)
            rooms.leave(self, "r")
            rooms.join(Member(f"{self.id}'"), "r")

    first, second = Restless("1"), Restless("2")
    rooms.join(first, "r")
    rooms.join(second, "r")
    rooms.broadcast("r", "e", "/")
    assert len(first.received) == len(second.received) == 1
    assert {member.id for member in rooms.connections("r")} == {"1'", "2'"}


@pytest.mark.usefixtures("no_loop")
def test_a_member_that_fails_to_take_a_message_does_not_keep_it_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rooms = Rooms()

    class Broken(Member):
        def send(
            self, event: str, path: str, data: object = UNSET, params: object | None = None
        ) -> None:
            raise LookupError

    broken, well = Broken("broken"), Member("well")
    rooms.join(broken, "r")
    rooms.join(well, "r")
    rooms.broadcast("r", "e", "/")
    assert len(well.received) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "member broken failed to take a message"
    ]


@pytest.mark.usefixtures("no_loop")
def test_raw_data_is_decoded_for_members_that_take_objects() -> None:
    rooms = Rooms()
    member = Member("m")
    rooms.join(member, "r")
    rooms.broadcast("r", "e", "/", Raw(b'{"a":[1]}'))
    assert member.received == [("e", "/", {"a": [1]}, None)]


# Through a sync transport


@pytest.mark.usefixtures("no_loop")
def test_a_sync_transport_needs_no_loop_either() -> None:
    transport = SyncTransport()
    rooms = Rooms(transport)
    a, b = Member("a"), Member("b")
    assert rooms.join(a, "r").done
    assert rooms.join(b, "r").done
    assert list(transport.handlers) == ["ws:room:r"]
    assert rooms.broadcast("r", "e", "/p", 1, {"k": ["v", "w"]}, exclude=a).done
    rooms.broadcast("r", "e", "/p")
    rooms.broadcast("r", "e", "/p", None, local=True)
    assert transport.published == [
        (
            "ws:room:r",
            {
                "event": "e",
                "path": "/p",
                "data": 1,
                "params": {"k": ["v", "w"]},
                "excludeId": "a",
            },
        ),
        ("ws:room:r", {"event": "e", "path": "/p"}),
    ]
    transport.handlers["ws:room:r"](
        '{"event":"x","path":"/y","data":[1],"params":{"p":"1"},"excludeId":"elsewhere"}'
    )
    assert a.received[-1] == b.received[-1] == ("x", "/y", [1], {"p": "1"})
    rooms.leave(a, "r")
    assert "ws:room:r" in transport.handlers
    rooms.leave_all(b)
    assert transport.handlers == {}


@pytest.mark.usefixtures("no_loop")
def test_a_sync_transport_that_refuses_fails_the_receipt_and_undoes_the_join(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = SyncTransport()
    transport.failing = PermissionDenied("ws:room:r", "not yours")
    rooms = Rooms(transport)
    member = Member("m")
    receipt = rooms.join(member, "r")
    assert receipt.done
    assert isinstance(receipt.error, PermissionDenied)
    assert member.rooms == set()
    assert rooms.stats()["joins_failed"] == 1
    del receipt
    assert rooms.stats()["receipts_failed"] == 1
    assert "not yours" in caplog.text
    sent = rooms.broadcast("r", "e", "/")
    assert isinstance(sent.error, PermissionDenied)
    transport.failing = None
    assert rooms.join(member, "r").error is None


def test_two_managers_share_rooms_over_a_bus() -> None:
    bus = MemoryBus()
    one, other = (Rooms(MemoryTransport(bus)) for _ in range(2))
    a, b = Member("a"), Member("b")
    one.join(a, "r")
    other.join(b, "r")
    assert one.connections("r") == {a}
    one.broadcast("r", "e", "/", "hi", exclude="b")
    assert a.received == [("e", "/", "hi", None)]
    assert b.received == []
    other.broadcast("r", "e", "/")
    assert len(a.received) == 2
    assert bus.channels() == {"ws:room:r": 2}


# All or nobody


@pytest.mark.usefixtures("no_loop")
@pytest.mark.parametrize("room", ["", "x" * 1025, "é" * 513, "\ud800", 5, None])
def test_a_bad_room_name_raises_before_anything_happens(room: Any) -> None:
    transport = SyncTransport()
    rooms = Rooms(transport)
    member = Member("m")
    with pytest.raises(InvalidRoom):
        rooms.join(member, room)
    with pytest.raises(InvalidRoom):
        rooms.broadcast(room, "e", "/")
    assert member.rooms == set()
    assert transport.handlers == {}
    assert transport.published == []


@pytest.mark.usefixtures("no_loop")
@pytest.mark.parametrize("room", ["x" * 1024, "é" * 512, " ", "a.b", "*", ">", "ws:server", "\0"])
def test_any_other_name_is_a_room(room: str) -> None:
    rooms = Rooms(SyncTransport())
    member = Member("m")
    rooms.join(member, room)
    rooms.broadcast(room, "e", "/")
    assert len(member.received) == 1


@pytest.mark.usefixtures("no_loop")
@pytest.mark.parametrize("transport", [None, SyncTransport()], ids=["alone", "transport"])
@pytest.mark.parametrize(
    "message",
    [
        {"data": object()},
        {"data": {"a": [b"\xff", object()]}},
        {"data": "\ud800"},
        {"data": Raw(b"{")},
        {"params": {"a": 1}},
        {"params": {"a": ["b", None]}},
        {"params": {5: "a"}},
    ],
    ids=shown,
)
def test_what_json_cannot_carry_raises_before_anybody_gets_it(
    transport: SyncTransport | None, message: dict[str, Any]
) -> None:
    rooms = Rooms(transport)
    member = Member("m")
    rooms.join(member, "r")
    with pytest.raises((TypeError, ValueError)):
        rooms.broadcast("r", "e", "/", **message)
    assert member.received == []
    assert transport is None or transport.published == []


@pytest.mark.usefixtures("no_loop")
def test_a_payload_over_the_transports_limit_raises_before_anybody_gets_it() -> None:
    class Limited(SyncTransport):
        max_payload = 64

    transport = Limited()
    rooms = Rooms(transport)
    member = Member("m")
    rooms.join(member, "r")
    with pytest.raises(PayloadTooLarge) as caught:
        rooms.broadcast("r", "e", "/", "é" * 40)
    assert caught.value.limit == 64
    assert caught.value.size > 80
    assert member.received == []
    assert transport.published == []
    rooms.broadcast("r", "e", "/", "é" * 40, local=True)
    rooms.broadcast("r", "e", "/", "é")
    assert len(member.received) == 2
    assert len(transport.published) == 1


# What it tells


def test_gaps_are_counted_and_told() -> None:
    class Gappy(SyncTransport):
        def on_gap(self, callback: Callable[[Gap], None]) -> None:
            self.tell = callback

    transport = Gappy()
    rooms = Rooms(transport)
    told: list[Gap] = []
    transport.tell(Gap(None, None, None))
    rooms.on_gap = told.append
    transport.tell(Gap("r", "other", 2))
    assert told == [Gap("r", "other", 2)]
    assert rooms.stats()["gaps"] == 2


def test_an_echo_of_a_plain_transport_is_dropped_and_one_error_names_tagged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = SyncTransport()
    rooms = Rooms(transport)
    a, b = Member("a"), Member("b")
    for member in (a, b):
        rooms.join(member, "r")
    for _ in range(3):
        rooms.broadcast("r", "e", "/", exclude=a)
        channel, payload = transport.published[-1]
        transport.handlers[channel](json.dumps(payload))
    assert len(b.received) == 3
    assert rooms.stats()["echoes"] == 3
    [error] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "wsrooms.tagged()" in error.getMessage()


def test_a_message_of_another_instance_that_cannot_be_told_here_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(message: dict[str, object]) -> str:
        raise LookupError("no such template")

    transport = SyncTransport()
    rooms = Rooms(transport, codec=CustomCodec(None, broken))
    member = Member("m")
    rooms.join(member, "r")
    transport.handlers["ws:room:r"]('{"event":"e","path":"/"}')
    assert member.received == []
    assert "could not be delivered" in caplog.text


def test_echoes_are_known_of_the_last_that_went_only() -> None:
    transport = SyncTransport()
    rooms = Rooms(transport)
    rooms._gone = Recent(2)
    stays = Member("stays")
    rooms.join(stays, "r")
    for number in range(3):
        rooms.leave_all(Member(str(number)))
    for number in range(3):
        payload = f'{{"event":"e","path":"/","excludeId":"{number}"}}'
        transport.handlers["ws:room:r"](payload)
    assert rooms.stats()["echoes"] == 2
    assert len(stays.received) == 1


def test_a_transports_own_figures_are_added_and_foreign_ones_summed() -> None:
    class Counting(SyncTransport):
        def stats(self) -> dict[str, int]:
            return {"reconnects": 3, "foreign": 2, "of_its_own": 1, "rooms": 99}

    transport = Counting()
    rooms = Rooms(transport)
    rooms.join(Member("m"), "r")
    transport.handlers["ws:room:r"]("no message")
    stats = rooms.stats()
    assert (stats["reconnects"], stats["of_its_own"], stats["foreign"]) == (3, 1, 3)
    assert stats["rooms"] == 1
