"""Things that go wrong at the very moment at which they do most harm."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wsrooms.testing.fleet.recorder import SAID

if TYPE_CHECKING:
    from tests.simulation.storm import Storm

__all__ = ["cut_while_it_speaks", "join_over_a_slow_bus"]


async def cut_while_it_speaks(storm: Storm) -> None:
    """What is on its way is not confirmed when the link breaks, and it soon is back."""
    running = storm._running()
    if not running:
        return
    index, room = storm.random.choice(running), storm._room()
    name, bus = f"i{index}", storm.cluster.bus
    _says(storm, index, room)
    await asyncio.sleep(0.2)  # others know its numbers now
    if not storm.cluster.runs(index):
        return
    bus.delay(0.05, which=name, direction="both")
    for _ in range(storm.random.choice((1, 12, 30))):
        _says(storm, index, room)
    await asyncio.sleep(storm.random.choice((0.02, 0.07)))
    bus.cut(name)
    await asyncio.sleep(storm.random.choice((0.0, 0.5)))
    bus.heal(name)
    if storm.cluster.runs(index):
        for _ in range(2):
            _says(storm, index, room)


async def join_over_a_slow_bus(storm: Storm) -> None:
    """The broker hears of a subscription late; from its confirmation on nothing is missed."""
    running = storm._running()
    if len(running) < 2:
        return
    index, other = storm.random.sample(running, 2)
    name, bus = f"i{index}", storm.cluster.bus
    bus.delay(0.2, which=name, direction="up")
    if storm.random.random() < 0.5:
        await storm._come(index, 0.0, lobby=True, small=False)
    else:
        client, room = storm._somebody(), storm._room()
        if client is not None and client.instance == name:
            await storm._a_while(client.join(room))
            if storm.cluster.runs(other):
                _says(storm, other, room)
    bus.heal(name)


def _says(storm: Storm, index: int, room: str) -> None:
    app = storm.cluster.apps[index]
    storm._say(app.server, room, lambda id: app.room(room).broadcast(SAID, id))
