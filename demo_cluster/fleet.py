"""The whole fleet: its parts by name, and how they are."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from demo_cluster.parts import BrokerPart, InstancePart, Part

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from demo_cluster.brokers import Broker

NAMES = ("one", "two", "three")
ENDED = "the demo has ended"


class Fleet:
    """A broker and three instances.

    Attributes:
        parts: By the names that may be killed and restarted.
        changed: Set at each change of ``snapshot()``; whoever watches clears it.
    """

    def __init__(self, broker: Broker) -> None:
        """Nothing runs yet; NotHere if the broker's program is missing."""
        self.changed = asyncio.Event()
        self.broker = BrokerPart(broker, self.changed.set)
        self.instances = [InstancePart(name, self.broker.url, self.changed.set) for name in NAMES]
        self.parts: dict[str, Part] = {part.name: part for part in (self.broker, *self.instances)}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Fleet]:
        """All of it started, and none of it left afterwards, also where a kill raises."""
        async with AsyncExitStack() as ending:
            # The broker's end is the last one, or each instance would complain of it.
            for part in (self.broker, *self.instances):
                ending.push_async_callback(part.kill, ENDED)
            await asyncio.gather(*(part.restart() for part in self.parts.values()))
            yield self

    def living(self) -> list[int]:
        """The ports of the instances that take connections."""
        return [one.port for one in self.instances if one.port is not None]

    def snapshot(self) -> dict[str, Any]:
        """How all are: what the page shows."""
        rooms: Counter[str] = Counter()
        for one in self.instances:
            if one.runs:
                rooms.update(one.rooms)
        return {
            "parts": [part.facts() for part in self.parts.values()],
            "rooms": dict(rooms.most_common(20)),
        }
