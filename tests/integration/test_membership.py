"""Joined means joined and left means left, on every instance, however fast it changes."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from tests.deadlines import DEADLINE
from tests.integration.waiting import until_equal

if TYPE_CHECKING:
    from tests.integration.buses import Broker
    from tests.integration.clients import Member
    from tests.integration.fleet import Fleet

PAIRS = 100
ROUNDS = 100
"""Less where a log is kept: a join asks nobody there, and each message takes longer."""


async def test_who_is_told_that_he_has_joined_hears_what_is_sent_next_thousands_of_times(
    fleet: Fleet, broker: Broker
) -> None:
    rounds = ROUNDS // 4 if broker.keeps_log else ROUNDS
    heard = await asyncio.gather(*(_rounds(fleet, number, rounds) for number in range(PAIRS)))

    assert sum(heard) == PAIRS * rounds >= 2_500
    await fleet.assert_ok()


async def _rounds(fleet: Fleet, number: int, rounds: int) -> int:
    """One member joins, another on another instance sends: again and again."""
    here = number % 3
    there = (here + 1 + number // 3 % 2) % 3
    sender, joiner, companion = [await fleet.member(index) for index in (here, there, there)]
    came = asyncio.Event()
    joiner.on_received = lambda _: came.set()
    for turn in range(rounds):
        # Half of the rooms are new to both instances, half were left a moment ago.
        room = f"/pair/{number}/{turn}" if turn % 2 else f"/pair/{number}"
        if turn % 5 == 0:
            companion.join(room)  # it may be on its way when the other one joins
        await joiner.join(room, waiting=turn % 4 < 2)
        came.clear()
        sent = sender.say(room)
        async with asyncio.timeout(DEADLINE):
            await came.wait()
        await sent
        joiner.leave(room)
        if turn % 5 == 0:
            companion.leave(room)
    joiner.on_received = None
    return len(joiner.heard)


LINGER = 1.0
"""Seconds that transports keep a subscription that nobody wishes any more."""


async def test_who_rejoins_just_when_the_subscription_is_given_up_misses_nothing(
    fleet: Fleet,
) -> None:
    chance = random.Random(1)
    sender, *joiners = [await fleet.member(index) for index in (0, *(1, 2) * 10)]
    rooms = {f"/again/{number}": joiners[number % len(joiners)] for number in range(600)}
    await asyncio.gather(*(joiner.join(room) for room, joiner in rooms.items()))
    began = asyncio.get_running_loop().time()

    async def again(number: int, room: str, joiner: Member) -> None:
        left = began + number * 0.002
        await _at(left)
        await joiner.leave(room)
        await _at(left + LINGER + chance.uniform(-0.002, 0.004))
        await joiner.join(room)
        await sender.say(room)

    await asyncio.gather(*(again(n, *each) for n, each in enumerate(rooms.items())))

    await fleet.assert_ok()
    assert sum(len(joiner.heard) for joiner in joiners) == len(rooms)


async def _at(moment: float) -> None:
    await asyncio.sleep(moment - asyncio.get_running_loop().time())


async def test_nobody_hears_a_room_that_he_was_told_he_has_left(fleet: Fleet) -> None:
    senders = [await fleet.member(index) for index in range(3)]
    crowd = [member for some in await fleet.crowd(10) for member in some]
    await asyncio.gather(*(member.join("/chat/general") for member in crowd))
    going = asyncio.ensure_future(_talk(senders, "/chat/general"))

    after: dict[Member, int] = {}
    for member in crowd[::2]:
        await member.leave("/chat/general")
        after[member] = len(member.received)
    going.cancel()
    await asyncio.wait([going])
    received = {member: len(member.received) for member in after}

    await fleet.assert_ok()
    assert received == after
    assert all(len(member.heard) > after[crowd[0]] for member in crowd[1::2])


async def _talk(senders: list[Member], room: str) -> None:
    while True:
        await asyncio.gather(*(sender.say(room) for sender in senders))


async def test_members_that_flap_while_others_send_hear_exactly_what_they_should(
    fleet: Fleet, broker: Broker
) -> None:
    chance = random.Random(6)
    rooms = [f"/flap/{number}" for number in range(10)]
    senders = [await fleet.member(index) for index in (0, 1, 2)]
    flappers = [member for some in await fleet.crowd(10) for member in some]
    stayers = [await fleet.member(index) for index in (0, 2)]
    await asyncio.gather(*(member.join(room) for member in stayers for room in rooms[:5]))

    talking = [asyncio.ensure_future(_talk([sender], room)) for sender in senders for room in rooms]
    await asyncio.gather(*(_flap(member, rooms, chance) for member in flappers))
    for task in talking:
        task.cancel()
    await asyncio.wait(talking)

    await fleet.assert_ok()
    inside = {room for member in fleet.members for room in member.joined()}
    for index, process in enumerate(fleet.processes):
        mine = [member for member in fleet.members if member.instance == process.name]
        counts = [sum(room in member.joined() for member in mine) for room in rooms]
        assert await fleet.processes[index].ask("members", rooms=rooms) == counts
    if await broker.subscriptions() is not None:
        wanted = {"ws:server", *(f"ws:room:{room}" for room in inside)}
        await until_equal(broker.subscriptions, wanted)


async def _flap(member: Member, rooms: list[str], chance: random.Random) -> None:
    """Join and leave at random, mostly without waiting for an answer; stay in some rooms."""
    for _ in range(150):
        room = chance.choice(rooms)
        wish = member.leave(room) if chance.random() < 0.5 else member.join(room)
        if chance.random() < 0.2:
            await wish
    for room in rooms[7:]:
        await member.leave(room)  # so that there are rooms without a member
