"""What is left when clients and instances have gone: nothing."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from tests.integration.waiting import until_equal

if TYPE_CHECKING:
    from tests.integration.buses import Broker
    from tests.integration.fleet import Fleet

CLIENTS = 200
"""Of each instance, at the same time."""

MORE = {"descriptors": 0, "tasks": 0, "objects": 200, "resident": 4 * 1024 * 1024}
"""What there may be more of: entries of caches, and memory that the allocator keeps."""


async def test_clients_that_come_and_go_leave_no_descriptor_no_task_and_no_memory(
    fleet: Fleet, broker: Broker
) -> None:
    await _come_and_go(fleet)  # what is made once is made now
    await _gone(fleet, broker)
    before = await fleet.ask("resources")

    for _ in range(2):
        await _come_and_go(fleet)
    await _gone(fleet, broker)

    async def grown() -> list[str]:
        return [
            f"{process.name} has {has[what] - had[what]} {what} more"
            for process, had, has in zip(
                fleet.processes, before, await fleet.ask("resources"), strict=True
            )
            for what, limit in MORE.items()
            if has[what] - had[what] > limit
        ]

    await until_equal(grown, [])


async def _come_and_go(fleet: Fleet) -> None:
    crowd = [member for some in await fleet.crowd(CLIENTS) for member in some]
    await asyncio.gather(*(member.join("/all") for member in crowd))
    await asyncio.gather(*(member.join(f"/own/{number}") for number, member in enumerate(crowd)))
    await asyncio.gather(*(member.say("/all") for member in crowd[::100]))
    half = len(crowd) // 2
    await asyncio.gather(
        *(member.close() for member in crowd[:half]), *(member.abort() for member in crowd[half:])
    )


async def _gone(fleet: Fleet, broker: Broker) -> None:
    """Every instance knows that its clients have gone, and so does the broker."""

    async def left() -> list[tuple[int, int]]:
        return [(each["connections"], each["rooms"]) for each in await fleet.ask("stats")]

    await until_equal(left, [(0, 0)] * 3)
    if await broker.subscriptions() is not None:
        await until_equal(broker.subscriptions, {"ws:server"})


@pytest.mark.parametrize("way", ["close", "SIGTERM", "SIGKILL"])
async def test_an_instance_that_ends_leaves_no_connection_at_the_broker(
    fleet: Fleet, broker: Broker, way: str
) -> None:
    connections = await broker.connections()
    if connections is None:
        pytest.skip("this broker does not tell who is connected")
    each, rest = divmod(len(connections), 3)
    assert each > 0
    assert rest == 0
    members = [await fleet.member(index) for index in range(3)]
    for member in members:
        await member.join("/chat/general")
    ending = fleet.processes[0]

    match way:
        case "close":
            await ending.ask("close")
        case "SIGTERM":
            ending.signal(signal.SIGTERM)
        case _:
            ending.signal(signal.SIGKILL)
    members[0].ending()

    async def count() -> int:
        return len(await broker.connections() or ())

    await until_equal(count, 2 * each)
    if way == "close":
        assert ending.runs  # so it was the app that closed them, not the end of the process
    status = await (ending.stop() if way == "close" else ending.ended())
    fleet.history.crashed("i0")
    assert status == (-signal.SIGKILL if way == "SIGKILL" else 0)
    code, _ = await members[0].wire.gone
    assert code == (1006 if way == "SIGKILL" else 1001)
    await members[1].say("/chat/general")
    await fleet.assert_ok()
    assert len(members[2].heard) == 1

    for index in (1, 2):
        await fleet.stop(index)
    await until_equal(count, 0)
