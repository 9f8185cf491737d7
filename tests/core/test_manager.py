"""``WsRoomManager``: rooms without an app; what they do is tested in test_rooms.py and others."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import pytest
from msgspec import UNSET

from tests.deadlines import DEADLINE
from wsrooms import (
    Gap,
    InvalidRoom,
    MemoryBus,
    MemoryTransport,
    TransportUnavailable,
    WsMember,
    WsRoomManager,
)

from .members import Member

if TYPE_CHECKING:
    from collections.abc import Callable


class Broken(Member):
    def send(
        self,
        event: str,
        path: str,
        data: object = UNSET,
        params: object | None = None,
    ) -> None:
        raise LookupError


class SyncTransport:
    """Three sync methods, and word of gaps."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[str], None]] = {}
        self.published: list[tuple[str, object]] = []
        self.tell: Callable[[Gap], None] | None = None

    def publish(self, channel: str, payload: str) -> None:
        self.published.append((channel, json.loads(payload)))

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        self.handlers[channel] = handler

    def unsubscribe(self, channel: str) -> None:
        del self.handlers[channel]

    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        self.tell = callback


class Silent:
    """A bus that never confirms."""

    def publish(self, channel: str, payload: str) -> None: ...

    async def subscribe(self, channel: str, handler: object) -> None:
        await asyncio.Event().wait()

    def unsubscribe(self, channel: str) -> None: ...


@pytest.fixture
def no_loop() -> None:
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


@pytest.mark.usefixtures("no_loop")
def test_members_of_any_class_join_leave_and_receive_without_loop_and_transport() -> None:
    rooms = WsRoomManager()
    a, b, c = Member("a"), Member("b"), Member("c")
    for member in (a, b, c):
        assert rooms.join(member, "r").done
    rooms.join(a, "s")
    assert rooms.connections("r") == {a, b, c}
    assert a.rooms == {"r", "s"}
    assert rooms.broadcast("r", "e", "/p", {"x": 1}, {"k": "v"}, exclude=a).done
    assert rooms.broadcast("r", "e", "/p", exclude="b").done
    assert a.received == [("e", "/p", UNSET, None)]
    assert b.received == [("e", "/p", {"x": 1}, {"k": "v"})]
    assert len(c.received) == 2
    assert rooms.leave(b, "r").done
    assert rooms.leave_all(a).done
    assert rooms.connections("r") == {c}
    assert rooms.connections("s") == frozenset()
    assert rooms.stats()["memberships"] == 1


@pytest.mark.usefixtures("no_loop")
def test_a_sync_transport_needs_no_loop_either() -> None:
    transport = SyncTransport()
    rooms = WsRoomManager(transport)
    member = Member("m")
    assert rooms.join(member, "r").done
    rooms.broadcast("r", "e", "/p", 1, exclude=member)
    rooms.broadcast("r", "e", "/p", 2, local=True)
    assert transport.published == [
        ("ws:room:r", {"event": "e", "path": "/p", "data": 1, "excludeId": "m"})
    ]
    transport.handlers["ws:room:r"]('{"event":"x","path":"/y"}')
    assert member.received == [("e", "/p", 2, None), ("x", "/y", UNSET, None)]
    rooms.leave(member, "r")
    assert transport.handlers == {}


def test_two_managers_share_rooms_over_a_bus() -> None:
    bus = MemoryBus()
    one, other = (WsRoomManager(MemoryTransport(bus)) for _ in range(2))
    a, b = Member("a"), Member("b")
    one.join(a, "r")
    other.join(b, "r")
    assert one.connections("r") == {a}
    one.broadcast("r", "e", "/", "hi", exclude="b")
    other.broadcast("r", "e", "/")
    assert len(a.received) == 2
    assert b.received == [("e", "/", UNSET, None)]


async def test_a_join_that_is_not_confirmed_in_time_is_undone() -> None:
    rooms = WsRoomManager(Silent(), join_timeout=0.05)
    member = Member("m")
    receipt = rooms.join(member, "r")
    assert member.rooms == {"r"}
    with pytest.raises(TransportUnavailable, match=r"not confirmed within 0\.05 s"):
        await receipt
    assert member.rooms == set()
    # The call of the transport has its time from when it has begun, which may be a moment later.
    if calls := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(calls, timeout=DEADLINE)


@pytest.mark.usefixtures("no_loop")
def test_gaps_are_told_to_whom_it_was_given() -> None:
    transport = SyncTransport()
    told: list[Gap] = []
    rooms = WsRoomManager(transport, on_gap=told.append)
    assert transport.tell is not None
    transport.tell(Gap("r", "other", 2))
    assert told == [Gap("r", "other", 2)]
    assert rooms.stats()["gaps"] == 1


@pytest.mark.usefixtures("no_loop")
def test_a_member_that_fails_is_told_to_the_logger_that_was_given(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = SyncTransport()
    rooms = WsRoomManager(transport, logger=logging.getLogger("mine"))
    broken, well = Broken("broken"), Member("well")
    rooms.join(broken, "r")
    rooms.join(well, "r")
    rooms.broadcast("r", "e", "/")
    transport.handlers["ws:room:r"]('{"event":"x","path":"/y"}')
    assert len(well.received) == 2
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("mine", "member broken failed to take a message")
    ] * 2


@pytest.mark.usefixtures("no_loop")
def test_a_bad_room_name_raises() -> None:
    rooms = WsRoomManager()
    with pytest.raises(InvalidRoom):
        rooms.join(Member("m"), "")
    with pytest.raises(InvalidRoom):
        rooms.broadcast("", "e", "/")


def test_what_an_app_needs_of_it_is_no_part_of_it() -> None:
    public = {name for name in dir(WsRoomManager()) if not name.startswith("_")}
    assert public == {"join", "leave", "leave_all", "connections", "broadcast", "stats"}


def test_a_member_of_ones_own_fits_the_protocol() -> None:
    member: WsMember = Member("m")
    assert member.id == "m"
