"""Transports that break one promise each, and the case that has to notice it."""

from __future__ import annotations

import fnmatch
import logging
import socket
import unicodedata
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from tests.conformance.bench import Bus, Carrier, Good, Handler
from wsrooms.errors import TransportUnavailable
from wsrooms.receipt import FINISHED, Receipt
from wsrooms.transports import Gap, SequenceWatch, Verdict, room_of, wrap

BREAKS: list[tuple[str, str, type[Good]]] = []
"""The name of a case, what is wrong, and the transport with which that is wrong."""


def noticed_by(*names: str) -> Callable[[type[Any]], type[Any]]:
    """Register a broken transport, or a broken carrier, under the cases that notice it."""

    def register(broken: type[Any]) -> type[Any]:
        kind = broken
        if issubclass(broken, Carrier):
            kind = type(broken.__name__, (Good,), {"carrier": broken})
        BREAKS.extend((name, broken.__name__, kind) for name in names)
        return broken

    return register


# Basics


@noticed_by("delivers_between_two_instances")
class DeliversTwice(Good):
    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None] | None:
        def twice(payload: str) -> None:
            handler(payload)
            handler(payload)

        return super().subscribe(channel, twice)


@noticed_by("delivers_between_two_instances", "payloads")
class Strips(Good):
    def publish(self, channel: str, payload: str) -> Awaitable[None] | None:
        return super().publish(channel, payload.strip().removesuffix('"}'))


@noticed_by("confirmed_subscribe_misses_nothing")
class ConfirmsTooEarly(Carrier):
    def subscribe(self, channel: str, handler: Handler) -> Receipt:
        self.bus.later(lambda: self.bus.later(lambda: self.handlers.update({channel: handler})))
        return FINISHED


@noticed_by("unsubscribed_handler_is_not_called")
class UnsubscribesLater(Good):
    def unsubscribe(self, channel: str) -> Awaitable[None] | None:
        bus: Bus = self._inner.bus  # type: ignore[attr-defined]  # a Carrier
        bus.later(partial(super().unsubscribe, channel))
        return None


@noticed_by("unsubscribed_handler_is_not_called", "subscribe_twice_replaces_the_handler")
class NeverUnsubscribes(Good):
    def unsubscribe(self, channel: str) -> Awaitable[None] | None:
        return None


@noticed_by("subscribe_twice_replaces_the_handler")
class KeepsBothHandlers(Good):
    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None] | None:
        known = self._handlers.get(channel)

        def both(payload: str) -> None:
            if known is not None:
                known(payload)
            handler(payload)

        return super().subscribe(channel, both)


@noticed_by("unsubscribe_of_unknown_channel_is_harmless")
class RefusesUnknownUnsubscribes(Good):
    def unsubscribe(self, channel: str) -> Awaitable[None] | None:
        if channel not in self._handlers:
            raise KeyError(channel)
        return super().unsubscribe(channel)


@noticed_by("unsubscribe_of_unknown_channel_is_harmless")
class CountsUnsubscribes(Good):
    """A second unsubscribe is taken for one of the next subscribe."""

    debts = 0

    def unsubscribe(self, channel: str) -> Awaitable[None] | None:
        self.debts += channel not in self._handlers
        return super().unsubscribe(channel)

    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None] | None:
        if self.debts:
            self.debts -= 1
            return None
        return super().subscribe(channel, handler)


@noticed_by("publish_without_subscribers_succeeds")
class WantsSubscribers(Carrier):
    def publish(self, channel: str, payload: str) -> Receipt:
        if not any(channel in carrier.handlers for carrier in self.bus.carriers):
            return Receipt.failed(TransportUnavailable("nobody listens"))
        return super().publish(channel, payload)


@noticed_by("channels_are_isolated")
class MatchesPrefixes(Carrier):
    def receive(self, channel: str, text: str) -> None:
        for name, handler in list(self.handlers.items()):
            if channel.startswith(name):
                handler(text)


@noticed_by("order_per_publisher_and_channel", "order_with_concurrent_callers")
class Overtakes(Carrier):
    """One message in a while waits a turn, as when every publish has a task of its own."""

    count = 0

    def publish(self, channel: str, payload: str) -> Receipt:
        self.count += 1
        receipt = Receipt()

        def arrive() -> None:
            self.bus.deliver(channel, payload)
            receipt.settle()

        if self.count % 7 == 3:
            self.bus.later(lambda: self.bus.later(lambda: self.bus.later(arrive)))
        else:
            self.bus.later(arrive)
        return receipt


