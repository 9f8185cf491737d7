"""Bugs in what the transports of brokers are made of, to be found in the fleets that use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import PropertyMock, patch

from tests.simulation.mutants import MUTANTS, planted
from wsrooms.transports import BrokerTransport, Command, Outbox, Wishes
from wsrooms.transports.inbox import Inbox

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from wsrooms.transports import Outgoing

__all__ = ["MUTANTS"]


@planted(
    "what was not confirmed is written again after newer messages, and taken for a repetition",
    "our own prototype on Kafka",
)
def resent_after_later_ones() -> AbstractContextManager[object]:
    original = Outbox.lost

    def mutant(self: Outbox[Any]) -> None:
        original(self)
        self._waiting.extend(self._flying)
        self._flying.clear()

    return patch.object(Outbox, "lost", mutant)


@planted("subscriptions are not restored on a new link", "encode/broadcaster#144")
def wishes_not_restored() -> AbstractContextManager[object]:
    def mutant(self: Wishes) -> int:
        return sum(wish.confirmed for wish in self._wishes.values())

    return patch.object(Wishes, "lost", mutant)


@planted(
    "what was unsubscribed while the link was down comes back with it",
    "redis-py and nats-py, both measured",
)
def zombie_after_outage() -> AbstractContextManager[object]:
    original = Wishes.commands

    def mutant(self: Wishes, now: float) -> list[Command]:
        for wish in self._wishes.values():
            wish.handler = wish.handler or (lambda _: None)
        return original(self, now)

    return patch.object(Wishes, "commands", mutant)


@planted("the broker is never told that a channel is not wished any more", "none known")
def linger_forgotten() -> AbstractContextManager[object]:
    original = Wishes.unwant

    def mutant(self: Wishes, channel: str, now: float) -> None:
        original(self, channel, float("inf"))

    return patch.object(Wishes, "unwant", mutant)


@planted("a subscription counts as confirmed once it is sent", "nats-py, measured")
def confirmed_when_sent() -> AbstractContextManager[object]:
    original = Wishes.commands

    def mutant(self: Wishes, now: float) -> list[Command]:
        commands = original(self, now)
        for command in commands:
            for channel in command.channels:
                wish = self._wishes[channel]
                if wish.handler is not None:
                    self._tell(wish, None)
        return commands

    return patch.object(Wishes, "commands", mutant)


@planted("the loss of a link is not told", "redis-py, measured")
def link_lost_in_silence() -> AbstractContextManager[object]:
    return patch.object(Inbox, "gap", lambda self, gap: None)


@planted("a link that is lost twice before it is restored has lost nothing", "none known")
def second_loss_hides_the_first() -> AbstractContextManager[object]:
    original = BrokerTransport._on_lost

    def mutant(self: BrokerTransport, *facts: Any, **more: Any) -> None:
        self._gap_owed = False
        original(self, *facts, **more)

    return patch.object(BrokerTransport, "_on_lost", mutant)


@planted("answers to commands of a link that is gone are waited for", "none known")
def old_answers_awaited() -> AbstractContextManager[object]:
    original = Wishes.lost

    def mutant(self: Wishes) -> int:
        waits = {name: wish.unanswered for name, wish in self._wishes.items()}
        missed = original(self)
        for name, wish in self._wishes.items():
            wish.unanswered = waits[name]
        return missed

    return patch.object(Wishes, "lost", mutant)


@planted("two batches are on their way, and the first is lost", "our own prototype on Kafka")
def two_batches_on_their_way() -> AbstractContextManager[object]:
    original = Outbox.batch

    def mutant(self: Outbox[Any], now: float, **bounds: int) -> list[Outgoing[Any]]:
        batch = original(self, now, **bounds)
        if len(batch) > 1:  # the second half may overtake the first
            half = len(batch) // 2
            return batch[half:] + batch[:half]
        return batch

    return patch.object(Outbox, "batch", mutant)


@planted("what was unconfirmed when the link was lost counts as taken", "nats-py flush(), measured")
def unconfirmed_is_taken() -> AbstractContextManager[object]:
    def mutant(self: Outbox[Any]) -> None:
        while self._flying:
            self.confirm()

    return patch.object(Outbox, "lost", mutant)


@planted("messages that were given up are written all the same", "our own first draft")
def tombstone_resent() -> AbstractContextManager[object]:
    return patch.object(Outbox, "lost", lambda self: None)


@planted("messages are published before all is restored", "none known")
def published_before_restoration() -> AbstractContextManager[object]:
    return patch.object(BrokerTransport, "may_publish", PropertyMock(return_value=True))
