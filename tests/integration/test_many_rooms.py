"""A fleet with thousands of rooms."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.integration.waiting import until_equal

if TYPE_CHECKING:
    from tests.integration.buses import Broker
    from tests.integration.fleet import Fleet

ROOMS = [f"/room/{number}" for number in range(5_000)]
EACH = 500
"""Rooms of one client."""


async def test_five_thousand_rooms_hear_their_own_messages_and_cost_others_nothing(
    fleet: Fleet, broker: Broker
) -> None:
    shares = [ROOMS[first : first + EACH] for first in range(0, len(ROOMS), EACH)]
    members = {await fleet.member(index): share for index in (0, 1) for share in shares}
    for member, share in members.items():
        await asyncio.gather(*(member.join(room) for room in share))
    before = await fleet.processes[2].ask("stats")

    for index in (2, 0):
        ids = dict(zip(ROOMS, await fleet.say(index, ROOMS), strict=True))
        for member, share in members.items():
            for room in share:
                member.await_(ids[room])
    await fleet.arrived()
    await fleet.assert_ok(settled=True)

    for member in members:
        assert len(member.heard) == 2 * EACH
    after = await fleet.processes[2].ask("stats")
    assert after["received"] == before["received"]  # it hosts none of the rooms
    if await broker.subscriptions() is None:
        return  # it carries all rooms to everybody
    rooms = {f"ws:room:{room}" for room in ROOMS}
    assert await broker.subscriptions() == rooms | {"ws:server"}

    for member, share in members.items():
        await asyncio.gather(*(member.leave(room) for room in share))

    await until_equal(broker.subscriptions, {"ws:server"})
