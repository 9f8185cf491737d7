"""Members of a room whose subscription was given up learn that they may have missed something."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec import UNSET

from wsrooms import ConnectionGone, Gap, PermissionDenied, TransportUnavailable
from wsrooms.rooms import Rooms
from wsrooms.transports import SERVER_CHANNEL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wsrooms.transports import TransportState

    Eventually = Callable[[Callable[[], object]], Awaitable[None]]

LINK_LOST = Gap(None, None, None)


class Member:
    def __init__(self, id: str) -> None:
        self.id = id
        self.rooms: set[str] = set()
        self.closed = False

    def send(
        self, event: str, path: str, data: object = UNSET, params: object | None = None
    ) -> None: ...


class Broker:
    """A transport with a state, whose confirmations the test gives."""

    skips_own = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, asyncio.Future[None]]] = []
        self.unsubscribed: list[str] = []

    def publish(self, channel: str, payload: str) -> None: ...

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> asyncio.Future[None]:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked.append((channel, answer))
        return answer

    def unsubscribe(self, channel: str) -> None:
        self.unsubscribed.append(channel)

    def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None:
        self.tell_state = callback

    def restart(self) -> None:
        self.tell_state("down", "killed")
        self.tell_state("up", None)

    def answer(self, error: Exception | None = None) -> None:
        _, answer = self.asked[-1]
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def gaps() -> list[Gap]:
    return []


@pytest.fixture
def rooms(broker: Broker, gaps: list[Gap], monkeypatch: pytest.MonkeyPatch) -> Rooms:
    monkeypatch.setattr("wsrooms.rooms.WISH_AGAIN", 0.01)
    rooms = Rooms(broker, join_timeout=0.05)
    rooms.on_gap = gaps.append
    return rooms


async def test_a_subscription_that_is_not_restored_in_time_and_made_later_is_told(
    rooms: Rooms, broker: Broker, gaps: list[Gap], eventually: Eventually
) -> None:
    joined = rooms.join(Member("m"), "r")
    broker.answer()
    await joined
    broker.restart()
    await eventually(lambda: len(broker.asked) == 3)  # given up after the join timeout
    assert (broker.unsubscribed, gaps) == (["ws:room:r"], [])

    broker.answer()
    await eventually(lambda: gaps)
    assert gaps == [LINK_LOST]


async def test_a_subscription_that_was_refused_and_made_later_is_told_once(
    rooms: Rooms, broker: Broker, gaps: list[Gap], eventually: Eventually
) -> None:
    joined = rooms.join(Member("m"), "r")
    broker.answer()
    await joined
    broker.restart()
    broker.answer(PermissionDenied("ws:room:r", "not now"))
    await eventually(lambda: len(broker.asked) == 3)
    assert gaps == []

    broker.answer()
    await eventually(lambda: gaps)
    broker.restart()
    broker.answer()
    assert rooms.link is not None
    await eventually(lambda: rooms.link is not None and rooms.link.ready("ws:room:r"))
    assert gaps == [LINK_LOST]


async def test_where_nobody_had_been_confirmed_nothing_was_missed(
    rooms: Rooms, broker: Broker, gaps: list[Gap], eventually: Eventually
) -> None:
    with pytest.raises(TransportUnavailable):
        await rooms.join(Member("m"), "r")
    joined = rooms.join(Member("other"), "r")
    await eventually(lambda: len(broker.asked) >= 2)
    broker.answer()
    await joined

    assert gaps == []


async def test_whoever_has_closed_and_waits_for_on_disconnect_is_not_told(
    rooms: Rooms, broker: Broker, gaps: list[Gap], eventually: Eventually
) -> None:
    member = Member("m")
    joined = rooms.join(member, "r")
    member.closed = True
    rooms._pending.settle("r", member, ConnectionGone("m"))
    with pytest.raises(ConnectionGone):
        await joined
    await eventually(lambda: len(broker.asked) == 2)
    broker.answer()
    assert rooms.link is not None
    await eventually(lambda: rooms.link is not None and rooms.link.ready("ws:room:r"))

    assert gaps == []


async def test_whoever_left_before_it_was_made_again_is_not_told(
    rooms: Rooms, broker: Broker, gaps: list[Gap], eventually: Eventually
) -> None:
    member = Member("m")
    joined = rooms.join(member, "r")
    broker.answer()
    await joined
    broker.restart()
    await eventually(lambda: len(broker.asked) == 3)
    rooms.leave(member, "r")
    joined = rooms.join(member, "r")
    broker.answer()
    await joined

    assert gaps == []


async def test_a_server_wide_channel_that_is_confirmed_after_the_start_is_told(
    rooms: Rooms, broker: Broker, gaps: list[Gap], eventually: Eventually
) -> None:
    broker.tell_state("down", "not there yet")
    await rooms.serve_everybody(lambda: (), 5.0)
    broker.tell_state("up", None)
    broker.answer()
    await eventually(lambda: gaps)
    assert gaps == [LINK_LOST]


async def test_a_server_wide_channel_that_the_start_has_not_waited_for_is_told(
    rooms: Rooms, broker: Broker, gaps: list[Gap], eventually: Eventually
) -> None:
    with pytest.raises(TransportUnavailable, match="server-wide"):
        await rooms.serve_everybody(lambda: (), 0.01)
    broker.answer()
    await eventually(lambda: gaps)
    assert gaps == [LINK_LOST]


async def test_the_server_wide_channel_is_one_of_them_once_it_was_confirmed(
    rooms: Rooms, broker: Broker, gaps: list[Gap], eventually: Eventually
) -> None:
    serving = asyncio.ensure_future(rooms.serve_everybody(lambda: (), 5.0))
    await eventually(lambda: len(broker.asked) == 2)  # the first one came too late for nobody
    broker.answer()
    await serving
    assert gaps == []

    broker.restart()
    await eventually(lambda: len(broker.asked) == 4)
    broker.answer()
    await eventually(lambda: gaps)
    assert gaps == [LINK_LOST]
    assert {channel for channel, _ in broker.asked} == {SERVER_CHANNEL}
