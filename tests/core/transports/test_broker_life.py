"""A transport of a broker starts, closes and starts again, in any state and within its time."""

from __future__ import annotations

import asyncio
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
    PermissionDenied,
    TransportClosed,
    TransportError,
    TransportUnavailable,
)
from wsrooms.transports import checked

if TYPE_CHECKING:
    from wsrooms.transports import TransportState

    pass

LOGGER = "wsrooms.test"


# Starting


@on_virtual_time
async def test_after_start_it_is_up_and_both_links_work() -> None:
    transport = LineTransport()
    before: TransportState = transport.state
    await transport.start()
    assert (before, transport.state) == ("closed", "up")
    assert transport.states == [("up", None)]
    assert transport.hearing.subscribed == {transport.exchange.probe_channel}
    assert transport.stats()["subscriptions"] == 0  # the probe's is its own affair
    assert transport.stats()["reconnects"] == 0
    await transport.close()


@on_virtual_time
async def test_links_connect_one_after_the_other() -> None:
    transport = LineTransport()

    def prepare(_: LineTransport) -> None:
        transport.hearing.connecting = refuse

    transport.prepare = prepare
    with pytest.raises(TransportUnavailable, match="nobody is there"):
        await transport.start()
    assert (transport.hearing.connects, transport.publishing.connects) == (1, 0)


@on_virtual_time
async def test_it_is_not_started_before_the_broker_has_confirmed_the_probe() -> None:
    transport = LineTransport()
    transport.answers = False
    task = asyncio.ensure_future(transport.start())
    await asyncio.sleep(1)
    assert not task.done()
    assert transport.state == "starting"
    transport.hearing.answer(transport.hearing.commands[0])
    await task
    await transport.close()


@pytest.mark.parametrize(
    "error", [TransportUnavailable("x"), AuthenticationFailed("wrong password")]
)
def test_a_link_that_fails_to_connect_is_the_error_of_start(error: TransportError) -> None:
    @on_virtual_time
    async def failing() -> None:
        async def fail() -> None:
            raise error

        transport = LineTransport()
        transport.prepare = lambda t: setattr(t.publishing, "connecting", fail)
        with pytest.raises(type(error)) as caught:
            await transport.start()
        assert caught.value is error
        assert transport.state == "closed"
        assert transport.states == []  # who starts it knows by the error
        assert (transport.hearing.closes, transport.publishing.closes) == (1, 1)
        with pytest.raises(TransportClosed, match="has not been started"):
            transport.publish("c", "x")

    failing()


@on_virtual_time
async def test_a_mistake_of_a_link_is_logged_and_is_the_error_of_start() -> None:
    async def fail() -> None:
        raise ZeroDivisionError("oh")

    transport = LineTransport()
    transport.prepare = lambda t: setattr(t.hearing, "connecting", fail)
    with pytest.raises(TransportUnavailable, match="ZeroDivisionError: oh"):
        await transport.start()


@on_virtual_time
async def test_a_link_that_does_not_connect_in_time_fails_the_start() -> None:
    transport = LineTransport(connect_timeout=2.0)
    transport.prepare = lambda t: setattr(t.hearing, "connecting", never)
    with pytest.raises(TransportUnavailable, match="nowhere did not answer within 2 s"):
        await transport.start()


@on_virtual_time
async def test_start_gives_up_after_its_timeout_and_leaves_nothing() -> None:
    transport = LineTransport(start_timeout=1.0)
    transport.answers = False
    began = asyncio.get_running_loop().time()
    with pytest.raises(TransportUnavailable, match="nowhere did not answer within 1 s"):
        await transport.start()
    assert asyncio.get_running_loop().time() == began + 1.0
    assert (transport.hearing.closes, transport.publishing.closes) == (1, 1)


@on_virtual_time
async def test_a_link_lost_during_the_start_fails_it() -> None:
    transport = LineTransport()
    transport.answers = False
    task = asyncio.ensure_future(transport.start())
    await asyncio.sleep(0.1)
    transport.publishing.lose("reset")
    with pytest.raises(TransportUnavailable, match="reset"):
        await task


@on_virtual_time
async def test_a_link_lost_in_whatever_turn_of_the_start_is_noticed() -> None:
    for turns in range(12):

        def prepare(transport: LineTransport, turns: int = turns) -> None:
            async def connecting() -> None:
                transport.publishing.connecting = None
                transport.hearing.lose()
                for _ in range(turns):
                    await asyncio.sleep(0)

            transport.publishing.connecting = connecting

        transport = LineTransport()
        transport.prepare = prepare
        try:
            await transport.start()
        except TransportUnavailable:
            continue
        await asyncio.sleep(10)
        await transport.publish("c", "x")
        assert transport.stats()["reconnects"] == 1
        await transport.close()


@on_virtual_time
async def test_a_broker_that_denies_the_probe_fails_the_start() -> None:
    transport = LineTransport()
    transport.denied = lambda channel: PermissionDenied(channel, "no probes")
    with pytest.raises(PermissionDenied, match="no probes"):
        await transport.start()


