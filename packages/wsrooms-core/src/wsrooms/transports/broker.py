"""What the transports of brokers have in common: life, state, supervision, probes.

:class:`BrokerTransport` owns the :class:`Exchange` (what is to go out and to come in) and keeps
its connections, the *links*, alive: each is connected, watched, given up when it is dead, and
connected again after a backoff, for ever. What differs from broker to broker is in the links.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from wsrooms.errors import (
    AuthenticationFailed,
    LimitTooLow,
    TransportClosed,
    TransportError,
    TransportUnavailable,
)
from wsrooms.receipt import FINISHED, Receipt
from wsrooms.transports.backoff import backoff
from wsrooms.transports.brokerlink import close_in_time, connect_in_time
from wsrooms.transports.calls import cancelled_by_us, drawn_instance_id
from wsrooms.transports.exchange import Exchange
from wsrooms.transports.logs import LEVELS
from wsrooms.transports.probe import Probing
from wsrooms.transports.protocols import Gap, TransportState

if TYPE_CHECKING:
    from wsrooms.transports.brokerlink import BrokerLink
    from wsrooms.transports.options import BrokerOptions

__all__ = ["BrokerTransport"]

TICKS = 4
"""Looks after the links in one ping interval, so that silence is seen within half a second."""

STEADY = 1.0
"""Seconds that a connection has to live for the next one to be tried at once."""

RESUME = 1.5
"""Seconds after an outage in which nothing is published, if the broker keeps no log.

