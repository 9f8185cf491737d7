"""Transports of the simulated bus that break a promise about faults, and who has to notice it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from wsrooms.errors import TransportUnavailable
from wsrooms.receipt import FINISHED, Receipt
from wsrooms.testing.conformance import SimulatedRig
from wsrooms.testing.conformance.keeping import KeepingTransport
from wsrooms.testing.conformance.telling import Told
from wsrooms.transports import Gap, TaggedTransport, TransportState

if TYPE_CHECKING:
    from wsrooms.testing import SimulatedTransport

Handler = Callable[[str], None]

BREAKS: list[tuple[str, str, Callable[[], SimulatedRig]]] = []
"""The name of a case, what is wrong, and the rig on which that is wrong."""

LONG = 60.0


class BrokenRig(SimulatedRig):
    def __init__(self, kind: type[Any], **options: Any) -> None:
        super().__init__(seed=1)
        self._kind = kind
        for name, value in options.items():
            setattr(self.bus, name, value)

    def _made(self, transport: SimulatedTransport) -> TaggedTransport:
        if issubclass(self._kind, TaggedTransport):
            return self._kind(KeepingTransport(transport))
        return TaggedTransport(self._kind(transport))


def noticed_by(*names: str, **options: Any) -> Callable[[type[Any]], type[Any]]:
    """Register a broken transport, tagged or to be tagged, under the cases that notice it."""

    def register(broken: type[Any]) -> type[Any]:
        rig = partial(BrokenRig, broken, **options)
        BREAKS.extend((name, broken.__name__, rig) for name in names)
        return broken

    return register


def later(seconds: float, call: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_later(seconds, call)


# Wishes


@noticed_by("flapping_one_channel")
class HearsOfUnsubscribesLate(KeepingTransport):
    def unsubscribe(self, channel: str) -> None:
        soon = asyncio.get_running_loop().call_soon
        soon(soon, partial(super().unsubscribe, channel))


@noticed_by(
    "flapping_many_channels_with_cuts",
    "unsubscribe_while_disconnected",
    "subscribe_and_unsubscribe_while_disconnected",
)
class RestoresWhatWasUnsubscribed(KeepingTransport):
    def unsubscribe(self, channel: str) -> None:
        self.wrapped.unsubscribe(channel)


@noticed_by(
    "flapping_many_channels_with_cuts",
    "ten_thousand_channels_survive_a_restart",
    "broker_killed_mid_stream",
    "tcp_cut_of_the_subscriber",
    "half_open_idle",
    "stalled_broker",
)
class RestoresNothing(KeepingTransport):
    def _restore(self, link: int, channels: list[str]) -> None:
        self._tell("up", None)


@noticed_by("cancelled_subscribe_wait")
class HangsAfterACancelledWait(KeepingTransport):
    def __init__(self, wrapped: SimulatedTransport) -> None:
        super().__init__(wrapped)
        self._answers: dict[str, Any] = {}

    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None]:
        before = self._answers.get(channel)
        if before is not None and before.cancelled():
            return asyncio.get_running_loop().create_future()
        answer = self._answers[channel] = super().subscribe(channel, handler)
        return answer


@noticed_by("cancelled_subscribe_wait")
class ForgetsAWishNobodyWaitsFor(KeepingTransport):
    """It returns a receipt, so the wish would have to stay."""

    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None]:
        receipt = Receipt()
        answer: Any = super().subscribe(channel, handler)
        answer.add_done_callback(lambda _: receipt.settle())
        if "up" in channel or "down" in channel:
            self.unsubscribe(channel)
        return receipt


@noticed_by("ten_thousand_channels")
class SubscribesOneByOne(KeepingTransport):
    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None]:
        count = len(self._wishes)
        answer = super().subscribe(channel, handler)

        async def takes_its_time() -> None:
            await answer
            await asyncio.sleep(0.001 * count)

        return asyncio.ensure_future(takes_its_time())


@noticed_by("ten_thousand_channels")
class IsDear(KeepingTransport):
    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None]:
        ballast = bytearray(20_000) if "more" in channel else None

        def hear(payload: str) -> None:
            del payload  # it is never called for "more"
            assert ballast is None

        return super().subscribe(channel, hear if ballast else handler)


@noticed_by("ten_thousand_channels_survive_a_restart")
class RestoresSlowly(KeepingTransport):
    def _restore(self, link: int, channels: list[str]) -> None:
        later(0.06 if channels else 0.0, partial(super()._restore, link, channels))


@noticed_by("subscribe_while_disconnected")
class ConfirmsWithoutABroker(KeepingTransport):
    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None]:
        super().subscribe(channel, handler)
        return FINISHED


@noticed_by("subscribe_and_unsubscribe_while_disconnected")
class RemembersAllThatWasEverWished(KeepingTransport):
    def __init__(self, wrapped: SimulatedTransport) -> None:
        super().__init__(wrapped)
        self.ever: list[str] = []

    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None]:
        self.ever.append(f"{channel} was wished once")
        return super().subscribe(channel, handler)


# Loss, and what is told of it


@noticed_by("broker_killed_mid_stream", "tcp_cut_of_the_subscriber", "stalled_broker")
class TellsNoLoss(TaggedTransport):
    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        super().on_gap(_nobody)


@noticed_by("tcp_cut_of_the_subscriber")
class TellsOfLossesAllTheTime(TaggedTransport):
    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        super().on_gap(callback)
        later(0.1, partial(callback, Gap(None, None, None)))


@noticed_by(
    "tcp_cut_of_the_publisher",
    "publish_while_disconnected_is_delivered_after",
)
class DropsWhatWaits(KeepingTransport):
    def publish(self, channel: str, payload: str) -> Awaitable[None]:
        return super().publish(channel, payload) if self.wrapped._works else FINISHED


@noticed_by("publish_while_disconnected_is_delivered_after", "tcp_cut_of_the_publisher")
class SendsTheNewestFirst(KeepingTransport):
    def publish(self, channel: str, payload: str) -> Awaitable[None]:
        receipt = super().publish(channel, payload)
        outbox = self.wrapped._outbox
        if not self.wrapped._works and len(outbox) > 1:
            outbox.appendleft(outbox.pop())
        return receipt


@noticed_by("restart_with_a_lost_log")
class MissesTheFirstNewOne(TaggedTransport):
    """As one that reads on from a position that is no more."""

    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None] | None:
        def hear(payload: str) -> None:
            if payload != "the first one":
                handler(payload)

        return super().subscribe(channel, hear)


# How soon


@noticed_by("half_open_idle", "half_open_with_unsent_bytes", "stalled_broker", watchdog=10.0)
class NoticesLate(KeepingTransport):
    """A link that died in silence is taken for one that works."""


@noticed_by("half_open_idle", "tcp_cut_of_the_subscriber", "broker_killed_mid_stream")
class NeverComesBack(KeepingTransport):
    def _state_told(self, state: TransportState, error: str | None) -> None:
        if state != "up":
            super()._state_told(state, error)


# Life


@noticed_by("absent_broker_at_start")
class HangsAtStart(KeepingTransport):
    async def start(self) -> None:
        try:
            await super().start()
        except TransportUnavailable:
            await asyncio.sleep(LONG)
            raise


@noticed_by("absent_broker_at_start")
class DoesNotSayWhichBroker(KeepingTransport):
    async def start(self) -> None:
        try:
            await super().start()
        except TransportUnavailable:
            raise TransportUnavailable("no broker") from None


@noticed_by("absent_broker_at_start")
class StartsWithoutABroker(KeepingTransport):
    async def start(self) -> None:
        try:
            await super().start()
        except TransportUnavailable:
            return


class Background(KeepingTransport):
    """One with a task."""

    def work(self) -> asyncio.Task[None]:
        return asyncio.create_task(asyncio.sleep(LONG), name="left behind")


@noticed_by("absent_broker_at_start", "cancelling_start_leaves_nothing")
class LeavesATaskOfItsStart(Background):
    async def start(self) -> None:
        self.task = self.work()
        await asyncio.sleep(0)
        await super().start()
        self.task.cancel()


@noticed_by("close_is_clean_in_every_state")
class LeavesATaskOfItsClose(Background):
    async def close(self) -> None:
        await super().close()
        self.task = self.work()


@noticed_by("close_is_clean_in_every_state")
class ClosesSlowlyWhileDown(KeepingTransport):
    async def close(self) -> None:
        if not self.wrapped._works:
            await asyncio.sleep(LONG)
        await super().close()


@noticed_by("close_is_clean_in_every_state")
class ClosesTwice(KeepingTransport):
    closed = False

    async def close(self) -> None:
        if self.closed:
            await asyncio.sleep(1.0)
        self.closed = True
        await super().close()


@noticed_by("calls_after_close_raise_transport_closed")
class TakesMessagesWhenClosed(KeepingTransport):
    def publish(self, channel: str, payload: str) -> Awaitable[None]:
        return super().publish(channel, payload) if self.wrapped._started else FINISHED


@noticed_by("calls_after_close_raise_transport_closed")
class ForgetsWhatWaitsAtClose(KeepingTransport):
    async def close(self) -> None:
        self.wrapped._outbox.clear()
        await super().close()


@noticed_by("close_flushes_the_outbox")
class DropsTheRestAtClose(KeepingTransport):
    async def close(self) -> None:
        for message in self.wrapped._outbox:
            message.receipt.settle()
        self.wrapped._outbox.clear()
        await super().close()


# What is told


@noticed_by("metrics_and_state_callbacks")
class CountsReconnectsTwice(KeepingTransport):
    def stats(self) -> dict[str, int]:
        return {**super().stats(), "reconnects": 2 * super().stats()["reconnects"]}


@noticed_by("metrics_and_state_callbacks")
class IsStoppedByACallback(KeepingTransport):
    def _tell(self, state: TransportState, error: str | None) -> None:
        try:
            if self._tell_state is not None:
                self._tell_state(state, error)
        except Told:
            self.wrapped._kill()


@noticed_by("metrics_and_state_callbacks")
class DoesNotSayWhy(KeepingTransport):
    def _tell(self, state: TransportState, error: str | None) -> None:
        super()._tell(state, None)


def _nobody(_: Gap) -> None:
    """The callback of one who is told nothing."""
