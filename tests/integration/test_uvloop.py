"""The same fleet on uvloop, whose sockets and timers are others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.integration.fleet import Fleet
from tests.integration.nursery import Nursery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.buses import Broker


@pytest.fixture(scope="module")
def uvloop_nursery() -> Iterator[Nursery]:
    pytest.importorskip("uvloop", reason="there is no uvloop for this system")
    nursery = Nursery(loop="uvloop")
    yield nursery
    nursery.close()


async def test_a_fleet_on_uvloop_counts_as_well_and_ends_as_cleanly(
    uvloop_nursery: Nursery, broker: Broker, tmp_path: Path
) -> None:
    rooms = [f"/room/{number}" for number in range(100)]
    async with Fleet(uvloop_nursery, broker.url(), tmp_path) as fleet:
        crowd = [member for some in await fleet.crowd(10) for member in some]
        for turn in range(3):
            await asyncio.gather(*(each.join(room) for each in crowd for room in rooms[turn::3]))
            await asyncio.gather(*(each.say(room) for each in crowd[::7] for room in rooms[::9]))
            await asyncio.gather(*(each.leave(room) for each in crowd for room in rooms[::4]))
        await asyncio.gather(*(member.close() for member in crowd[::2]))
        await fleet.assert_ok()
    fleet.assert_clean()
