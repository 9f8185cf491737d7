"""Own messages that have to come back, on a clock that the test turns."""

from __future__ import annotations

import logging

import pytest

from wsrooms.errors import TransportUnavailable
from wsrooms.transports import BrokerOptions, Exchange
from wsrooms.transports.probe import Probing

INTERVAL = 5.0


class Broker:
    """An exchange with what a broker would do to it."""

    def __init__(self) -> None:
        self.exchange = Exchange(
            BrokerOptions(), max_payload=1000, logger=logging.getLogger("wsrooms")
        )
        self.exchange.begin("0123456789abcdef")
        self.written: list[bytes] = []

    def take(self) -> None:
        """Take what waits, and confirm it."""
        for message in self.exchange.outbox.batch(0.0, messages=10, size=1000):
            self.written.append(message.payload)
            self.exchange.outbox.confirm()

    def refuse(self) -> None:
        for _ in self.exchange.outbox.batch(0.0, messages=10, size=1000):
            self.exchange.outbox.fail(TransportUnavailable("no"))

    def bring(self) -> None:
        """Bring back what was taken."""
        for payload in self.written:
            self.exchange.received(self.exchange.probe_channel, payload, 0.0)
        self.written.clear()


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def probing(broker: Broker) -> Probing:
    return Probing(broker.exchange, INTERVAL)


def test_a_probe_is_sent_in_each_interval_that_brings_the_last_one_back(
    broker: Broker, probing: Probing
) -> None:
    sent = []
    for second in range(21):
        if probing.look(float(second), 0.0) == "sent":
            sent.append(second)
            broker.take()
            broker.bring()
    assert sent == [5, 10, 15, 20]


def test_one_that_was_taken_and_does_not_come_back_in_an_interval_is_lost(
    broker: Broker, probing: Probing
) -> None:
    assert probing.look(0.0, 0.0) is None
    assert probing.look(5.0, 0.0) == "sent"
    broker.take()
    assert probing.look(6.0, 0.0) is None  # from when it is known to be taken
    assert probing.look(10.9, 0.0) is None
    assert probing.look(11.0, 0.0) == "lost"


def test_one_that_is_not_taken_is_not_judged(broker: Broker, probing: Probing) -> None:
    probing.look(0.0, 0.0)
    assert probing.look(5.0, 0.0) == "sent"
    assert probing.look(100.0, 0.0) is None
    broker.refuse()
    assert probing.look(101.0, 0.0) is None
    assert not probing.owed


def test_what_a_busy_loop_is_late_is_not_the_brokers(broker: Broker, probing: Probing) -> None:
    probing.look(0.0, 0.0)
    assert probing.look(5.0, 0.0) == "sent"
    broker.take()
    assert probing.look(6.0, 0.0) is None
    assert probing.look(15.0, 4.5) is None
    assert probing.look(15.6, 0.0) == "lost"


def test_after_a_lost_one_the_next_is_sent_at_once_and_is_owed_until_it_is_back(
    broker: Broker, probing: Probing
) -> None:
    probing.look(0.0, 0.0)
    probing.look(5.0, 0.0)
    broker.take()
    probing.look(5.0, 0.0)
    assert probing.look(10.0, 0.0) == "lost"
    owed: list[bool] = [probing.owed]
    probing.stop()  # and a new connection
    assert probing.look(20.0, 0.0) == "sent"
    broker.take()
    broker.bring()
    assert probing.look(20.5, 0.0) == "back"
    assert [*owed, probing.owed] == [True, False]
    assert probing.look(24.0, 0.0) is None
    assert probing.look(25.0, 0.0) == "sent"


def test_what_was_sent_on_a_lost_connection_is_not_judged(broker: Broker, probing: Probing) -> None:
    probing.look(0.0, 0.0)
    probing.look(5.0, 0.0)
    broker.take()
    probing.stop()
    assert probing.look(50.0, 0.0) is None
    assert not probing.owed
