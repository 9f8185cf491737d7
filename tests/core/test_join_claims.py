"""Several claims on one membership, and echoes on transports of every kind."""

from __future__ import annotations

import asyncio

import pytest

from tests.deadlines import DEADLINE
from wsrooms import Receipt, TransportUnavailable
from wsrooms.loopthread import LoopThread
from wsrooms.rooms import Rooms


class Member:
    def __init__(self, id: str) -> None:
        self.id = id
        self.rooms: set[str] = set()
        self.heard: list[object] = []

    def send(self, event: str, path: str, data: object = None, params: object = None) -> None:
        self.heard.append(data)


class Silent:
    """A bus that never confirms."""

    def publish(self, channel: str, payload: str) -> None: ...

    async def subscribe(self, channel: str, handler: object) -> None:
        await asyncio.Event().wait()

    def unsubscribe(self, channel: str) -> None: ...


class EchoWithLife:
    """A bus of one's own, with start and close, that hands everybody everything."""

    def __init__(self) -> None:
        self.handlers: dict[str, list[object]] = {}

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def publish(self, channel: str, payload: str) -> None:
        for handler in self.handlers.get(channel, []):
            assert callable(handler)
            handler(payload)

    def subscribe(self, channel: str, handler: object) -> None:
        self.handlers.setdefault(channel, []).append(handler)

    def unsubscribe(self, channel: str) -> None:
        self.handlers.pop(channel, None)


async def test_whoever_else_awaits_a_cancelled_join_is_told_that_it_was_undone() -> None:
    manager = Rooms(Silent())
    member = Member("m")
    receipt = manager.join(member, "/r")

    async def wait() -> None:
        await receipt

    first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0)
    first.cancel()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(TransportUnavailable, match="cancelled"):
            await second
    assert member.rooms == set()
    assert manager.link is not None
    await manager.link.close(1)


async def waits(receipt: Receipt) -> None:
    await receipt


@pytest.mark.parametrize("meanwhile", ["nothing", "another join", "left and joined again"])
async def test_a_join_cancelled_in_the_turn_that_confirms_it_is_undone_unless_claimed_anew(
    meanwhile: str,
) -> None:
    manager = Rooms(Silent())
    member = Member("m")
    waiting = asyncio.create_task(waits(manager.join(member, "/r")))
    await asyncio.sleep(0)
    manager.subscribed("ws:room:/r")
    waiting.cancel()
    if meanwhile == "another join":
        manager.join(member, "/r")
    elif meanwhile == "left and joined again":
        manager.leave(member, "/r")
        manager.join(member, "/r")
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert member.rooms == (set() if meanwhile == "nothing" else {"/r"})
    assert manager.link is not None
    await manager.link.close(1)


async def test_a_join_that_two_await_stays_if_one_is_cancelled_in_the_turn_that_confirms_it() -> (
    None
):
    manager = Rooms(Silent())
    member = Member("m")
    receipt = manager.join(member, "/r")
    first, second = asyncio.create_task(waits(receipt)), asyncio.create_task(waits(receipt))
    await asyncio.sleep(0)
    manager.subscribed("ws:room:/r")
    first.cancel()
    async with asyncio.timeout(DEADLINE):
        await second
    assert first.cancelled()
    assert member.rooms == {"/r"}
    assert manager.link is not None
    await manager.link.close(1)


async def test_a_join_is_undone_if_all_who_await_it_are_cancelled_as_it_is_confirmed() -> None:
    manager = Rooms(Silent())
    member = Member("m")
    receipt = manager.join(member, "/r")
    receipts = [receipt, receipt, manager.join(member, "/r")]
    tasks = [asyncio.create_task(waits(each)) for each in receipts]
    await asyncio.sleep(0)
    manager.subscribed("ws:room:/r")
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in ended] == [asyncio.CancelledError] * 3
    assert member.rooms == set()
    assert manager.link is not None
    await manager.link.close(1)


async def test_a_second_join_whose_receipt_was_dropped_keeps_what_the_first_one_gives_up() -> None:
    manager = Rooms(Silent())
    member = Member("m")
    waiting = asyncio.create_task(waits(manager.join(member, "/r")))
    manager.join(member, "/r")
    await asyncio.sleep(0)
    manager.subscribed("ws:room:/r")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert member.rooms == {"/r"}
    assert manager.link is not None
    await manager.link.close(1)


async def test_what_another_room_was_told_a_turn_earlier_keeps_no_cancelled_join() -> None:
    manager = Rooms(Silent())
    early, late = Member("early"), Member("late")
    loop = asyncio.get_running_loop()
    first = asyncio.create_task(waits(manager.join(early, "/early")))
    second = asyncio.create_task(waits(manager.join(late, "/late")))
    await asyncio.sleep(0)

    def confirm_both() -> None:
        loop.call_soon(manager.subscribed, "ws:room:/late")  # before what the next line calls soon
        manager.subscribed("ws:room:/early")
        loop.call_soon(second.cancel)

    loop.call_soon(confirm_both)
    with pytest.raises(asyncio.CancelledError):
        await second
    await first
    assert early.rooms == {"/early"}
    assert late.rooms == set()
    assert manager.link is not None
    await manager.link.close(1)


def gives_up(receipt: Receipt) -> None:
    """Await ``receipt`` on a loop of this thread, for too short a time."""

    async def main() -> None:
        async with asyncio.timeout(0.01):
            await receipt

    with pytest.raises(TimeoutError):
        asyncio.run(main())


@pytest.mark.parametrize("made", ["here", "in that thread"])
async def test_a_join_that_another_threads_loop_gives_up_is_undone_on_its_own(made: str) -> None:
    manager = Rooms(Silent())
    member = Member("m")
    home = LoopThread(asyncio.get_running_loop())
    undone: asyncio.Future[bool] = home.loop.create_future()

    class Noting(set[str]):
        def discard(self, element: object) -> None:
            super().discard(str(element))
            inside = home.inside
            home.post(lambda: undone.set_result(inside))

    member.rooms = Noting()
    if made == "here":
        await asyncio.to_thread(gives_up, manager.join(member, "/r"))
    else:
        await asyncio.to_thread(
            lambda: gives_up(home.post_receipt(lambda: manager.join(member, "/r")))
        )
    async with asyncio.timeout(DEADLINE):
        assert await undone
    assert member.rooms == set()
    assert manager.receipts_failed == 0
    assert manager.link is not None
    await manager.link.close(1)


async def test_what_is_confirmed_is_remembered_for_one_turn_only() -> None:
    manager = Rooms(Silent())
    member = Member("m")
    waiting = asyncio.create_task(waits(manager.join(member, "/r")))
    await asyncio.sleep(0)
    manager.subscribed("ws:room:/r")
    assert manager._pending.confirmed
    async with asyncio.timeout(DEADLINE):
        await waiting
    await asyncio.sleep(0)
    assert not manager._pending.confirmed
    assert member.rooms == {"/r"}
    assert manager.link is not None
    await manager.link.close(1)


async def test_an_echo_is_dropped_whether_or_not_the_transport_has_a_lifecycle() -> None:
    manager = Rooms(EchoWithLife())
    sender, other = Member("sender"), Member("other")
    for member in (sender, other):
        manager.join(member, "/r")
    manager.broadcast("/r", "e", "/r", "once", exclude=sender)
    assert (sender.heard, other.heard) == ([], ["once"])
    assert manager.stats()["echoes"] == 1
