"""A probe is sent in each interval, and judged when the broker has had one to bring it back."""

from __future__ import annotations

import logging
from typing import Literal

import pytest

from wsrooms.errors import PermissionDenied
from wsrooms.transports import BrokerOptions, Exchange
from wsrooms.transports.probe import Probing

Said = Literal["sent", "lost", "back"] | None


class Prober:
    """A probing, and the broker that it probes."""

    def __init__(self, interval: float = 5.0) -> None:
        options = BrokerOptions(outbox_messages=1)
        self.exchange = Exchange(options, max_payload=10, logger=logging.getLogger("wsrooms.test"))
        self.exchange.begin("a" * 16)
        self.probing = Probing(self.exchange, interval)

    def look(self, now: float, late: float = 0.0) -> Said:
        return self.probing.look(now, late)

    def take(self, *, bring_back: bool = True) -> None:
        """The broker takes what is to be published."""
        outbox = self.exchange.outbox
        for message in outbox.batch(0, messages=10, size=1000):
            outbox.confirm()
            if bring_back:
                self.exchange.received(message.channel, message.payload, 0)


@pytest.fixture
def prober() -> Prober:
    """Give a probing that has begun at 0 with an interval of 5."""
    prober = Prober()
    assert prober.look(0) is None
    return prober


def test_the_first_probe_is_sent_after_an_interval(prober: Prober) -> None:
    assert prober.look(4.9) is None
    assert prober.look(5) == "sent"
    (message,) = prober.exchange.outbox.batch(0, messages=10, size=1000)
    assert message.channel == prober.exchange.probe_channel
    assert message.payload == b"1 " + b"a" * 16 + b" 1 1 "


def test_what_comes_back_is_followed_by_the_next_in_its_time(prober: Prober) -> None:
    assert prober.look(5) == "sent"
    prober.take()
    assert prober.look(6) is None
    assert prober.look(9.9) is None
    assert prober.look(10) == "sent"


def test_what_was_taken_and_does_not_come_back_within_an_interval_is_lost(prober: Prober) -> None:
    prober.look(5)
    prober.take(bring_back=False)
    assert [prober.look(now) for now in (6, 8, 10.9)] == [None, None, None]
    assert prober.look(11) == "lost"
    assert prober.probing.owed


def test_what_was_not_taken_yet_is_not_judged(prober: Prober) -> None:
    prober.look(5)
    assert [prober.look(now) for now in (10, 20, 100)] == [None, None, None]
    prober.take(bring_back=False)
    assert prober.look(101) is None  # since when it is known to be taken
    assert prober.look(106) == "lost"


def test_what_the_broker_refuses_or_the_outbox_is_too_full_for_is_tried_again(
    prober: Prober,
) -> None:
    prober.look(5)
    prober.exchange.outbox.batch(0, messages=10, size=1000)
    prober.exchange.outbox.fail(PermissionDenied("c", "no"))
    assert prober.look(6) is None
    assert prober.look(7) is None
    prober.exchange.publish("c", "fills it", 0)
    assert prober.look(12) == "sent"
    assert prober.look(13) is None
    prober.take()
    assert prober.look(14) is None
    assert prober.look(19) == "sent"


def test_after_a_loss_a_probe_is_sent_at_once_and_its_return_told_once(prober: Prober) -> None:
    prober.look(5)
    prober.take(bring_back=False)
    prober.look(6)
    assert prober.look(11) == "lost"
    assert prober.look(11.5) == "sent"
    prober.take()
    assert prober.look(12) == "back"
    assert not prober.probing.owed
    assert prober.look(12.5) is None


def test_what_was_sent_before_a_stop_is_not_judged(prober: Prober) -> None:
    prober.look(5)
    prober.take(bring_back=False)
    prober.look(6)
    prober.probing.stop()
    assert prober.look(20) is None
    assert prober.look(25) == "sent"


def test_late_looks_are_not_held_against_the_broker(prober: Prober) -> None:
    prober.look(5)
    prober.take(bring_back=False)
    prober.look(6)
    assert prober.look(106, 99) is None
    assert prober.look(110) == "lost"


def test_late_looks_do_not_bring_the_next_probe_forward(prober: Prober) -> None:
    assert prober.look(8, 4) is None
    assert prober.look(9) == "sent"