@on_virtual_time
async def test_cancelling_the_start_leaves_nothing() -> None:
    transport = LineTransport()
    transport.answers = False
    task = asyncio.ensure_future(transport.start())
    await asyncio.sleep(0.1)
    receipt = transport.publish("c", "x")
    wish = transport.subscribe("c", hear)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(await error_of(receipt), TransportClosed)
    assert isinstance(await error_of(wish), TransportClosed)
    assert transport.stats()["outbox"] == 0


@on_virtual_time
async def test_a_probe_that_the_broker_could_not_carry_fails_the_start_and_leaves_nothing() -> None:
    transport = LineTransport()

    def check(channel: str) -> None:
        raise InvalidChannel(channel, "it is too long")

    transport.exchange.check = check
    for _ in range(2):
        with pytest.raises(InvalidChannel, match="too long"):
            await transport.start()
    transport.exchange.check = checked
    await transport.start()
    await transport.close()


@on_virtual_time
async def test_links_that_cannot_be_made_fail_the_start_and_it_can_be_started_again() -> None:
    def fail(_: LineTransport) -> None:
        raise ZeroDivisionError

    transport = LineTransport()
    transport.prepare = fail
    with pytest.raises(ZeroDivisionError):
        await transport.start()
    transport.prepare = lambda _: None
    await transport.start()
    await transport.close()


@on_virtual_time
async def test_it_is_started_once() -> None:
    transport = await started()
    with pytest.raises(TransportError, match="has been started already"):
        await transport.start()
    assert transport.state == "up"
    await transport.close()


@on_virtual_time
async def test_after_a_start_that_failed_the_next_one_is_another_instance() -> None:
    transport = LineTransport()
    transport.prepare = lambda t: setattr(t.hearing, "connecting", refuse)
    with pytest.raises(TransportUnavailable):
        await transport.start()
    first = transport.exchange.instance
    transport.prepare = lambda _: None
    await transport.start()
    assert transport.exchange.instance != first
    assert len(transport.made) == 2  # new links, not those that failed
    await transport.close()


@on_virtual_time
async def test_after_a_close_it_can_be_started_again_as_another_instance() -> None:
    transport = await started()
    first = transport.exchange.instance
    heard: list[str] = []
    await transport.subscribe("c", heard.append)
    transport.exchange.received("c", b"1 other 1 5 a", 0)
    await transport.close()
    await transport.start()
    assert transport.exchange.instance != first
    assert transport.hearing.subscribed == {transport.exchange.probe_channel}
    await transport.subscribe("c", heard.append)
    transport.exchange.received("c", b"1 other 1 9 b", 0)
    assert heard == ["a", "b"]
    assert transport.gaps == []  # nobody was there to miss what passed meanwhile
    await transport.publish("c", "x")
    await transport.close()
    assert transport.told == ["up", "closed", "up", "closed"]


# Before start and after close


@on_virtual_time
async def test_nothing_can_be_done_before_the_start_nor_after_the_close() -> None:
    transport = LineTransport()
    for when in ("has not been started", "has been closed"):
        with pytest.raises(TransportClosed, match=when):
            transport.publish("c", "x")
        with pytest.raises(TransportClosed, match=when):
            transport.subscribe("c", hear)
        with pytest.raises(TransportClosed, match=when):
            transport.unsubscribe("c")
        await transport.close()
    assert transport.states == []


@on_virtual_time
async def test_closing_twice_or_at_once_is_closing() -> None:
    transport = await started()
    await asyncio.gather(transport.close(), transport.close())
    await transport.close()
    assert transport.told == ["up", "closed"]


@on_virtual_time
async def test_a_close_during_the_start_ends_that_with_transport_closed() -> None:
    transport = LineTransport()
    transport.answers = False
    task = asyncio.ensure_future(transport.start())
    await asyncio.sleep(0.1)
    await transport.close()
    assert asyncio.get_running_loop().time() < 1
    with pytest.raises(TransportClosed, match="has been closed"):
        await task
    with pytest.raises(TransportClosed, match="has been closed"):
        transport.publish("c", "x")
    assert transport.state == "closed"


# Closing


@on_virtual_time
async def test_a_start_that_a_close_has_ended_leaves_the_next_one_alone() -> None:
    transport = LineTransport()
    transport.answers = False
    first = asyncio.ensure_future(transport.start())
    await asyncio.sleep(0.1)
    await transport.close()
    transport.answers = True
    await transport.start()  # at once: the first has not been told yet
    with pytest.raises(TransportClosed):
        await first
    assert transport.state == "up"
    await transport.publish("c", "x")
    await transport.close()


@on_virtual_time
async def test_a_close_publishes_what_waits() -> None:
    transport = await started()
    receipts = [transport.publish("c", str(number)) for number in range(250)]
    await transport.close()
    assert [each.error for each in receipts] == [None] * 250
    assert asyncio.get_running_loop().time() == 0


