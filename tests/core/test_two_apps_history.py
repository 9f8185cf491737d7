"""Two apps on one bus, many clients at once, judged by the history checker.

Where ``test_two_apps.py`` says sentence by sentence what rooms mean, here clients that
join, leave, talk and vanish side by side find what nobody has written a sentence for.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import MemoryBus, MemoryTransport, WsApp, WsBroadcastTransport, tagged
from wsrooms.testing import History, RecordedClient, connect_client, recorded, recorded_routes

if TYPE_CHECKING:
    from collections.abc import Callable

    Bus = Any  # the fixture of conftest.py

ROOMS = ("/red", "/blue", "user:7")
CLIENTS = 8
STEPS = 60


@pytest.fixture(params=["memory", "plain", "tagged echo"])
def transport(request: pytest.FixtureRequest, plain_bus: Bus) -> Callable[[], WsBroadcastTransport]:
    """Give what makes transports of one bus."""
    bus = MemoryBus()
    made: dict[str, Callable[[], WsBroadcastTransport]] = {
        "memory": lambda: MemoryTransport(bus),
        "plain": plain_bus.transport,
        "tagged echo": lambda: tagged(plain_bus.transport(echo=True)),
    }
    return made[request.param]


async def walk(client: RecordedClient, chance: random.Random) -> None:
    """Join, leave and talk, now and then without waiting for the answer."""
    for _ in range(STEPS):
        room = chance.choice(ROOMS)
        act = chance.choice([client.join, client.join, client.leave, client.say, client.say])
        receipt = client.announce() if chance.random() < 0.05 else act(room)
        if chance.random() < 0.6:
            await receipt
    await client.hello()


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_clients_do_at_once_each_gets_what_it_should_in_order_and_once(
    transport: Callable[[], WsBroadcastTransport], seed: int
) -> None:
    history = History()
    chance = random.Random(seed)
    async with asyncio.timeout(DEADLINE), AsyncExitStack() as stack:
        clients: list[RecordedClient] = []
        apps: dict[str, WsApp] = {}
        for instance in ("i0", "i1"):
            apps[instance] = app = WsApp(broadcast_transport=transport())
            app.include(recorded_routes())
            app.on_gap(lambda gap, told=instance: history.gap(told, gap.room, None, gap.missing))
            for number in range(CLIENTS // 2):
                inner = await stack.enter_async_context(connect_client(app))
                name = f"{instance}-{number}"
                recording = recorded(history, inner, name=name, instance=instance)
                clients.append(await stack.enter_async_context(recording))
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(walk(client, random.Random(chance.random())))
        for client in (clients[0], clients[-1]):  # the last word of each instance in each room
            for room in ROOMS:
                await client.say(room)
            await client.announce()
        for client in clients:
            await client.hello()
        history.settled()
        for app in apps.values():
            stats = app.stats()
            assert (stats["gaps"], stats["duplicates"], stats["echoes"]) == (0, 0, 0)

    history.assert_ok()
    kinds = [record.kind for record in history]
    assert kinds.count("received") > kinds.count("sent")
