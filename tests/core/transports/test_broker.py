"""A transport of a broker publishes and hears, whatever becomes of its links."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import TYPE_CHECKING

import pytest

from tests.core.transports.lines import (
    LineTransport,
    error_of,
    hear,
    never,
    on_virtual_time,
    refuse,
    started,
)
from wsrooms.errors import (
    AuthenticationFailed,
    InvalidChannel,
    LimitTooLow,
    PayloadTooLarge,
    PermissionDenied,
    TransportError,
    TransportUnavailable,
)
from wsrooms.transports import Gap
from wsrooms.transports.broker import RESUME

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = "wsrooms.test"


# Publishing


@on_virtual_time
async def test_messages_of_one_turn_go_out_together_and_in_order() -> None:
    transport = await started()
    wakes = transport.publishing.wakes
    receipts = [transport.publish("c", str(number)) for number in range(50)]
    assert transport.payloads("c") == []  # at the end of the turn
    for receipt in receipts:
        await receipt
    assert transport.payloads("c") == [str(number).encode() for number in range(50)]
    assert transport.publishing.wakes == wakes + 1
    assert transport.stats()["published"] == 50
    await transport.close()


@on_virtual_time
async def test_what_cannot_be_carried_is_refused_at_once() -> None:
    transport = await started()
    assert transport.max_payload == 1000
    with pytest.raises(PayloadTooLarge):
        transport.publish("c", "é" * 501)
    for name in ("", "\ud800"):
        with pytest.raises(InvalidChannel):
            transport.publish(name, "x")
        with pytest.raises(InvalidChannel):
            transport.subscribe(name, hear)
    await transport.publish("c", "é" * 500)
    await transport.close()


@on_virtual_time
async def test_what_waits_too_long_fails_although_nothing_happens() -> None:
    transport = await started(outbox_age=3.0)
    transport.publishing.connecting = refuse
    transport.publishing.lose()
    await transport.until("down")
    receipt = transport.publish("c", "x")
    assert isinstance(await error_of(receipt), TransportUnavailable)
    assert 3.0 <= asyncio.get_running_loop().time() < 4.0
    assert transport.stats()["publish_failed"] == 1
    await transport.close()


# Outages


@on_virtual_time
async def test_a_lost_link_is_connected_again_and_every_wish_restored() -> None:
    transport = await started()
    await transport.subscribe("c", hear)
    transport.hearing.lose("cut")
    await transport.until("down")
    assert transport.states[-1] == ("down", "cut")
    assert transport.hearing.closes == 1
    late = transport.subscribe("late", hear)
    transport.unsubscribe("c")
    await transport.until("up")
    await late
    assert transport.hearing.subscribed == {"late", transport.exchange.probe_channel}
    assert transport.stats()["reconnects"] == 1
    assert transport.told == ["up", "down", "up", "gap"]
    await transport.close()


def test_each_kind_of_refusal_is_logged_once_in_an_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused: list[TransportError] = [
        TransportUnavailable("nobody is there"),
        AuthenticationFailed("wrong password"),
        LimitTooLow("there", "max_payload", 10, 100),
    ]

    @on_virtual_time
    async def in_two_outages() -> None:
        transport = await started()
        for _ in range(2):
            answers = itertools.cycle(refused)
            tries = 0

            async def refuse_again(answers: Iterator[TransportError] = answers) -> None:
                nonlocal tries
                tries += 1
                if tries <= 9:
                    raise next(answers)

            transport.publishing.connecting = refuse_again
            transport.publishing.lose()
            await transport.until("down")
            await transport.until("up")
            assert tries == 10
        await transport.close()

    with caplog.at_level(logging.WARNING):
        in_two_outages()
    again = [record.getMessage() for record in caplog.records if "still" in record.getMessage()]
    each = [str(error) for error in refused[1:]]
    assert [told.partition(" is still down: ")[2] for told in again] == 2 * each


@on_virtual_time
async def test_the_gap_of_a_lost_link_is_told_once_and_after_all_is_restored() -> None:
    transport = await started()
    await transport.subscribe("c", hear)
    transport.answers = False
    for connection in range(2):
        transport.hearing.lose()
        await transport.until("down")
        await transport.hearing.connected.wait()
        await asyncio.sleep(2 + connection)
        assert transport.gaps == []
    transport.answers = True
    for command in transport.hearing.commands[-1:]:
        transport.hearing.answer(command)
    await transport.until("up")
    assert transport.told == ["up", "down", "up", "gap"]
    assert transport.gaps == [Gap(None, None, None)]
    assert transport.stats()["gaps"] == 1
    await transport.close()


@on_virtual_time
async def test_without_a_subscription_nothing_was_missed() -> None:
    transport = await started()
    transport.hearing.lose()
    await transport.until("down")
    await transport.until("up")
    assert transport.gaps == []
    await transport.close()


@on_virtual_time
async def test_a_lost_publishing_link_misses_nothing() -> None:
    transport = await started()
    await transport.subscribe("c", hear)
    transport.publishing.lose()
    await transport.until("down")
    await transport.until("up")
    assert transport.gaps == []
    assert transport.hearing.connects == 1
    await transport.close()


@on_virtual_time
async def test_a_broker_that_keeps_a_log_leaves_no_gap_and_is_published_to_at_once() -> None:
    transport = await started()
    transport.keeps_log = True
    await transport.subscribe("c", hear)
    transport.hearing.lose()
    await transport.until("down")
    await transport.until("up")
    assert transport.gaps == []
    assert transport.may_publish
    await transport.close()


@on_virtual_time
async def test_nothing_is_published_before_all_is_restored_nor_for_a_while_after() -> None:
    transport = await started()
    await transport.subscribe("c", hear)
    transport.answers = False
    transport.hearing.lose()
    await transport.until("down")
    receipt = transport.publish("c", "x")
    await transport.hearing.connected.wait()
    await asyncio.sleep(1)
    assert transport.payloads("c") == []
    transport.hearing.answer(transport.hearing.commands[-1])
    await transport.until("up")
    up = asyncio.get_running_loop().time()
    await receipt
    assert up + RESUME <= asyncio.get_running_loop().time() <= up + RESUME + 1
    await transport.close()


@on_virtual_time
async def test_what_was_not_confirmed_is_written_again_before_what_was_published_since() -> None:
    transport = await started()
    transport.confirms = False
    first = transport.publish("c", "a")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = transport.publish("c", "b")
    assert transport.payloads("c") == [b"a"]
    transport.publishing.lose()
    await transport.until("down")
    transport.confirms = True
    await first
    await transport.until("up")
    transport.publishing.wake()
    await second
    assert transport.payloads("c") == [b"a", b"a", b"b"]
    assert transport.stats()["resent"] == 1
    await transport.close()


@on_virtual_time
async def test_what_was_not_confirmed_is_written_again_soon_although_nothing_else_waits() -> None:
    transport = await started()
    await transport.subscribe("c", hear)
    transport.confirms = False
    receipt = transport.publish("c", "1")
    await asyncio.sleep(0.1)
    assert transport.payloads("c") == [b"1"]
    transport.confirms = True
    transport.hearing.lose()
    transport.publishing.lose()
    await transport.until("down")
    await transport.until("up")
    up = asyncio.get_running_loop().time()
    await receipt
    assert up + RESUME <= asyncio.get_running_loop().time() <= up + RESUME + 1
    assert transport.stats()["resent"] == 1
    await transport.close()


@on_virtual_time
async def test_what_was_given_up_leaves_the_outbox_with_its_link() -> None:
    transport = await started(outbox_age=1.0)
    transport.confirms = False
    receipt = transport.publish("c", "x")
    await asyncio.sleep(2)
    assert receipt.done
    assert transport.stats()["outbox"] == 1
    transport.publishing.connecting = refuse
    transport.publishing.lose()
    await transport.until("down")
    assert transport.stats()["outbox"] == 0
    await transport.close()


@on_virtual_time
async def test_while_the_broker_is_away_it_is_tried_about_every_second_and_says_why() -> None:
    transport = await started()
    transport.hearing.connecting = refuse
    transport.hearing.lose("cut")
    await asyncio.sleep(60)
    assert 60 < transport.hearing.connects < 240
    assert transport.states == [("up", None), ("down", "cut"), ("down", "nobody is there")]
    transport.hearing.connecting = None
    await transport.until("up")
    await transport.close()


@on_virtual_time
async def test_a_link_that_makes_a_mistake_is_connected_again() -> None:
    transport = await started()

    async def fail() -> None:
        transport.hearing.connecting = None
        raise ZeroDivisionError

    transport.hearing.connecting = fail
    transport.hearing.lose()
    await transport.until("down")
    await transport.until("up")
    assert transport.hearing.connects == 3
    await transport.close()


@pytest.mark.parametrize("when", ["connecting", "closing"])
def test_a_link_that_its_own_library_cancels_is_connected_again(
    when: str, caplog: pytest.LogCaptureFixture
) -> None:
    @on_virtual_time
    async def cancelled() -> None:
        transport = await started()

        async def cancel() -> None:
            setattr(transport.hearing, when, None)
            raise asyncio.CancelledError

        setattr(transport.hearing, when, cancel)
        transport.hearing.lose()
        await transport.until("down")
        await transport.until("up")
        await transport.close()

    cancelled()
    assert "failed" in caplog.text


def test_a_link_that_fails_to_close_is_connected_again(caplog: pytest.LogCaptureFixture) -> None:
    @on_virtual_time
    async def failing() -> None:
        transport = await started()

        async def fail() -> None:
            transport.hearing.closing = None
            raise ZeroDivisionError

        transport.hearing.closing = fail
        transport.hearing.lose()
        await transport.until("down")
        await transport.until("up")
        await transport.close()

    failing()
    assert "failed to close" in caplog.text


def test_a_link_whose_close_hangs_does_not_hold_up_the_next_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @on_virtual_time
    async def hanging() -> None:
        transport = await started(close_timeout=4.0)
        transport.hearing.closing = never
        transport.hearing.lose()
        await transport.until("down")
        assert asyncio.get_running_loop().time() == 1.0
        transport.hearing.closing = None
        await transport.until("up")
        await transport.close()

    hanging()
    assert "did not close within 1 s" in caplog.text


# The probe


@on_virtual_time
async def test_a_broker_that_takes_messages_and_brings_none_back_is_deaf() -> None:
    transport = await started()
    await transport.subscribe("c", hear)
    transport.echoes = False
    await transport.until("deaf")
    assert 10 <= asyncio.get_running_loop().time() <= 12
    assert transport.states[-1][1] == (
        "nowhere took a message and did not bring it back within 5 s"
    )
    await asyncio.sleep(4)
    assert transport.hearing.connected.is_set()
    assert transport.state == "deaf"  # until an own message has come back
    transport.echoes = True
    await transport.until("up")
    assert transport.told == ["up", "deaf", "up", "gap"]
    assert transport.stats()["probes_lost"] == 2  # nor did the one on the new links
    assert (transport.hearing.connects, transport.publishing.connects) == (3, 3)
    await transport.close()


@on_virtual_time
async def test_deaf_is_told_until_the_next_try_to_connect_fails() -> None:
    transport = await started()
    transport.echoes = False
    await transport.until("deaf")
    transport.hearing.connecting = refuse
    await transport.until("down")
    assert transport.states[-1] == ("down", "nobody is there")
    await transport.close()


@on_virtual_time
async def test_a_broker_that_brings_own_messages_back_stays_up() -> None:
    transport = await started()
    await asyncio.sleep(600)
    assert transport.told == ["up"]
    assert transport.exchange.probes > 100
    await transport.close()


@on_virtual_time
async def test_a_permission_for_the_probe_that_is_lost_and_given_back() -> None:
    transport = await started()
    await transport.subscribe("c", hear)
    transport.denied = lambda channel: (
        PermissionDenied(channel, "no probes") if channel.startswith("ws:probe:") else None
    )
    transport.hearing.lose()
    await transport.until("down")
    await asyncio.sleep(10)
    assert transport.states[-1] == ("down", "no probes")
    assert "c" in transport.hearing.subscribed
    transport.denied = lambda channel: None
    await transport.until("up")
    assert transport.told[-2:] == ["up", "gap"]
    await transport.close()


# Callbacks that fail


def test_callbacks_that_raise_are_logged_and_stop_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @on_virtual_time
    async def raising() -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError

        transport = LineTransport()
        transport.on_state(fail)
        transport.on_gap(fail)
        await transport.start()
        await transport.subscribe("c", fail)
        transport.exchange.received("c", b"1 other 1 1 x", 0)
        transport.hearing.lose()
        await asyncio.sleep(5)
        assert transport.state == "up"
        assert transport.stats()["handler_errors"] == 2  # the handler, and the gap's
        await transport.close()

    with caplog.at_level(logging.ERROR):
        raising()
    messages = " ".join(caplog.messages)
    assert "a handler of c failed" in messages
    assert "a gap callback failed" in messages
    assert "a state callback of <LineTransport nowhere> failed" in messages


def test_a_link_that_fails_at_its_tick_is_logged_and_looked_after_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @on_virtual_time
    async def failing() -> None:
        transport = await started()
        ticks = 0

        def tick(now: float, late: float) -> None:
            nonlocal ticks
            ticks += 1
            raise ZeroDivisionError

        transport.hearing.tick = tick  # type: ignore[method-assign]  # a mistake of the link
        await asyncio.sleep(5)
        assert ticks > 5
        await transport.close()

    failing()
    assert "the watch of <LineTransport nowhere> failed" in caplog.text


# Late looks


@pytest.mark.may_block(reason="a loop that was busy is what it is about")
async def test_a_loop_that_was_busy_says_by_how_much_a_look_is_late() -> None:
    transport = LineTransport(ping_interval=0.2)
    await transport.start()
    began = time.monotonic()
    await transport.hearing.ticked.wait()
    seen = len(transport.hearing.ticks)
    time.sleep(0.3)  # noqa: ASYNC251 - a handler that blocks
    await transport.hearing.ticked.wait()
    assert 0.2 <= transport.hearing.ticks[seen] <= time.monotonic() - began
    await transport.close()