class Untagged(Good):
    """Without numbers nobody drops what comes in the wrong order."""

    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None] | None:
        returned = super().subscribe(channel, handler)
        self._inbox._watch = Believing()
        return returned


class Believing(SequenceWatch):
    """Delivers all, and misses nothing."""

    def judge(self, channel: str, instance: str, epoch: int, seq: int, now: float) -> Verdict:
        return Verdict(True, 0)


@noticed_by("order_per_publisher_and_channel", "order_with_concurrent_callers", "many_publishers")
class OvertakesUntagged(Untagged):
    carrier = Overtakes


@noticed_by("many_publishers", "order_per_publisher_and_channel")
class LosesInSilence(Untagged):
    class carrier(Carrier):
        count = 0

        def publish(self, channel: str, payload: str) -> Receipt:
            self.count += 1
            if self.count % 100 == 50:
                return FINISHED
            return super().publish(channel, payload)


@noticed_by("publish_is_confirmed")
class ConfirmsWhatWaits(Carrier):
    """Done as soon as it is in an outbox, which a close empties."""

    def publish(self, channel: str, payload: str) -> Receipt:
        def arrive() -> None:
            if self.open:
                self.bus.deliver(channel, payload)

        self.bus.later(lambda: self.bus.later(arrive))
        return FINISHED


@noticed_by("a_burst_is_batched")
class WritesEach(Carrier):
    """Every message is a packet of its own."""

    async def start(self) -> None:
        await super().start()
        self.ends = socket.socketpair()

    async def close(self) -> None:
        if self.open:
            for end in self.ends:
                end.close()
        await super().close()

    def publish(self, channel: str, payload: str) -> Receipt:
        self.ends[0].send(b"x")
        self.ends[1].recv(1)
        return super().publish(channel, payload)


# Own messages, names, payloads


@noticed_by("own_messages_are_skipped")
class HearsItself(Good):
    def publish(self, channel: str, payload: str) -> Awaitable[None] | None:
        epoch, seq = self._sequencer.next(channel)
        return self._inner.publish(channel, wrap(f"{id(self):x}", epoch, seq, payload))


@noticed_by("two_transports_in_one_process_hear_each_other")
class SharesItsId(Good):
    async def start(self) -> None:
        await super().start()
        self._instance = "one-for-all"


@noticed_by("two_transports_in_one_process_hear_each_other")
class ClosesAll(Carrier):
    async def close(self) -> None:
        for carrier in self.bus.carriers:
            carrier.handlers.clear()
        await super().close()


@noticed_by("own_id_is_new_after_restart_of_the_instance")
class KeepsItsId(Good):
    async def start(self) -> None:
        await super().start()
        self._instance = "the-host-name"


@noticed_by("odd_room_names")
class Normalises(Good):
    def publish(self, channel: str, payload: str) -> Awaitable[None] | None:
        return super().publish(unicodedata.normalize("NFC", channel), payload)


@noticed_by("odd_room_names")
class StripsNames(Good):
    def publish(self, channel: str, payload: str) -> Awaitable[None] | None:
        return super().publish(channel.strip(), payload)


@noticed_by("odd_room_names")
class Unquotes(Good):
    """Two names that are one at the broker."""

    def publish(self, channel: str, payload: str) -> Awaitable[None] | None:
        return super().publish(channel.replace("%2E", "."), payload)


@noticed_by("a_room_named_star_is_not_a_wildcard", "odd_room_names")
class MatchesPatterns(Carrier):
    def receive(self, channel: str, text: str) -> None:
        for name, handler in list(self.handlers.items()):
            if fnmatch.fnmatchcase(channel, name) or channel == name:
                handler(text)


@noticed_by("unencodable_name")
class CannotEncode(Carrier):
    def check(self, channel: str) -> None:
        channel.encode()


@noticed_by("unencodable_name")
class DiesOfAName(Carrier):
    def check(self, channel: str) -> None:
        try:
            super().check(channel)
        except ValueError:
            self.bus.carriers.clear()
            raise


@noticed_by("name_over_the_limit")
class CutsNames(Good):
    def publish(self, channel: str, payload: str) -> Awaitable[None] | None:
        return super().publish(channel[:3000], payload)

    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None] | None:
        return super().subscribe(channel[:3000], handler)


