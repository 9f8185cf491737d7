"""A real :class:`BrokerTransport` in the simulation: only its connections are simulated.

Numbers, outbox, wishes, probes and supervision are the ones that run in production. Two
connections to the simulated broker stand in for those of a client library: like them they
have no idea when their peer has gone silent, answer commands in order, and refuse a command
as a whole.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from wsrooms.errors import PermissionDenied, TransportError, TransportUnavailable
from wsrooms.receipt import FINISHED, Receipt
from wsrooms.testing import Cluster, SimulatedBus, SimulatedTransport
from wsrooms.testing.fleet.simulated import Message
from wsrooms.transports import (
    BrokerLink,
    BrokerOptions,
    BrokerTransport,
    Command,
    Gap,
    Outbox,
    Outgoing,
    Wishes,
    WsBroadcastTransport,
)

if TYPE_CHECKING:
    from typing import Self

__all__ = ["LinkedCluster", "LinkedTransport"]

BATCH_MESSAGES = 8
BATCH_BYTES = 4096

LOOK = 0.1
"""Seconds between two looks whether the transport has recovered."""


class LinkedCluster(Cluster):
    """A cluster whose instances have transports of that kind.

    It also judges what no client can see: a loss that is told has to have a cause on the
    bus, or be of what the publisher's code was told had failed.

    Attributes:
        broken: What transports did that they must not do.
    """

    def __init__(self, *facts: Any, **more: Any) -> None:
        super().__init__(*facts, **more)
        self.broken: list[str] = []
        self._failed: Counter[str] = Counter()
        self._causes: Counter[tuple[str, str]] = Counter()
        self._missing: Counter[tuple[str, str]] = Counter()
        self._named: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.bus.on_dropped = self._dropped
        return self

    def _dropped(self, receiver: str, room: str | None, publisher: str) -> None:
        self._causes[receiver, publisher] += 1
        self.history.dropped(receiver, room, publisher)

    def _gap(self, name: str, gap: Gap) -> None:
        super()._gap(name, gap)
        if gap.publisher is not None and gap.missing is not None:
            self._missing[name, self._named[gap.publisher]] += gap.missing

    def unexplained(self) -> list[str]:
        """What was told as lost, and cannot have been."""
        causes = self._causes.copy()
        for lost, count in self.bus.lost.items():
            causes[lost.receiver, lost.publisher] += count
        return [
            f"without a cause: {receiver} told of {told} lost message(s) of {publisher}, "
            f"the bus lost {causes[receiver, publisher]} and {self._failed[publisher]} failed"
            for (receiver, publisher), told in self._missing.items()
            if told > causes[receiver, publisher] + self._failed[publisher]
        ]

    def _make_transport(self, name: str) -> WsBroadcastTransport:
        return LinkedTransport(self.bus, name, self.broken.append)

    def _publisher_of(self, transport: WsBroadcastTransport) -> str:
        assert isinstance(transport, LinkedTransport)
        transport.on_failed = lambda: self._failed.update([transport.hearing.name])
        self._named[transport.exchange.instance] = transport.hearing.name
        return transport.exchange.instance


class LinkedTransport(BrokerTransport):
    """One instance's transport; a kill of its instance ends it without a word."""

    def __init__(self, bus: SimulatedBus, name: str, judge: Callable[[str], None]) -> None:
        super().__init__(
            BrokerOptions(), where=f"the simulated broker of {name}", max_payload=1_048_576
        )
        self.publishing = PublishingWire(bus, name)
        self.hearing = HearingWire(bus, name, self)
        bus._attach(self.hearing)
        self.killed = False
        self.judge = judge
        self.unheard: set[str] = set()
        """What was wished and subscribed when the connection was lost, and is not heard yet."""
        self.on_failed: Callable[[], None] = lambda: None

    def _make_links(self) -> Sequence[BrokerLink]:
        return HearingLink(self, self.hearing), PublishingLink(self, self.publishing)

    async def start(self) -> None:
        self.hearing._started = self.publishing._started = True
        try:
            await super().start()
        except BaseException:
            self.hearing._started = self.publishing._started = False
            raise

    async def close(self) -> None:
        await super().close()
        self.hearing._started = self.publishing._started = False

    def kill(self) -> None:
        """Nothing goes out or comes in any more, and nobody is told."""
        self.killed = True
        self._tell_state = self.exchange.on_gap = None
        self.exchange.outbox = Outbox(max_messages=1, max_bytes=1, max_age=1)
        self.exchange.wishes = Wishes()

    def publish(self, channel: str, payload: str) -> Receipt:
        if self.killed:
            return Receipt()
        receipt = super().publish(channel, payload)
        receipt._when_done(self._published)
        self.hearing.look()
        return receipt

    def _published(self, receipt: Receipt) -> None:
        if receipt.error is not None:
            self.on_failed()

    def check(self, batch: Sequence[Outgoing[bytes]]) -> None:
        """Judge what is about to be written."""
        if given_up := sum(each.receipt.done for each in batch):
            self.judge(f"given up: {given_up} message(s) are written all the same")
        if batch and self.unheard:
            self.judge(f"published before: {sorted(self.unheard)} are not restored")

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Receipt:
        if self.killed:
            return Receipt()
        receipt = super().subscribe(channel, handler)
        self.hearing.look()
        return receipt

    def unsubscribe(self, channel: str) -> Receipt:
        self.unheard.discard(channel)
        return FINISHED if self.killed else super().unsubscribe(channel)

    @property
    def busy(self) -> bool:
        """Whether something waits for the broker, and will be done without further help."""
        if self.killed or self._life != "running":
            return False
        wishes = self.exchange.wishes
        unsettled = len(self.exchange.outbox) or not all(map(wishes.confirmed, wishes))
        return self.state != "up" or bool(unsettled)


