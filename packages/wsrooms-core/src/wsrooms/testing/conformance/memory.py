"""Rigs for what needs no broker: the memory transport, and the lossy bus of the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wsrooms.testing.conformance.keeping import KeepingTransport
from wsrooms.testing.conformance.rig import BrokerControl, ProxyControl, Rig
from wsrooms.testing.fleet.bus import SimulatedBus
from wsrooms.transports import (
    MemoryBus,
    MemoryTransport,
    Sequencer,
    TaggedTransport,
    WsBroadcastTransport,
)

if TYPE_CHECKING:
    from wsrooms.testing.fleet.simulated import SimulatedTransport

__all__ = ["MemoryRig", "SimulatedRig"]

FOREIGN = "foreign"
COUNTERS = 1000


class MemoryRig(Rig):
    """Memory transports on one bus."""

    name = "memory"

    def __init__(self) -> None:
        """Make a bus."""
        self.bus: MemoryBus = MemoryBus()

    def transport(self, **options: Any) -> WsBroadcastTransport:
        """One more transport on the bus."""
        return MemoryTransport(self.bus)

    async def subscriptions(self) -> set[str]:
        """The channels of the bus."""
        return set(self.bus.channels())


class SimulatedRig(Rig):
    """Tagged transports on a ``SimulatedBus``, whose links and broker a case may break.

    It runs on the loop's time; on a ``VirtualTimeLoop`` outages take none.
    """

    name = "simulated bus"
    counters: int | None = COUNTERS
    address: str | None = "the simulated broker"

    def __init__(self, *, seed: int | None = None) -> None:
        """Make a bus; all its chance comes from ``seed``."""
        self.bus: SimulatedBus = SimulatedBus(seed=seed, clock="loop")
        self._links = _Links(self.bus)
        self.proxy: ProxyControl | None = self._links
        self.broker: BrokerControl | None = _Broker(self.bus)

    def transport(self, **options: Any) -> WsBroadcastTransport:
        """One more transport on the bus."""
        transport = self.bus.transport()
        if options.get("through_proxy"):
            self._links.names.append(transport.name)
        return self._made(transport)

    def _made(self, transport: SimulatedTransport) -> TaggedTransport:
        """What is tried, around an end of the bus's link."""
        made = TaggedTransport(KeepingTransport(transport))
        made._sequencer = Sequencer(COUNTERS)
        return made

    async def publish_raw(self, channel: str, data: bytes) -> None:
        """Publish as a transport that is not tagged; what is no text comes as some that says so."""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = f"no text: {data!r}"
        foreign = await self._foreign()
        try:
            await foreign.publish(channel, text)
        finally:
            await foreign.close()

    async def subscriptions(self) -> set[str]:
        """The channels of the bus."""
        return set(self.bus.channels())

    async def forget(self) -> None:
        """Nothing has to be done: the bus stores nothing."""

    async def repair(self) -> None:
        """Heal the bus."""
        self.bus.heal()

    async def _foreign(self) -> SimulatedTransport:
        foreign = self.bus.transport(FOREIGN)
        await foreign.start()
        return foreign


class _Links:
    """The links that are made with ``through_proxy``."""

    def __init__(self, bus: SimulatedBus) -> None:
        self.names: list[str] = []
        self._bus = bus
        self._refusing = False

    def cut(self) -> None:
        for name in self.names:
            self._bus.cut(name)
            if not self._refusing:
                self._bus.heal(name)

    def hole(self, *, new_ones_work: bool = False) -> None:
        for name in self.names:
            self._bus.cut(name, told=False)
            if new_ones_work:
                self._bus.heal(name)  # which brings no dead link back to life

    def refuse(self) -> None:
        self._refusing = True
        for name in self.names:
            for transport in self._bus._which(name):
                transport._reachable = False

    def heal(self) -> None:
        self._refusing = False
        for name in self.names:
            self._bus.heal(name)


class _Broker:
    def __init__(self, bus: SimulatedBus) -> None:
        self._bus = bus

    async def kill(self) -> None:
        self._bus.crash()

    async def start(self) -> None:
        self._bus.restart()

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def stop(self) -> None:
        # Whoever does not hear of it in time takes the link for dead, as with a real one.
        self._bus.crash(told=False)

    async def cont(self) -> None:
        self._bus.restart()
