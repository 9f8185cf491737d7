"""A broker in memory that a test can cut, slow down, make lossy and heal.

It keeps what ``MemoryTransport`` promises as long as nobody breaks it: a confirmed
subscription hears every later message, in order, once. Unlike that one it echoes and
takes time, as brokers do. All chance comes from one seed.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from wsrooms.errors import PermissionDenied
from wsrooms.testing.fleet.schedule import Schedule
from wsrooms.testing.fleet.simulated import Delay, Message, SimulatedTransport
from wsrooms.transports import room_of

if TYPE_CHECKING:
    import asyncio

__all__ = ["Lost", "SimulatedBus"]

Attached = TypeVar("Attached", bound=SimulatedTransport)

Which = int | str | None
"""An instance by its number or its name; None is all of them."""

HELD = 1.0
"""Seconds after which a message that was to be overtaken goes on by itself."""

WATCHDOG = 4.5
"""Seconds after which a link that has died in silence is noticed."""


class Lost(NamedTuple):
    """Messages that the bus did not deliver."""

    receiver: str
    channel: str
    publisher: str


class _Fault:
    """How often something goes wrong: for the next ``count``, or by chance."""

    __slots__ = ("chance", "count", "to")

    def __init__(self, count: int, chance: float, to: str | None) -> None:
        self.count = count
        self.chance = chance
        self.to = to


FaultKind = Literal["lose", "duplicate", "reorder", "refuse", "never confirm"]


class SimulatedBus:
    """A broker and the links of all instances to it.

    Each instance has a transport of its own (:meth:`transport`), which must be wrapped in
    ``tagged()``, because this bus echoes. Time is its own: what takes time happens when
    :meth:`advance` says so, and nothing real is waited for. With ``clock="loop"`` it is the
    loop's, which is made for ``VirtualTimeLoop``.

    Attributes:
        random: Where all chance comes from.
        lost: The truth about loss: how many messages of whom did not reach whom. What an
            instance had not subscribed, and what was merely late, is not in it.
        transports: In the order in which they were made.
        on_outage: Told, with a name (None is everybody's) and words, when a link is broken.
        on_dropped: Told, with the names of receiver and publisher and the room (None is
            everybody), of each message that was lost on a link that works.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        clock: Literal["own", "loop"] = "own",
        watchdog: float = WATCHDOG,
        remembers: bool = True,
        answers: Literal["receipts", "awaitables"] = "receipts",
    ) -> None:
        """Make a bus on which all is well and nothing takes time.

        Args:
            seed: For what is left to chance; None draws one.
            clock: Whose time counts.
            watchdog: Seconds after which a transport notices that its link is dead.
            remembers: Whether a transport makes a subscription that was asked for while the
                link was down once it is up; else it fails.
            answers: What ``publish`` returns: "receipts" lets many be on their way, as the
                transports of brokers do, "awaitables" is what a plain class does.
        """
        self.random: random.Random = random.Random(seed)
        self._schedule: Schedule = Schedule(clock)
        self.watchdog = watchdog
        self.remembers = remembers
        self.answers: Literal["receipts", "awaitables"] = answers
        self.transports: list[SimulatedTransport] = []
        self.lost: Counter[Lost] = Counter()
        self.on_outage: Callable[[str | None, str], None] | None = None
        self.on_dropped: Callable[[str, str | None, str], None] | None = None
        self.running: bool = True
        self._faults: dict[FaultKind, list[_Fault]] = {}
        self._subscribers: dict[str, dict[SimulatedTransport, int]] = {}
        self._late = 0.0
        self._held: dict[Lost, Message] = {}

    def transport(self, name: str | None = None) -> SimulatedTransport:
        """One more instance's transport; by default its name is "i" and its number.

        One of the same name that has ended makes room for it.
        """
        name = f"i{len(self.transports)}" if name is None else name
        return self._attach(SimulatedTransport(self, name))

    def _attach(self, transport: Attached) -> Attached:
        """Give ``transport`` the place of one of the same name that has ended, or a new one."""
        name = transport.name
        for number, other in enumerate(self.transports):
            if other.name == name:
                if other._started:
                    raise ValueError(f"{name} has a transport, which has not ended")
                self.transports[number] = transport
                transport._reachable = other._reachable
                return transport
        self.transports.append(transport)
        return transport

    def channels(self) -> dict[str, int]:
        """How many transports the broker has subscribed to each channel: a snapshot."""
        return {channel: len(each) for channel, each in self._subscribers.items()}

    # Time

    @property
    def now(self) -> float:
        """The time of the bus."""
        return self._schedule.now

    @property
    def in_flight(self) -> bool:
        """Whether anything moves without further help: messages, confirmations, reconnects."""
        return self._schedule.moving > 0 or any(
            transport._recovering for transport in self.transports
        )

    @property
    def broken(self) -> bool:
        """Whether any link does not work, or may not do what it should."""
        return bool(self._faults) or any(not transport._works for transport in self.transports)

    async def advance(self, seconds: float) -> None:
        """Let that much time pass on the bus."""
        await self._schedule.advance(seconds)

    async def settle(self) -> None:
        """Let time pass until nothing is in flight."""
        await self._schedule.turn()
        while self.in_flight and self._schedule.planned:
            await self._schedule.next_moment()

    # What a test breaks

    def cut(self, which: Which = None, *, told: bool = True) -> None:
        """Break the link between an instance and the broker, which forgets its subscriptions.

        What is on its way is lost; what is published waits in the instance's transport, for
        15 seconds as in those of brokers, and what was not confirmed is sent again. When the
        link is back, and every subscription that was lost with it has been made again, the
        transport reports ``Gap(None, None, None)``.

        Args:
            which: Whose link.
            told: Whether the transport notices at once; else the link is half-open: nothing
                arrives, and nobody knows until ``watchdog`` seconds have passed.

        Raises:
            IndexError: There is no link of this number.
            ValueError: There is none of this name.
        """
        for transport in self._which(which):
            self._broken(transport.name, "cut" if told else "cut silently")
            transport._reachable = False
            transport._sever(told=told)

    def crash(self, *, told: bool = True) -> None:
        """Kill the broker: as if every link were cut."""
        self._broken(None, "the broker was killed")
        self.running = False
        for transport in self.transports:
            transport._sever(told=told)

    def restart(self) -> None:
        """Start the broker again; all transports connect."""
        self.running = True
        for transport in self.transports:
            transport._recover()

    def delay(
        self,
        seconds: float,
        *,
        jitter: float = 0.0,
        which: Which = None,
        direction: Literal["up", "down", "both"] = "down",
    ) -> None:
        """Let everything take time: by default a message, and an answer, ``seconds``.

        Args:
            seconds: How long at least.
            jitter: How much more at most, by chance; nothing overtakes all the same.
            which: On whose links.
            direction: On the way from the broker ("down"), to it ("up"), or both: then a
                message is on its way twice as long.
        """
        for transport in self._which(which):
            if direction != "down":
                transport._up = Delay(seconds, jitter)
            if direction != "up":
                transport._down = Delay(seconds, jitter)

    def lose(self, count: int = 0, *, chance: float = 0.0, to: Which = None) -> None:
        """Lose the next ``count`` deliveries, or each with a ``chance``, on the way to ``to``.

        A message has a delivery for each other instance that has subscribed; without ``to``
        they count in the order in which those did.
        """
        self._fault("lose", count, chance, to)

    def duplicate(self, count: int = 0, *, chance: float = 0.0, to: Which = None) -> None:
        """Deliver messages twice."""
        self._fault("duplicate", count, chance, to)

    def reorder(self, count: int = 0, *, chance: float = 0.0, to: Which = None) -> None:
        """Let messages be overtaken by the next one of the same publisher and channel."""
        self._fault("reorder", count, chance, to)

    def refuse(self, count: int = 0, *, chance: float = 0.0, to: Which = None) -> None:
        """Answer subscriptions with an error."""
        self._fault("refuse", count, chance, to)

    def never_confirm(self, count: int = 0, *, chance: float = 0.0, to: Which = None) -> None:
        """Make subscriptions and never say so."""
        self._fault("never confirm", count, chance, to)

    def confirm_late(self, seconds: float) -> None:
        """Let confirmations of subscriptions take so much longer."""
        self._late = seconds

    def heal(self, which: Which = None) -> None:
        """Repair the link of an instance; without one, everything."""
        for transport in self._which(which):
            transport._reachable = True
            transport._up = transport._down = Delay()
            for faults in self._faults.values():
                faults[:] = [fault for fault in faults if fault.to not in (None, transport.name)]
            transport._recover()
        if which is None:
            self._faults.clear()
            self._late = 0.0
            if not self.running:
                self.restart()

    def _which(self, which: Which) -> list[SimulatedTransport]:
        if which is None:
            return self.transports
        if isinstance(which, int):
            return [self._numbered(which)]
        named = [transport for transport in self.transports if transport.name == which]
        if not named:
            raise ValueError(f"there is no transport {which!r}: {self._there()}")
        return named

    def _numbered(self, index: int) -> SimulatedTransport:
        try:
            return self.transports[index]
        except IndexError:
            raise IndexError(f"there is no transport {index}: {self._there()}") from None

    def _there(self) -> str:
        names = ", ".join(
            f"{number} is {each.name!r}" for number, each in enumerate(self.transports)
        )
        return names or "none has been made"

    def _fault(self, kind: FaultKind, count: int, chance: float, to: Which) -> None:
        name = self._numbered(to).name if isinstance(to, int) else to
        self._faults.setdefault(kind, []).append(_Fault(count, chance, name))

    def _happens(self, kind: FaultKind, to: str) -> bool:
        for fault in self._faults.get(kind, ()):
            if fault.to is not None and fault.to != to:
                continue
            if fault.count:
                fault.count -= 1
                return True
            if fault.chance and self.random.random() < fault.chance:
                return True
        return False

    def _broken(self, name: str | None, note: str) -> None:
        if self.on_outage is not None:
            self.on_outage(name, note)

    # The broker; called by the transports

    def _forget(self, transport: SimulatedTransport) -> None:
        """A link is gone, and all that came over it."""
        for channel in list(self._subscribers):
            self._unsubscribe(transport, channel)

    def _unsubscribe(self, transport: SimulatedTransport, channel: str) -> None:
        """End a subscription."""
        subscribers = self._subscribers.get(channel, {})
        subscribers.pop(transport, None)
        if not subscribers:
            self._subscribers.pop(channel, None)

    def _subscribe(
        self, transport: SimulatedTransport, channel: str, answer: asyncio.Future[None]
    ) -> None:
        """Make a subscription, and confirm it."""
        if self._happens("refuse", transport.name):
            error = PermissionDenied(channel, "the simulated broker refuses it")
            transport._receive(lambda: transport._answered(answer, error))
            return
        self._subscribers.setdefault(channel, {})[transport] = transport._connection
        if self._happens("never confirm", transport.name):
            return
        transport._receive(lambda: transport._confirmed(channel, answer), self._late)

    def _publish(self, publisher: SimulatedTransport, message: Message) -> None:
        """Take a message, say so, and hand it to every subscriber."""
        message.arrived = True
        publisher._receive(lambda: publisher._taken(message))
        subscribers = self._subscribers.get(message.channel, {})
        for transport in list(subscribers):
            if transport.name == publisher.name:
                self._echo(transport, message)
            else:
                self._hand(transport, publisher, message)
        for transport in self.transports:
            if message.channel in transport._missed and transport not in subscribers:
                self.lost[Lost(transport.name, message.channel, publisher.name)] += 1

    def _echo(self, receiver: SimulatedTransport, message: Message) -> None:
        receiver._receive(lambda: receiver._deliver(message))

    def _hand(
        self, receiver: SimulatedTransport, publisher: SimulatedTransport, message: Message
    ) -> None:
        key = Lost(receiver.name, message.channel, publisher.name)
        if self._happens("lose", receiver.name):
            self._dropped(key)
            return
        if key in self._held:
            held = self._held.pop(key)
            self._on_its_way(receiver, key, message)
            self._on_its_way(receiver, key, held)
            self._dropped(key, counted=False)  # for whoever goes by numbers it came too late
            return
        if self._happens("reorder", receiver.name):
            self._held[key] = message
            self._schedule.at(self.now + HELD, lambda: self._release(receiver, key, message))
            return
        self._on_its_way(receiver, key, message)
        if self._happens("duplicate", receiver.name):
            self._on_its_way(receiver, key, message)

    def _release(self, receiver: SimulatedTransport, key: Lost, message: Message) -> None:
        if self._held.get(key) is message:
            del self._held[key]
            self._on_its_way(receiver, key, message)

    def _on_its_way(self, receiver: SimulatedTransport, key: Lost, message: Message) -> None:
        def gone() -> None:
            self.lost[key] += 1

        receiver._receive(lambda: receiver._deliver(message), lost=gone)

    def _dropped(self, key: Lost, *, counted: bool = True) -> None:
        self.lost[key] += counted
        if self.on_dropped is not None:
            self.on_dropped(key.receiver, room_of(key.channel), key.publisher)
        logging.getLogger("wsrooms.testing").debug("lost: %s", key)
