"""One instance's transport on a :class:`~wsrooms.testing.SimulatedBus`: its end of the link."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from wsrooms.errors import OutboxFull, TransportClosed, TransportError, TransportUnavailable
from wsrooms.transports import Gap, Receipt, TransportState, WsBroadcastTransport

if TYPE_CHECKING:
    from wsrooms.testing.fleet.bus import SimulatedBus

__all__ = ["Delay", "Message", "SimulatedTransport"]

MAX_AGE = 15.0
"""Seconds that a message waits for a link, as in the transports of brokers."""

MAX_MESSAGES = 10_000

RECONNECT = 0.2
"""Seconds that connecting again takes at most."""


class Delay(NamedTuple):
    """How long something takes: at least ``seconds``, and by chance up to ``jitter`` more."""

    seconds: float = 0.0
    jitter: float = 0.0


class Message:
    """A message until the broker has said that it took it."""

    __slots__ = ("arrived", "channel", "deadline", "payload", "receipt", "tried")

    def __init__(self, channel: str, payload: str, deadline: float) -> None:
        self.channel: str = channel
        self.payload: str = payload
        self.deadline: float = deadline
        self.receipt: Receipt = Receipt()
        self.tried: bool = False
        self.arrived: bool = False


class SimulatedTransport:
    """A transport with a lifecycle, a state and gaps; it echoes, so wrap it in ``tagged()``.

    ``SimulatedBus.transport()`` makes it.

    Attributes:
        name: How the bus calls the instance.
    """

    def __init__(self, bus: SimulatedBus, name: str) -> None:
        self._bus = bus
        self.name = name
        self._reachable: bool = True
        self._connection: int = 0
        self._up: Delay = Delay()
        self._down: Delay = Delay()
        self._missed: set[str] = set()
        self._up_until = self._down_until = 0.0
        self._started = False
        self._killed = False
        self._connected = False
        self._alive = False  # whether the connection that it believes in still is one
        self._link_lost = False
        self._handlers: dict[str, Callable[[str], None]] = {}
        self._subscribed: dict[str, None] = {}
        self._asked: dict[asyncio.Future[None], str] = {}
        self._outbox: deque[Message] = deque()
        self._tell_state: Callable[[TransportState, str | None], None] | None = None
        self._tell_gap: Callable[[Gap], None] | None = None
        self._resent = 0
        self._reconnects = 0

    # What the core calls

    async def start(self) -> None:
        """Connect.

        Raises:
            TransportUnavailable: The broker is down, or its link is cut.
        """
        self._connection += 1
        self._started = True
        self._killed = False
        if not self._open:
            self._started = False
            raise TransportUnavailable("the simulated broker cannot be reached")
        self._connect()

    async def close(self) -> None:
        """Send what waits, if there is a link, and end every subscription; idempotent."""
        if not self._started:
            return
        self._started = False
        outbox, self._outbox = list(self._outbox), deque()
        for message in outbox:
            if self._connected and self._alive:
                if not message.arrived:
                    self._bus._publish(self, message)
                message.receipt.settle()
            else:
                message.receipt.settle(TransportClosed("the transport has closed"))
        self._drop_connection()
        self._fail_asked(TransportClosed("the transport has closed"))
        self._handlers.clear()
        self._subscribed.clear()
        self._missed.clear()
        self._link_lost = False

    def _kill(self) -> None:
        """As if its process had been killed: nothing goes out or comes in any more, unanswered."""
        self._started = False
        self._killed = True
        self._outbox.clear()
        self._handlers.clear()
        self._subscribed.clear()
        self._asked.clear()
        self._missed.clear()
        self._link_lost = False
        self._drop_connection()

    def replica(self) -> SimulatedTransport:
        """Another transport on the same bus."""
        return self._bus.transport()

    def publish(self, channel: str, payload: str) -> Awaitable[None]:
        """Send a message as soon as there is a link; done when the broker has taken it.

        Raises:
            TransportClosed: Before start or after close.
        """
        self._check_started()
        now = self._bus.now
        message = Message(channel, payload, now + MAX_AGE)
        if self._killed:
            pass  # nobody is there to be told
        elif len(self._outbox) >= MAX_MESSAGES:
            message.receipt.settle(OutboxFull(MAX_MESSAGES, "messages"))
        else:
            self._outbox.append(message)
            self._bus._schedule.at(message.deadline, lambda: self._expire(message), moving=False)
            if self._connected:
                self._send(message)
        return message.receipt if self._bus.answers == "receipts" else _plain(message.receipt)

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Awaitable[None]:
        """Done when the broker has confirmed it.

        Raises:
            TransportClosed: Before start or after close.
        """
        self._check_started()
        self._handlers[channel] = handler
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked[answer] = channel
        if self._killed:
            self._asked.clear()
        elif self._connected:
            self._ask(channel, answer)
        elif not self._bus.remembers:
            self._answered(answer, TransportUnavailable("the simulated link is down"))
        return answer

    def unsubscribe(self, channel: str) -> None:
        """Done at once; the broker hears of it later."""
        self._handlers.pop(channel, None)
        self._subscribed.pop(channel, None)
        for answer, asked in list(self._asked.items()):
            if asked == channel:
                self._answered(answer, TransportUnavailable("unsubscribed meanwhile"))
        if self._connected:
            self._send_up(lambda: self._bus._unsubscribe(self, channel))
        self._restored(channel)

    def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None:
        """Tell ``callback`` when the link goes down and comes up."""
        self._tell_state = callback

    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        """Tell ``callback`` when a link was lost."""
        self._tell_gap = callback

    def stats(self) -> dict[str, int]:
        """What waits, and what was done again."""
        return {
            "outbox": len(self._outbox),
            "outbox_bytes": sum(len(message.payload) for message in self._outbox),
            "resent": self._resent,
            "reconnects": self._reconnects,
        }

    def _check_started(self) -> None:
        if not self._started and not self._killed:
            raise TransportClosed("this transport has not started, or has been closed")

    # The link

    @property
    def _open(self) -> bool:
        return self._reachable and self._bus.running

    @property
    def _works(self) -> bool:
        """Whether its link works; it has none before start and after close."""
        return not self._started or (self._connected and self._alive)

    @property
    def _recovering(self) -> bool:
        """Whether it will be connected again without further help."""
        return self._started and self._open and not (self._connected and self._alive)

    def _connect(self) -> None:
        self._connected = self._alive = True
        self._up_until = self._down_until = self._bus.now
        for answer, channel in list(self._asked.items()):
            self._ask(channel, answer)
        for message in self._outbox:
            self._send(message)

    def _drop_connection(self) -> None:
        self._connection += 1
        self._connected = self._alive = False
        self._bus._forget(self)

    def _sever(self, *, told: bool) -> None:
        """The link has died."""
        if not self._started or not self._connected:
            return
        if told:
            self._notice(self._connection)
        elif self._alive:
            self._alive = False
            connection = self._connection
            due = self._bus.now + self._bus.watchdog
            self._bus._schedule.at(due, lambda: self._notice(connection), moving=False)

    def _notice(self, connection: int) -> None:
        """It is known that the link has died."""
        if connection != self._connection or not self._started:
            return
        self._drop_connection()
        self._missed.update(self._subscribed)
        self._subscribed.clear()
        self._link_lost = self._link_lost or bool(self._missed)
        if not self._bus.remembers:
            self._fail_asked(TransportUnavailable("the simulated link was lost"))
        if self._tell_state is not None:
            self._tell_state("down", "the simulated link was lost")
        self._recover()

    def _recover(self) -> None:
        """Connect again, if that is possible and nothing is connected."""
        if not self._recovering or self._connected:
            return
        connection = self._connection
        due = self._bus.now + self._bus.random.uniform(0.0, RECONNECT)
        self._bus._schedule.at(due, lambda: self._reconnect(connection))

    def _reconnect(self, connection: int) -> None:
        if connection != self._connection or not self._recovering:
            return
        self._connection += 1
        self._reconnects += 1
        self._connect()
        if self._tell_state is not None:
            self._tell_state("up", None)
        self._restored("")

    def _send_up(self, arrive: Callable[[], None]) -> None:
        connection = self._connection

        def arrived() -> None:
            if connection == self._connection and self._alive:
                arrive()

        self._up_until = max(self._up_until, self._bus.now + self._takes(self._up))
        self._bus._schedule.at(self._up_until, arrived)

    def _receive(
        self,
        arrive: Callable[[], None],
        late: float = 0.0,
        *,
        lost: Callable[[], None] | None = None,
    ) -> None:
        """Something is on its way from the broker; if the link dies first, call ``lost``."""
        connection = self._connection

        def arrived() -> None:
            if connection == self._connection and self._alive:
                arrive()
            elif lost is not None:
                lost()

        self._down_until = max(self._down_until, self._bus.now + self._takes(self._down))
        self._bus._schedule.at(self._down_until + late, arrived)

    def _takes(self, delay: Delay) -> float:
        if not delay.jitter:
            return delay.seconds
        return delay.seconds + self._bus.random.uniform(0.0, delay.jitter)

    # Messages

    def _send(self, message: Message) -> None:
        self._resent += message.tried
        message.tried = True
        self._send_up(lambda: self._bus._publish(self, message))

    def _taken(self, message: Message) -> None:
        """The broker has taken it."""
        if message in self._outbox:
            self._outbox.remove(message)
            message.receipt.settle()

    def _expire(self, message: Message) -> None:
        if message in self._outbox:
            self._outbox.remove(message)
            message.receipt.settle(
                TransportUnavailable(f"not published within {MAX_AGE:g} s: the bus is slow or down")
            )

    def _deliver(self, message: Message) -> None:
        """A message has arrived."""
        handler = self._handlers.get(message.channel)
        if handler is None:
            return
        try:
            handler(message.payload)
        except Exception:
            logging.getLogger("wsrooms").exception("a handler of the simulated bus failed")

    # Subscriptions

    def _ask(self, channel: str, answer: asyncio.Future[None]) -> None:
        self._send_up(lambda: self._bus._subscribe(self, channel, answer))

    def _answered(self, answer: asyncio.Future[None], error: TransportError | None = None) -> None:
        """A subscription is made, or is not."""
        if self._asked.pop(answer, None) is None or answer.done():
            return
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)

    def _confirmed(self, channel: str, answer: asyncio.Future[None]) -> None:
        """The broker has confirmed a subscription."""
        if channel in self._handlers:
            self._subscribed[channel] = None
            self._restored(channel)
        self._answered(answer)

    def _fail_asked(self, error: TransportError) -> None:
        for answer in list(self._asked):
            self._answered(answer, error)

    def _restored(self, channel: str) -> None:
        """One channel less is missed; once none is, tell that the link had been lost."""
        self._missed.discard(channel)
        if self._link_lost and not self._missed and self._connected:
            self._link_lost = False
            if self._tell_gap is not None:
                self._tell_gap(Gap(None, None, None))

    def __repr__(self) -> str:
        return f"<SimulatedTransport {self.name}>"


async def _plain(receipt: Receipt) -> None:
    await receipt


if TYPE_CHECKING:
    _: type[WsBroadcastTransport] = SimulatedTransport