All others lost it too. They try again within a second (the longest backoff), and what waited
for the broker would be taken for nobody if it went out before they hear again.
"""

START_TASKS = 2  # the first link and the watch


class BrokerTransport(ABC):
    """A transport over a broker: everything but the broker's own protocol.

    Promises what ``docs/transports/contract.md`` says. A subclass makes the links and says
    how it names itself; they write what the exchange gives them and report what comes.
    """

    skips_own: bool = True
    keeps_log: bool = False

    def __init__(
        self,
        options: BrokerOptions,
        *,
        where: str,
        max_payload: int,
        logger: logging.Logger | None = None,
    ) -> None:
        """Prepare a transport; ``start()`` connects it.

        Args:
            options: What all transports have options for.
            where: The broker, as shown in logs and errors: without any secret.
            max_payload: Bytes that a payload may have.
            logger: For what nobody else is told.
        """
        self.options = options
        self.where = where
        self.logger: logging.Logger = logging.getLogger("wsrooms") if logger is None else logger
        self.exchange: Exchange = Exchange(options, max_payload=max_payload, logger=self.logger)
        self._state: TransportState = "closed"
        self._error: str | None = None
        self._tell_state: Callable[[TransportState, str | None], None] | None = None
        self._life: Literal["new", "running", "closing", "closed"] = "new"
        self._ended: asyncio.Event | None = None
        self._starting: asyncio.Future[None] | None = None
        self._links: Sequence[BrokerLink] = ()
        self._connected: dict[BrokerLink, None] = {}  # in the order in which they connected
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: Context = copy_context()
        self._waking = self._gap_owed = False
        self._refusals_told: set[type[TransportError]] = set()
        self._publish_from = 0.0
        self._reconnects = self._probes_lost = 0
        self._probe = Probing(self.exchange, options.probe_interval)

    @abstractmethod
    def _make_links(self) -> Sequence[BrokerLink]:
        """The links, which are kept for as long as the transport runs; subscriptions first."""

    @property
    def max_payload(self) -> int:
        """Bytes of UTF-8 that a payload may have."""
        return self.exchange.max_payload

    @property
    def state(self) -> TransportState:
        """Whether it publishes and hears: "up", "deaf" or "down"; "closed" before and after."""
        return self._state

    # Life

    async def start(self) -> None:
        """Connect and log in; publish and subscribe work when this returns.

        Raises:
            AuthenticationFailed: The broker refused the credentials or the certificate.
            PermissionDenied: It refused the channel on which the instance probes itself.
            TransportUnavailable: It did not answer within ``start_timeout``, or refused.
            TransportClosed: ``close()`` was called meanwhile.
            TransportError: It has been started already.
        """
        if self._life in ("running", "closing"):
            raise TransportError(f"{self!r} has been started already: start() is called once")
        loop = self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._life = "running"
        self._ended = asyncio.Event()
        self._starting = starting = loop.create_future()
        self._set_state("starting", tell=False)
        self._gap_owed, self._publish_from = False, 0.0
        self.exchange.begin(drawn_instance_id())
        limit = asyncio.timeout(self.options.start_timeout)
        try:
            self._want_probe()
            self._links = self._make_links()
            self._run(self._keep(self._links[0]), f"wsrooms link 0 of {self!r}")
            self._run(self._watch(loop.time()), f"wsrooms watch of {self!r}")
            async with limit:
                await starting
        except BaseException as error:
            if self._life == "running" and self._starting is starting:
                await self._end(TransportClosed(f"{self!r} did not start"), "new")
            if isinstance(error, TimeoutError) and limit.expired():
                raise TransportUnavailable(
                    f"{self.where} did not answer within {self.options.start_timeout:g} s"
                ) from None
            raise
        finally:
            if self._starting is starting:  # else it was closed, and has been started again
                self._starting = None

    async def close(self) -> None:
        """Publish what waits, then leave no task, socket or warning behind; idempotent.

        Takes at most ``close_timeout``, half of it to publish; what is left then fails with
        ``TransportClosed``.
        """
        if self._life == "closing" and self._ended is not None:
            await self._ended.wait()
        if self._life != "running":
            if self._life == "new":
                self._life = "closed"
            return
        self._life = "closing"
        try:
            await self._flushed(self.options.close_timeout / 2)
        finally:
            await self._end(TransportClosed(f"{self!r} has been closed"), "closed")

    async def _flushed(self, timeout: float) -> None:
        """Wait until nothing waits to be published, or that cannot be."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while (last := self.exchange.outbox.last) is not None:
            done = loop.create_future()
            last._when_done(partial(_arrived, done))
            self._wake()
            try:
                async with asyncio.timeout_at(until):
                    await done
            except TimeoutError:
                return

    async def _end(self, error: TransportError, life: Literal["new", "closed"]) -> None:
        tasks, self._tasks = self._tasks, []
        self._links = ()
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                _, stubborn = await asyncio.wait(tasks, timeout=self.options.close_timeout / 2)
                for task in stubborn:
                    self.logger.error("%s does not end", task.get_name())
        finally:
            self._connected.clear()
            self._probe = Probing(self.exchange, self.options.probe_interval)
            self._life = life
            self.exchange.fail_all(error)
            self._set_state("closed", tell=life == "closed")
            if life == "closed" and self._starting is not None and not self._starting.done():
                self._starting.set_exception(error)
            if self._ended is not None:
                self._ended.set()

    def _run(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        assert self._loop is not None
        self._tasks.append(self._loop.create_task(coroutine, name=name, context=self._context))

    # What the core calls

    def publish(self, channel: str, payload: str) -> Receipt:
        """Publish after all that was published before; never waits.

        Returns:
            Done when the broker has taken the message. Its error may be ``OutboxFull``,
            ``TransportUnavailable`` (too old), ``OutcomeUnknown``, ``PermissionDenied``.

        Raises:
            TransportClosed: Before start or after close.
            PayloadTooLarge: The payload is over :attr:`max_payload`.
            InvalidChannel: The broker cannot carry that name.
            UnicodeEncodeError: UTF-8 cannot carry the payload.
        """
        receipt = self.exchange.publish(channel, payload, self._now())
        self._wake()
        return receipt

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Receipt:
        """Hear ``channel``: a second time replaces the handler.

        Returns:
            Done when the broker has confirmed: from then on nothing is missed. While the
            broker is away it waits; giving up the wait does not undo the wish. Its error is
            ``PermissionDenied`` if the broker refuses, and the wish is gone then.

        Raises:
            TransportClosed: Before start or after close.
            InvalidChannel: The broker cannot carry that name.
        """
        self._now()
        receipt = self.exchange.subscribe(channel, handler)
        self._wake()
        return receipt

    def unsubscribe(self, channel: str) -> Receipt:
        """Hear ``channel`` no more: no call of the handler begins after this returns.

        Raises:
            TransportClosed: Before start or after close.
        """
        self.exchange.unsubscribe(channel, self._now())
        return FINISHED

    def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None:
        """Call ``callback(state, error)`` at each change; the last one given counts."""
        self._tell_state = callback

    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        """Call ``callback`` for each gap; the last one given counts."""
        self.exchange.on_gap = callback

    def stats(self) -> dict[str, int]:
        """Counters and gauges, which docs/transports/contract.md explains."""
        stats = self.exchange.stats()
        stats["subscriptions"] -= self._probing
        return {**stats, "reconnects": self._reconnects, "probes_lost": self._probes_lost}

    def _now(self) -> float:
        if self._life != "running" or self._loop is None:
            when = "has not been started" if self._life == "new" else "has been closed"
            raise TransportClosed(f"{self!r} {when}")
        return self._loop.time()

    # What the links call

    @property
    def may_publish(self) -> bool:
        """Whether messages may be written: all wishes are restored first, here and elsewhere."""
        if self._loop is None or not self._usable:
            return False
        return self._loop.time() >= self._publish_from or self._life == "closing"

    def answered(self) -> None:
        """Some commands of the exchange's wishes have been answered."""
        self._look()

    def _wake(self) -> None:
        """Let the links look for work at the end of this turn, once for all of its calls."""
        if not self._waking and self._loop is not None:
            self._waking = True
            self._loop.call_soon(self._woken, context=self._context)

    def _woken(self) -> None:
        self._waking = False
        for link in tuple(self._connected):
            link.wake()

    # Supervision

    async def _keep(self, link: BrokerLink) -> None:
        """Connect ``link`` whenever it is not; its own mistakes do not end that."""
        loop = asyncio.get_running_loop()
        delays = backoff()
        while link in self._links:
            began: float | None = None
            try:
                await connect_in_time(link, self.options.connect_timeout, self.where)
                if link not in self._links:
                    return  # it has swallowed the cancellation
                began = loop.time()
                self._on_connected(link)
                error = await link.lost()
            except TransportError as failure:
                error = failure
            except (Exception, asyncio.CancelledError) as failure:
                if cancelled_by_us(failure):
                    raise
                self.logger.exception("a link of %r failed unexpectedly", self)
                error = TransportUnavailable(f"{type(failure).__name__}: {failure}")
            finally:
                await close_in_time(link, self.options.close_timeout / 4, self, self.logger)
            if link not in self._links:
                return
            if began is not None and loop.time() - began > STEADY:
                delays = backoff()
            self._on_lost(link, error, connected=began is not None)
            await asyncio.sleep(next(delays))

    def _on_connected(self, link: BrokerLink) -> None:
        self._connected[link] = None
        if len(self._tasks) == START_TASKS:  # one after the other: where one fails, all would
            for number, other in enumerate(self._links[1:], 1):
                self._run(self._keep(other), f"wsrooms link {number} of {self!r}")
        link.wake()
        self._look()

    def _on_lost(self, link: BrokerLink, error: TransportError, *, connected: bool) -> None:
        self._connected.pop(link, None)
        if link is self._links[0] and connected:
            heard = self.exchange.wishes.confirmed(self.exchange.probe_channel)
            missed = self.exchange.wishes.lost() - heard
            self._gap_owed = self._gap_owed or (missed > 0 and not self.keeps_log)
            self._publish_from = float("-inf" if self.keeps_log else "inf")
        if link is self._links[-1] and connected:
            self.exchange.outbox.lost()
        self._probe.stop()
        if self._state == "starting":  # not: while start() runs, which is told a turn later
            if self._starting is not None and not self._starting.done():
                self._starting.set_exception(error.with_traceback(None))
        elif not (self._state == "deaf" and connected):  # deaf until the next try has failed
            refused = isinstance(error, AuthenticationFailed | LimitTooLow)
            if refused and type(error) not in self._refusals_told:
                self._refusals_told.add(type(error))
                if self._state == "down":
                    self.logger.warning("%r is still down: %s", self, error)
            self._set_state("down", str(error))

    @property
    def _whole(self) -> bool:
        wishes = self.exchange.wishes
        whole = len(self._connected) == len(self._links) and wishes.restored
        return whole and wishes.confirmed(self.exchange.probe_channel)

    @property
    def _usable(self) -> bool:
        """Up, or to be shown to deliver again, for which a probe has to go out."""
        return self._state == "up" or (self._probe.owed and self._whole)

    def _look(self) -> None:
        """Be up once every link is connected, every wish restored, and a lost probe made good."""
        if self._state == "up" or self._life == "closed" or not self._whole:
            return
        if self._publish_from == float("inf") and self._loop is not None:
            # Where messages may wait for less they would be too old before they are tried.
            self._publish_from = self._loop.time() + min(RESUME, self.options.outbox_age / 2)
        if self._probe.owed:
            return
        self._refusals_told.clear()
        self._set_state("up")
        if self._starting is None:
            self._reconnects += 1
        elif not self._starting.done():
            self._starting.set_result(None)
        if self._gap_owed:
            self._gap_owed = False
            self.exchange.gap(Gap(None, None, None))
        self._wake()

    def _set_state(
        self, state: TransportState, error: str | None = None, *, tell: bool = True
    ) -> None:
        if state == self._state and error == self._error:
            return
        if state != self._state:
            self.logger.log(LEVELS[state], "%r is %s%s", self, state, f": {error}" if error else "")
        self._state, self._error = state, error
        if self._tell_state is not None and tell:
            try:
                self._tell_state(state, error)
            except Exception:
                self.logger.exception("a state callback of %r failed", self)

    async def _watch(self, now: float) -> None:
        """Look after links, ages and probes, for as long as the transport runs."""
        loop = asyncio.get_running_loop()
        every = self.options.ping_interval / TICKS
        while True:
            due = now + every
            await asyncio.sleep(due - now)
            now = loop.time()
            try:
                self._tick(now, now - due)
            except Exception:
                self.logger.exception("the watch of %r failed", self)

    def _tick(self, now: float, late: float) -> None:
        self.exchange.outbox.expire(now)
        if self._life == "running" and not self._probing:
            self._want_probe()
            self._wake()
        for link in tuple(self._connected):
            link.tick(now, late)
        if self.exchange.wishes.due is not None or len(self.exchange.outbox):
            self._wake()
        if any(link.behind for link in self._connected):
            late += self.options.ping_interval / TICKS  # what comes does: the probe will
        self._look_at_probe(now, late)

    # Probes

    def _look_at_probe(self, now: float, late: float) -> None:
        if self._life != "running" or not self._usable:
            return
        match self._probe.look(now, late):
            case "sent":
                self._wake()
            case "lost":
                self._probes_lost += 1
                told = (
                    f"{self.where} took a message and did not bring it back "
                    f"within {self.options.probe_interval:g} s"
                )
                self._set_state("deaf", told)
                for link in tuple(self._connected):
                    link.abort(TransportUnavailable(told))
            case "back":
                self._look()
            case None:
                pass

    @property
    def _probing(self) -> bool:
        return self.exchange.wishes.handler(self.exchange.probe_channel) is not None

    def _want_probe(self) -> None:
        wish = self.exchange.subscribe(self.exchange.probe_channel, _nothing)
        wish._when_done(self._on_probe_subscribed)

    def _on_probe_subscribed(self, receipt: Receipt) -> None:
        error = receipt._take_error()
        if error is None or self._life != "running":
            return
        if self._starting is None:
            self._set_state("down", str(error))  # it is asked for again at the next tick
        elif not self._starting.done():
            self._starting.set_exception(error.with_traceback(None))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.where}>"


def _nothing(_: str) -> None:
    """The handler of the probe's channel: own messages are counted, not handled."""


def _arrived(done: asyncio.Future[None], _: Receipt) -> None:
    if not done.done():
        done.set_result(None)
