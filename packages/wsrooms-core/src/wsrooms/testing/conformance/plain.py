"""Case 58: the smallest transport there is, under the core's rooms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from wsrooms.manager import WsRoomManager
from wsrooms.testing.conformance.case import case
from wsrooms.transports import tagged

if TYPE_CHECKING:
    from wsrooms.testing.conformance.trial import Trial
    from wsrooms.transports import WsBroadcastTransport
    from wsrooms.wire import Params

MESSAGES = 100


@case(58)
async def plain_three_method_class_works(trial: Trial) -> None:
    """Three methods, async or sync, are enough for rooms that span instances."""
    instances = await trial.several(2)
    carried = [Async(instance.transport) for instance in instances]
    await _rooms_work(trial, list(carried))
    await trial.until(
        lambda: not any(each.channels for each in carried),
        "the rooms unsubscribe what nobody is in any more",
    )
    bus: Bus = {}
    await _rooms_work(trial, [tagged(Sync(bus)) for _ in range(2)])


async def _rooms_work(trial: Trial, transports: list[WsBroadcastTransport]) -> None:
    here, there = (WsRoomManager(transport) for transport in transports)
    ann, bob, cid = Member("ann"), Member("bob"), Member("cid")
    room = f"{trial.mark}-plain"
    await here.join(ann, room)
    await there.join(bob, room)
    await there.join(cid, room)
    for number in range(MESSAGES):
        await here.broadcast(room, "message", room, number, exclude=ann)
    for member in (bob, cid):
        await trial.until(partial(member.has, MESSAGES), "what ann has sent")
        trial.check(member.got == list(range(MESSAGES)), f"{member.id} got {member.got[:5]}…")
    trial.check(not ann.got, f"ann, who was excluded, got {ann.got[:5]}")
    await there.leave(cid, room)
    await there.broadcast(room, "message", room, "back", exclude=bob)
    await trial.until(lambda: ann.got, "what was sent back")
    await there.leave(bob, room)
    await here.leave(ann, room)
    trial.check(ann.got == ["back"], f"ann got {ann.got}")
    trial.check(len(cid.got) == MESSAGES, "cid, who has left, got more")


class Member:
    """Somebody in a room."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.rooms: set[str] = set()
        self.got: list[object] = []

    def has(self, count: int) -> bool:
        """Whether so many have come."""
        return len(self.got) >= count

    def send(
        self, event: str, path: str, data: object = None, params: Params | None = None
    ) -> None:
        """Receive."""
        self.got.append(data)


class Async:
    """Three async methods, and nothing else that anybody could detect."""

    def __init__(self, carrier: WsBroadcastTransport) -> None:
        self.channels: set[str] = set()
        self._carrier = carrier

    async def publish(self, channel: str, payload: str) -> None:
        """Publish."""
        await _end(self._carrier.publish(channel, payload))

    async def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        """Subscribe."""
        self.channels.add(channel)
        await _end(self._carrier.subscribe(channel, handler))

    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe."""
        await _end(self._carrier.unsubscribe(channel))
        self.channels.discard(channel)


async def _end(call: Awaitable[Any] | None) -> None:
    if call is not None:
        await call


Bus = dict[str, dict[object, Callable[[str], None]]]


class Sync:
    """Three sync methods on a bus that echoes."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def publish(self, channel: str, payload: str) -> None:
        """Hand the payload to everybody, the publisher too."""
        for handler in list(self._bus.get(channel, {}).values()):
            handler(payload)

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        """Subscribe."""
        self._bus.setdefault(channel, {})[self] = handler

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe."""
        self._bus.get(channel, {}).pop(self, None)