@on_virtual_time
async def test_a_close_waits_for_the_pause_after_an_outage_no_longer_than_it_must() -> None:
    transport = await started()
    transport.hearing.lose()
    await transport.until("down")
    receipt = transport.publish("c", "x")
    await transport.until("up")
    assert not transport.may_publish
    await transport.close()
    assert await error_of(receipt) is None


@on_virtual_time
async def test_what_cannot_be_published_fails_after_half_of_the_close_timeout() -> None:
    transport = await started(close_timeout=4.0)
    transport.publishing.connecting = refuse
    transport.publishing.lose()
    await transport.until("down")
    receipt = transport.publish("c", "x")
    wish = transport.subscribe("d", hear)
    began = asyncio.get_running_loop().time()
    await transport.close()
    assert asyncio.get_running_loop().time() == began + 2.0
    assert str(await error_of(receipt)) == "<LineTransport nowhere> has been closed"
    assert await error_of(wish) is None  # the hearing link was there
    assert transport.states == [
        ("up", None),
        ("down", "cut"),
        ("down", "nobody is there"),
        ("closed", None),
    ]


@on_virtual_time
async def test_a_close_ends_where_what_was_written_has_been_given_up() -> None:
    transport = await started(outbox_age=1.0, close_timeout=4.0)
    transport.confirms = False
    receipt = transport.publish("c", "x")
    await asyncio.sleep(3)
    assert receipt.done
    assert transport.stats()["outbox"] == 1  # its place in the order of the answers
    await transport.close()


@on_virtual_time
async def test_nothing_is_accepted_while_it_closes() -> None:
    transport = await started()
    transport.confirms = False
    waiting = transport.publish("c", "x")
    task = asyncio.ensure_future(transport.close())
    await asyncio.sleep(0.1)
    with pytest.raises(TransportClosed):
        transport.publish("c", "y")
    with pytest.raises(TransportError, match="started already"):
        await transport.start()
    transport.publishing.confirm()
    await task
    assert waiting.error is None


@on_virtual_time
async def test_a_close_that_is_cancelled_has_closed_all_the_same() -> None:
    transport = await started()
    transport.confirms = False
    receipt = transport.publish("c", "x")
    task = asyncio.ensure_future(transport.close())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(await error_of(receipt), TransportClosed)
    assert (transport.state, transport.hearing.closes, transport.publishing.closes) == (
        "closed",
        1,
        1,
    )


@pytest.mark.parametrize("where", ["connecting", "closing", "lost"])
def test_a_close_is_in_time_whatever_a_link_does(where: str) -> None:
    @on_virtual_time
    async def closing() -> None:
        transport = await started(close_timeout=4.0)
        if where == "connecting":
            transport.hearing.connecting = never
            transport.hearing.lose()
            await transport.until("down")
            await asyncio.sleep(1)
        elif where == "closing":
            transport.hearing.closing = never
        else:
            transport.hearing.lose()
        began = asyncio.get_running_loop().time()
        await transport.close()
        assert asyncio.get_running_loop().time() - began <= 4.0
        assert transport.state == "closed"

    closing()


@on_virtual_time
async def test_a_connect_that_swallows_its_cancellation_is_closed_when_it_ends() -> None:
    transport = await started(close_timeout=4.0, connect_timeout=60.0)

    async def stubborn() -> None:
        try:
            await never()
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    transport.hearing.connecting = stubborn
    transport.hearing.lose()
    await transport.until("down")
    await asyncio.sleep(2)
    closes = transport.hearing.closes
    await transport.close()
    assert transport.hearing.closes == closes + 1
    assert transport.state == "closed"


def test_a_task_that_does_not_end_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    @on_virtual_time
    async def stuck() -> None:
        transport = await started(close_timeout=4.0, connect_timeout=600.0)
        release = asyncio.Event()

        async def deaf_to_cancellation() -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        transport.hearing.connecting = deaf_to_cancellation
        transport.hearing.lose()
        await transport.until("down")
        await asyncio.sleep(2)
        began = asyncio.get_running_loop().time()
        await transport.close()
        assert asyncio.get_running_loop().time() - began == 2.0
        told = list(transport.told)
        release.set()
        await asyncio.sleep(1)
        assert transport.told == told  # it does not come back to life
        assert not transport.hearing.connected.is_set()

    stuck()
    assert "wsrooms link 0 of <LineTransport nowhere> does not end" in caplog.text


@on_virtual_time
async def test_a_connect_that_makes_an_error_of_its_cancellation_is_not_tried_again() -> None:
    transport = await started()

    async def fail_at_last() -> None:
        try:
            await never()
        except asyncio.CancelledError:
            raise TransportUnavailable("cancelled") from None

    transport.hearing.connecting = fail_at_last
    transport.hearing.lose()
    await transport.until("down")
    await asyncio.sleep(1)
    connects = transport.hearing.connects
    await transport.close()
    assert transport.hearing.connects == connects
    assert transport.told == ["up", "down", "closed"]
