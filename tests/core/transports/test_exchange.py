"""What goes out is numbered and bounded; what comes in is heard once, or counted."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from wsrooms.errors import (
    InvalidChannel,
    OutboxFull,
    PayloadTooLarge,
    PermissionDenied,
    TransportClosed,
)
from wsrooms.transports import BrokerOptions, Exchange, Gap

LOGGER = logging.getLogger("wsrooms.test")
ROOM = "ws:room:r"


class Peer:
    """An exchange, and all that it tells."""

    def __init__(self, instance: str = "a" * 16, *, max_payload: int = 100, **options: Any) -> None:
        self.exchange = Exchange(BrokerOptions(**options), max_payload=max_payload, logger=LOGGER)
        self.exchange.begin(instance)
        self.exchange.on_gap = self._on_gap
        self.told: list[str | Gap] = []

    def _on_gap(self, gap: Gap) -> None:
        self.told.append(gap)

    def hear(self, *channels: str) -> None:
        for channel in channels:
            self.exchange.subscribe(channel, self.told.append)

    def sent(self) -> list[tuple[str, bytes]]:
        """What it has to publish now."""
        outbox = self.exchange.outbox
        batch = outbox.batch(0, messages=10_000, size=10_000_000)
        for _ in batch:
            outbox.confirm()
        return [(message.channel, message.payload) for message in batch]

    def receives(self, *messages: bytes, channel: str = ROOM, now: float = 0) -> None:
        for data in messages:
            self.exchange.received(channel, data, now)


# Out


def test_a_message_goes_out_in_its_envelope_numbered_by_channel() -> None:
    peer = Peer("0123456789abcdef")
    for channel, payload in (("a", "é"), ("a", ""), ("b", '{"x": 1}')):
        peer.exchange.publish(channel, payload, 0)
    assert peer.sent() == [
        ("a", "1 0123456789abcdef 1 1 é".encode()),
        ("a", b"1 0123456789abcdef 1 2 "),
        ("b", b'1 0123456789abcdef 1 1 {"x": 1}'),
    ]


@pytest.mark.parametrize("channel", ["", "\ud800", "a\udfffb"])
def test_a_name_that_no_broker_could_carry_is_refused_and_takes_no_number(channel: str) -> None:
    peer = Peer()
    with pytest.raises(InvalidChannel) as caught:
        peer.exchange.publish(channel, "x", 0)
    assert caught.value.channel == channel
    with pytest.raises(InvalidChannel):
        peer.exchange.subscribe(channel, print)
    assert len(peer.exchange.wishes) == 0


@pytest.mark.parametrize("channel", [" ", "é", "\0", "a" * 5000, "🎉", "\r\n", "*"])
def test_every_other_name_is_carried(channel: str) -> None:
    peer = Peer()
    peer.exchange.publish(channel, "x", 0)
    assert [name for name, _ in peer.sent()] == [channel]


def test_a_payload_over_the_limit_is_refused_and_takes_no_number() -> None:
    peer = Peer(max_payload=10)
    peer.exchange.publish("a", "é" * 5, 0)
    with pytest.raises(PayloadTooLarge) as caught:
        peer.exchange.publish("a", "é" * 5 + "x", 0)
    assert (caught.value.size, caught.value.limit) == (11, 10)
    with pytest.raises(UnicodeEncodeError):
        peer.exchange.publish("a", "\ud800", 0)
    peer.exchange.publish("a", "", 0)
    assert [data.split()[3] for _, data in peer.sent()] == [b"1", b"2"]


def test_what_a_full_outbox_refuses_takes_its_number_so_that_others_see_the_gap() -> None:
    peer = Peer(outbox_messages=1)
    first = peer.exchange.publish("a", "x", 0)
    refused = peer.exchange.publish("a", "y", 0)
    assert isinstance(refused.error, OutboxFull)
    assert refused.error.__traceback__ is None  # or its frames would keep the receipt
    assert not first.done
    peer.sent()
    peer.exchange.publish("a", "z", 0)
    assert [data.split()[3] for _, data in peer.sent()] == [b"3"]


# In


def test_what_another_instance_published_is_heard() -> None:
    one, other = Peer("1" * 16), Peer("2" * 16)
    other.hear(ROOM)
    for payload in ("a", "", "é\n\0", '{"x": 1}'):
        one.exchange.publish(ROOM, payload, 0)
    for channel, data in one.sent():
        other.receives(data, channel=channel)
    assert other.told == ["a", "", "é\n\0", '{"x": 1}']
    assert other.exchange.stats()["received"] == 4


def test_own_messages_are_skipped_also_forged_ones_and_on_channels_that_nobody_hears() -> None:
    peer = Peer("a" * 16)
    peer.hear(ROOM)
    own = b"1 " + b"a" * 16
    peer.receives(own + b" 1 1 x", own + b" rubbish")
    peer.receives(own + b" 1 1 x", channel="unheard")
    assert peer.told == []
    stats = peer.exchange.stats()
    assert (stats["own_skipped"], stats["foreign"], stats["received"]) == (3, 0, 0)
    assert peer.exchange.probes == 0


def test_an_id_that_begins_like_the_own_one_is_another() -> None:
    peer = Peer("a" * 16)
    peer.hear(ROOM)
    peer.receives(b"1 " + b"a" * 17 + b" 1 1 x")
    assert peer.told == ["x"]


def test_own_messages_on_the_channel_of_the_probe_are_counted() -> None:
    peer = Peer("a" * 16)
    assert peer.exchange.probe_channel == "ws:probe:" + "a" * 16
    peer.receives(b"1 " + b"a" * 16 + b" 1 1 ", channel=peer.exchange.probe_channel)
    assert peer.exchange.probes == 1


def test_what_comes_for_a_channel_that_is_not_wished_is_not_looked_at() -> None:
    peer = Peer()
    peer.hear(ROOM)
    peer.exchange.unsubscribe(ROOM, 0)
    peer.receives(b"1 b 1 1 x", b"rubbish")
    assert peer.told == []
    assert peer.exchange.stats()["foreign"] == 0


def test_duplicates_are_dropped_and_counted_and_gaps_told_with_their_room() -> None:
    peer = Peer()
    peer.hear(ROOM, "ws:server")
    peer.receives(b"1 b 1 5 e", b"1 b 1 5 e", b"1 b 1 3 c", b"1 b 1 8 h", b"1 b 2 3 i")
    peer.receives(b"1 b 1 1 x", b"1 b 1 3 y", channel="ws:server")
    assert peer.told == [
        "e",
        Gap("r", "b", 2),
        "h",
        Gap("r", "b", 2),
        "i",
        "x",
        Gap(None, "b", 1),
        "y",
    ]
    stats = peer.exchange.stats()
    assert (stats["duplicates"], stats["gaps"], stats["missing"]) == (2, 3, 5)


def test_what_passed_while_a_channel_was_not_wished_is_no_gap() -> None:
    peer = Peer()
    peer.hear(ROOM)
    peer.receives(b"1 b 1 1 a")
    peer.exchange.unsubscribe(ROOM, 1)
    peer.receives(b"1 b 1 2 b", now=1)
    peer.hear(ROOM)
    peer.receives(b"1 b 1 1 a", b"1 b 1 4 d", now=2)
    assert peer.told == ["a", "d"]
    assert peer.exchange.stats()["duplicates"] == 1


def test_what_passed_before_it_began_anew_is_no_gap() -> None:
    peer = Peer("1" * 16)
    peer.hear(ROOM)
    peer.receives(b"1 b 1 1 a")
    peer.exchange.fail_all(TransportClosed("over"))
    peer.exchange.begin("2" * 16)
    peer.hear(ROOM)
    peer.receives(b"1 b 1 9 i")
    assert peer.told == ["a", "i"]
    peer.receives(b"1 " + b"1" * 16 + b" 1 1 late message of the old one")
    assert peer.told[-1] == "late message of the old one"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"1 b 1 1 \xff",
        b'{"event": "x"}',
        b"1 b 1 1",
        b"2 b 1 1 x",
        b"1 b 1 -1 x",
        b"1 b 1 0 x",
        b"1 b 1 1000000000000000000000000000000 x",
        b"1 b 1 1 " + b"x" * 200,
    ],
)
def test_what_is_no_message_is_dropped_counted_and_logged_once_a_minute(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    peer = Peer()
    peer.hear(ROOM)
    peer.receives(data, data, b"1 b 1 1 x")
    assert peer.told == ["x"]
    assert peer.exchange.stats()["foreign"] == 2
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(
        f"dropped what is no message of wsrooms on {ROOM} ({len(data)} bytes); 1 so far"
    )


def test_the_largest_payload_with_the_largest_numbers_is_no_foreign_one() -> None:
    peer = Peer(max_payload=100)
    peer.hear(ROOM)
    most = 2**63 - 1
    peer.receives(f"1 {'b' * 16} {most} {most} ".encode() + b"x" * 100)
    assert peer.told == ["x" * 100]


def test_a_handler_that_raises_is_logged_and_counted_and_the_next_message_heard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = Peer()
    heard: list[str] = []

    def handler(payload: str) -> None:
        heard.append(payload)
        if payload == "a":
            raise ZeroDivisionError

    peer.exchange.subscribe(ROOM, handler)
    peer.receives(b"1 b 1 1 a", b"1 b 1 2 b")
    assert heard == ["a", "b"]
    assert caplog.messages == [f"a handler of {ROOM} failed"]
    stats = peer.exchange.stats()
    assert (stats["handler_errors"], stats["received"]) == (1, 2)


def test_a_handler_may_subscribe_unsubscribe_and_publish() -> None:
    peer = Peer()

    def handler(payload: str) -> None:
        peer.exchange.unsubscribe(ROOM, 0)
        peer.hear("other")
        peer.exchange.publish("other", payload, 0)

    peer.exchange.subscribe(ROOM, handler)
    peer.receives(b"1 b 1 1 a", b"1 b 1 2 b")
    assert list(peer.exchange.wishes) == ["other"]
    assert len(peer.sent()) == 1


def test_a_gap_is_told_to_whoever_wants_to_know_and_counted_in_any_case(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = Peer()
    gap = Gap(None, None, None)
    peer.exchange.gap(gap)
    peer.exchange.on_gap = None
    peer.exchange.gap(gap)

    def fail(_: Gap) -> None:
        raise ZeroDivisionError

    peer.exchange.on_gap = fail
    peer.exchange.gap(gap)
    assert peer.told == [gap]
    stats = peer.exchange.stats()
    assert (stats["gaps"], stats["missing"], stats["handler_errors"]) == (3, 0, 1)
    assert caplog.messages == ["a gap callback failed"]


# Refusals and the end


def test_a_refused_subscription_is_told_to_who_waits_and_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = Peer()
    receipt = peer.exchange.subscribe(ROOM, print)
    peer.exchange.wishes.commands(0)
    error = PermissionDenied(ROOM, "denied by the broker")
    peer.exchange.subscribe_refused(ROOM, error)
    assert receipt.error is error
    assert caplog.messages == ["denied by the broker"]
    assert len(peer.exchange.wishes) == 0


def test_a_refused_publish_fails_its_receipt_and_is_logged_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = Peer()
    receipt = peer.exchange.publish(ROOM, "x", 0)
    peer.exchange.outbox.batch(0, messages=1, size=100)
    error = PermissionDenied(ROOM, "denied by the broker")
    peer.exchange.publish_refused(error)
    assert receipt.error is error
    assert caplog.messages == ["denied by the broker"]
    assert peer.exchange.stats()["publish_failed"] == 1


def test_at_the_end_all_who_wait_are_told_in_both_directions() -> None:
    peer = Peer()
    waiting = [peer.exchange.publish(ROOM, "x", 0), peer.exchange.subscribe(ROOM, print)]
    closed = TransportClosed("over")
    peer.exchange.fail_all(closed)
    assert [each.error for each in waiting] == [closed, closed]


def test_it_counts_what_waits() -> None:
    peer = Peer()
    peer.hear(ROOM, "other")
    peer.exchange.publish(ROOM, "abc", 0)
    stats = peer.exchange.stats()
    assert (stats["subscriptions"], stats["outbox"]) == (2, 1)
    assert stats["outbox_bytes"] == len(b"1 " + b"a" * 16 + b" 1 1 abc")
    peer.sent()
    peer.exchange.outbox.lost()
    stats = peer.exchange.stats()
    assert (stats["published"], stats["resent"], stats["outbox"]) == (1, 0, 0)


# A broker that keeps the parts of the envelope apart


def parts(instance: str = "b" * 16, epoch: int = 1, seq: int = 1) -> list[bytes]:
    return [b"1", instance.encode(), b"%d" % epoch, b"%d" % seq]


def test_parts_of_an_envelope_are_judged_as_the_whole_is() -> None:
    peer = Peer()
    peer.hear(ROOM)
    for seq, payload in ((1, "a"), (2, "é"), (2, "é"), (4, "")):
        peer.exchange.arrived(ROOM, parts(seq=seq), payload.encode(), 0)
    assert peer.told == ["a", "é", Gap("r", "b" * 16, 1), ""]
    assert peer.exchange.stats()["duplicates"] == 1


def test_own_parts_are_skipped_and_those_of_the_probe_counted() -> None:
    peer = Peer()
    peer.hear(ROOM, peer.exchange.probe_channel)
    peer.exchange.arrived(ROOM, parts("a" * 16), b"\xff", 0)
    assert (peer.told, peer.exchange.probes) == ([], 0)
    peer.exchange.arrived(peer.exchange.probe_channel, parts("a" * 16), b"", 0)
    assert (peer.told, peer.exchange.probes) == ([], 1)
    assert peer.exchange.stats()["own_skipped"] == 2


@pytest.mark.parametrize(
    ("head", "data"),
    [
        (None, b"x"),
        (parts(), b"\xff"),
        (parts(), b"x" * 101),
        (parts(seq=0), b"x"),
        (parts("b c"), b"x"),
        ([b"2", *parts()[1:]], b"x"),
        ([*parts()[:3], b"1 x"], b"x"),
        ([*parts()[:3], b""], b"x"),
        ([*parts()[:3], b"\xff"], b"x"),
    ],
)
def test_parts_that_make_no_envelope_are_foreign(head: list[bytes] | None, data: bytes) -> None:
    peer = Peer()
    peer.hear(ROOM)
    peer.exchange.arrived(ROOM, head, data, 0)
    assert (peer.told, peer.exchange.stats()["foreign"]) == ([], 1)
    peer.exchange.arrived(ROOM, parts(), b"x", 0)
    assert peer.told == ["x"]


def test_parts_for_a_channel_that_nobody_hears_are_nothing() -> None:
    peer = Peer()
    peer.exchange.arrived(ROOM, None, b"x", 0)
    assert peer.exchange.stats()["foreign"] == 0


def test_what_is_refused_among_many_outcomes_is_logged_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = Peer()
    receipts = [peer.exchange.publish(ROOM, each, 0) for each in "abc"]
    messages = peer.exchange.outbox.batch(0, messages=10, size=100)
    denied = PermissionDenied(ROOM, "the broker says no")
    with caplog.at_level(logging.WARNING):
        peer.exchange.settled({messages[0]: None, messages[1]: denied})
    assert [receipt.error for receipt in receipts] == [None, denied, None]
    assert [receipt.done for receipt in receipts] == [True, True, False]
    assert [record.message for record in caplog.records] == ["the broker says no"]
