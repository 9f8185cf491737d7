"""An instance on an event loop of its own, in another thread, which a case may block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from wsrooms.testing.conformance.instance import Instance
from wsrooms.transports import room_of

if TYPE_CHECKING:
    from wsrooms.testing.conformance.rig import Rig
    from wsrooms.testing.conformance.trial import Trial

__all__ = ["NAME", "SlowReader"]

T = TypeVar("T")

NAME = 8
"""Characters of a payload that are its name in the history."""

LISTENER = "slow reader"


class SlowReader:
    """A subscriber whose whole loop stands still when it is told to.

    Attributes:
        instance: It; its transport is used on the other loop only.
    """

    def __init__(self, trial: Trial, rig: Rig, channel: str) -> None:
        self._trial = trial
        self._channel = channel
        self._room = room_of(channel) or channel
        self._heard: set[str] = set()
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self.instance: Instance = Instance(
            "slow", rig.transport(), rig.instance_id, trial.history, lambda: None
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slow reader")

    def has(self, name: str) -> bool:
        """Whether it has received the message of that name."""
        return name in self._heard

    def stall(self) -> None:
        """Let its loop stand still, from its next message on."""
        self._may_go_on.clear()

    def go_on(self) -> None:
        """Let it go on."""
        self._may_go_on.set()

    async def start(self) -> None:
        """Start the loop and the transport, and subscribe."""
        self._thread.start()
        await self._there(self._started())

    async def close(self) -> None:
        """End all of it."""
        self.go_on()
        if self._thread.is_alive():
            try:
                await self._there(self.instance.close())
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)
                await asyncio.to_thread(self._thread.join)
        self._loop.close()

    async def _started(self) -> None:
        history = self._trial.history
        await self.instance.start()
        history.connect(LISTENER, self.instance.name)
        history.connected(LISTENER)
        history.join(LISTENER, self._room)
        returned = self.instance.transport.subscribe(self._channel, self._handle)
        if returned is not None:
            await returned
        history.joined(LISTENER, self._room)

    def _handle(self, payload: str) -> None:
        name = payload[:NAME]
        self._trial.history.received(LISTENER, name, self._room)
        self._heard.add(name)
        self._may_go_on.wait()

    async def _there(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return await asyncio.wrap_future(future)