class Wire(SimulatedTransport):
    """One connection, as the bus sees it; of a transport that tells nobody by itself."""

    def __init__(self, bus: SimulatedBus, name: str) -> None:
        super().__init__(bus, name)
        self.gone: asyncio.Future[TransportError] | None = None
        self.heard_at = 0.0

    async def open(self) -> None:
        """Connect, and log in: one way there and one back.

        Raises:
            TransportUnavailable: Nobody is there.
        """
        if not self._open or self._killed:
            raise TransportUnavailable("the simulated broker cannot be reached")
        self._connection += 1
        self._connected = self._alive = True
        self._up_until = self._down_until = self.heard_at = self._bus.now
        self.gone = asyncio.get_running_loop().create_future()
        welcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def welcomed() -> None:
            if not welcome.done():
                welcome.set_result(None)

        self.ask(welcomed)
        await asyncio.wait((welcome, self.gone), return_when=asyncio.FIRST_COMPLETED)
        if not welcome.done():
            welcome.cancel()
            raise self.gone.result()

    def ask(self, on_answer: Callable[[], None] = lambda: None) -> None:
        """Send something that the broker only answers."""
        self._send_up(lambda: self._receive(on_answer))

    def hang_up(self, why: TransportError) -> None:
        """It is known that the connection is lost."""
        self._alive = False
        if self.gone is not None and not self.gone.done():
            self.gone.set_result(why)

    def shut(self) -> None:
        """Leave nothing of it; from now on the bus counts what is missed."""
        subscribers = self._bus._subscribers.items()
        self._missed.update(name for name, each in subscribers if self in each)
        self._drop_connection()

    def _receive(
        self,
        arrive: Callable[[], None],
        late: float = 0.0,
        *,
        lost: Callable[[], None] | None = None,
    ) -> None:
        def heard() -> None:
            self.heard_at = self._bus.now
            arrive()

        # On one connection nothing overtakes: what is late holds up what follows.
        self._down_until = max(self._down_until, self._bus.now + late)
        super()._receive(heard, lost=lost)

    def _sever(self, *, told: bool) -> None:
        if not self._connected:
            return
        self._alive = False
        if told:
            self.hang_up(TransportUnavailable("the simulated connection was reset"))

    @property
    def _works(self) -> bool:
        return not self._started or (self._connected and self._alive)

    @property
    def _recovering(self) -> bool:
        return False  # what moves without help is planned, see HearingWire.look


class PublishingWire(Wire):
    """The connection on which messages go out; the bus knows of it by its messages only."""

    def __init__(self, bus: SimulatedBus, name: str) -> None:
        super().__init__(bus, name)
        self.on_taken: Callable[[], None] = lambda: None

    def _taken(self, message: Message) -> None:
        self.on_taken()


class HearingWire(Wire):
    """The connection on which messages arrive; what a test breaks, it breaks for both."""

    def __init__(self, bus: SimulatedBus, name: str, transport: LinkedTransport) -> None:
        super().__init__(bus, name)
        self._transport = transport
        self._publishing = transport.publishing
        self._looks = False

    def _sever(self, *, told: bool) -> None:
        # A cable fails for both; a process in between, or the broker's limits, for one.
        which = self._bus.random.choice(("both", "both", "hearing", "publishing"))
        if which != "publishing" or not self._bus.running:
            super()._sever(told=told)
        if which != "hearing" or not self._bus.running:
            self._publishing._sever(told=told)
        self.look()

    def _recover(self) -> None:
        self.look()

    def _kill(self) -> None:
        self._transport.kill()
        for wire in (self, self._publishing):
            wire._started, wire._killed = False, True
            wire.hang_up(TransportUnavailable("killed"))
            wire.shut()

    def share(self) -> None:
        """Let what is true of this connection's way be true of the other's."""
        self._publishing._up, self._publishing._down = self._up, self._down
        self._publishing._reachable = self._reachable

    @property
    def _works(self) -> bool:
        return super()._works and self._publishing._works

    def shut(self) -> None:
        super().shut()
        self._transport.unheard = self._missed.intersection(self._transport.exchange.wishes)

    def look(self) -> None:
        """Let the bus know, from time to time, that something moves without further help."""
        self.share()
        if not self._looks and self._open and self._transport.busy:
            self._looks = True
            self._bus._schedule.at(self._bus.now + LOOK, self._looked)

    def _looked(self) -> None:
        self._looks = False
        self.look()

    def _deliver(self, message: Message) -> None:
        data = message.payload.encode()
        self._transport.exchange.received(message.channel, data, self._bus.now)