@noticed_by("payloads")
class EndsAtNul(Good):
    def publish(self, channel: str, payload: str) -> Awaitable[None] | None:
        return super().publish(channel, payload.partition("\0")[0])


@noticed_by("oversized_payload")
class TakesAnySize(Good):
    def publish(self, channel: str, payload: str) -> Awaitable[None] | None:
        epoch, seq = self._sequencer.next(channel)
        return self._inner.publish(channel, wrap(self._instance, epoch, seq, payload))


@noticed_by("oversized_payload")
class CountsCharacters(TakesAnySize):
    def publish(self, channel: str, payload: str) -> Awaitable[None] | None:
        if len(payload) > self.max_payload:
            return Good.publish(self, channel, payload)
        return super().publish(channel, payload)


@noticed_by("foreign_payloads")
class DiesOfForeigners(Carrier):
    def receive(self, channel: str, text: str) -> None:
        if not text.startswith("1 "):
            self.handlers.clear()
        super().receive(channel, text)


@noticed_by("foreign_payloads")
class LogsEach(Good):
    def _count_foreign(self, channel: str) -> None:
        self._foreign += 1
        logging.getLogger("wsrooms").error("what is this?")


@noticed_by("foreign_payloads")
class CountsNoForeigners(Good):
    def _count_foreign(self, channel: str) -> None:
        pass


@noticed_by("forged_own_id_is_skipped")
class KnowsItsOwnByNumber(Good):
    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None] | None:
        def receive(text: str) -> None:
            handler(text.split(" ", 4)[4])

        return self._inner.subscribe(channel, receive)


# Sequences


@noticed_by("duplicate_is_dropped_and_counted", "gap_is_reported_once_with_its_size")
class Believes(Untagged):
    pass


@noticed_by("gap_is_reported_once_with_its_size")
class TellsGapsTwice(Good):
    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        def twice(gap: Gap) -> None:
            callback(gap)
            callback(gap)

        super().on_gap(twice)


@noticed_by("gap_is_reported_once_with_its_size")
class MiscountsGaps(Good):
    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        super().on_gap(lambda gap: callback(Gap(gap.room, gap.publisher, (gap.missing or 0) + 1)))


@noticed_by("late_subscriber_sees_no_gap")
class MissesWhatItDidNotWant(Good):
    def unsubscribe(self, channel: str) -> Awaitable[None] | None:
        self._handlers.pop(channel, None)
        return self._inner.unsubscribe(channel)


@noticed_by("late_subscriber_sees_no_gap")
class MissesWhatWasBefore(Good):
    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None] | None:
        seen: set[str] = set()

        def first(payload: str) -> None:
            if not seen and self._inbox.on_gap is not None:
                self._inbox.on_gap(Gap(room_of(channel), None, 500))
            seen.add(payload)
            handler(payload)

        return super().subscribe(channel, first)


@noticed_by("counter_eviction_is_no_gap")
class CountsAnewInTheSameEpoch(Good):
    def publish(self, channel: str, payload: str) -> Awaitable[None] | None:
        self._sequencer._epoch = 1
        return super().publish(channel, payload)


# Handlers


@noticed_by("handler_raises")
class DiesOfAHandler(Good):
    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None] | None:
        def guarded(payload: str) -> None:
            try:
                handler(payload)
            except Exception:
                self._handlers.pop(channel)
                raise

        return super().subscribe(channel, guarded)


@noticed_by("handler_raises")
class SaysNothingOfAHandler(Good):
    def subscribe(self, channel: str, handler: Handler) -> Awaitable[None] | None:
        def guarded(payload: str) -> None:
            try:
                handler(payload)
            except Exception:  # noqa: BLE001 - that it is swallowed is the fault
                return

        return super().subscribe(channel, guarded)


@noticed_by("handler_calls_the_transport")
class IsDeafWhileItDelivers(Carrier):
    delivering = False

    def receive(self, channel: str, text: str) -> None:
        self.delivering = True
        super().receive(channel, text)
        self.delivering = False

    def publish(self, channel: str, payload: str) -> Receipt:
        return Receipt() if self.delivering else super().publish(channel, payload)

    def subscribe(self, channel: str, handler: Handler) -> Receipt:
        return Receipt() if self.delivering else super().subscribe(channel, handler)


@noticed_by("plain_three_method_class_works")
class LosesNow(Carrier):
    def publish(self, channel: str, payload: str) -> Receipt:
        return FINISHED if "50" in payload else super().publish(channel, payload)