class Link(BrokerLink):
    """What both links have in common: a connection, and pings on it."""

    def __init__(self, transport: LinkedTransport, wire: Wire) -> None:
        self._transport = transport
        self._exchange = transport.exchange
        self._wire = wire
        self._pinged_at = 0.0
        self._written_at = 0.0
        """Since when an answer is waited for, if one is."""

    async def connect(self) -> None:
        self._transport.hearing.share()
        await self._wire.open()
        self._pinged_at = self._wire.heard_at

    async def lost(self) -> TransportError:
        gone = self._wire.gone
        assert gone is not None
        return await asyncio.shield(gone)

    async def close(self) -> None:
        self._wire.shut()

    def abort(self, error: TransportError) -> None:
        self._wire._bus._broken(self._wire.name, f"given up: {error}")
        self._wire.hang_up(error)

    @property
    def _waits(self) -> bool:
        raise NotImplementedError

    def tick(self, now: float, late: float) -> None:
        options, wire = self._transport.options, self._wire
        wire.heard_at += late
        self._written_at += late
        if now - wire.heard_at > 2 * options.ping_interval:
            self.abort(TransportUnavailable("the simulated broker is silent"))
        elif self._waits and now - self._written_at > options.confirm_timeout:
            self.abort(TransportUnavailable("the simulated broker does not answer"))
        elif now - self._pinged_at >= options.ping_interval:
            self._pinged_at = now
            wire.ask()


class HearingLink(Link):
    """Sends commands, and hears."""

    def __init__(self, transport: LinkedTransport, wire: HearingWire) -> None:
        super().__init__(transport, wire)
        self._unanswered: deque[Command] = deque()

    @property
    def _waits(self) -> bool:
        return bool(self._unanswered)

    async def connect(self) -> None:
        self._unanswered.clear()
        await super().connect()

    def wake(self) -> None:
        for command in self._exchange.wishes.commands(self._wire._bus.now):
            if not self._unanswered:
                self._written_at = self._wire._bus.now
            self._unanswered.append(command)
            self._send(command)

    def _send(self, command: Command) -> None:
        self._wire._send_up(lambda: self._arrived(command))

    def _arrived(self, command: Command) -> None:
        """The broker does what it is told, or refuses all of it."""
        wire, bus = self._wire, self._wire._bus
        if command.kind == "unsubscribe":
            for channel in command.channels:
                bus._unsubscribe(wire, channel)
        elif bus._happens("refuse", wire.name):
            wire._receive(lambda: self._refused(command))
            return
        else:
            for channel in command.channels:
                bus._subscribers.setdefault(channel, {})[wire] = wire._connection
                wire._missed.discard(channel)
                self._transport.unheard.discard(channel)
            if bus._happens("never confirm", wire.name):
                return
        wire._receive(lambda: self._done(command), bus._late)

    def _done(self, command: Command) -> None:
        self._answered(command)
        for channel in command.channels:
            self._exchange.wishes.answered(channel)
        self._transport.answered()

    def _refused(self, command: Command) -> None:
        self._answered(command)
        for channel in command.channels:
            if len(command.channels) > 1:
                self._exchange.wishes.ask_alone(channel)
            else:
                self._transport.unheard.discard(channel)
                error = PermissionDenied(channel, "the simulated broker refuses it")
                self._exchange.subscribe_refused(channel, error)
        self.wake()
        self._transport.answered()

    def _answered(self, command: Command) -> None:
        self._unanswered.remove(command)  # one that was never confirmed may be before it
        self._written_at = self._wire._bus.now


class PublishingLink(Link):
    """Writes one batch at a time."""

    def __init__(self, transport: LinkedTransport, wire: PublishingWire) -> None:
        super().__init__(transport, wire)
        self._left = 0
        wire.on_taken = self._on_taken

    @property
    def _waits(self) -> bool:
        return self._left > 0

    async def connect(self) -> None:
        self._left = 0
        await super().connect()

    def wake(self) -> None:
        if self._left or not self._transport.may_publish:
            return
        wire, bus = self._wire, self._wire._bus
        batch = self._exchange.outbox.batch(bus.now, messages=BATCH_MESSAGES, size=BATCH_BYTES)
        self._transport.check(batch)
        self._left = len(batch)
        self._written_at = bus.now
        for each in batch:
            message = Message(each.channel, each.payload.decode(), each.deadline)
            self._publish(wire, message)

    def _publish(self, wire: Wire, message: Message) -> None:
        wire._send_up(lambda: wire._bus._publish(wire, message))

    def _on_taken(self) -> None:
        self._left -= 1
        self._exchange.outbox.confirm()
        if not self._left and self._exchange.outbox.waiting:
            self.wake()


if TYPE_CHECKING:
    _: type[WsBroadcastTransport] = LinkedTransport
