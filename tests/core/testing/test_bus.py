"""The simulated bus: what it promises while all is well, and how it breaks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import pytest

from wsrooms.errors import PermissionDenied, TransportClosed, TransportUnavailable
from wsrooms.testing import SimulatedBus, SimulatedTransport, VirtualTimeLoop, run
from wsrooms.transports import Gap, tagged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Coroutine


class End:
    """One instance's end of the bus, with what it heard."""

    def __init__(self, bus: SimulatedBus) -> None:
        self.plain = bus.transport()
        self.tagged = tagged(self.plain)
        self.heard: list[str] = []
        self.gaps: list[Gap] = []
        self.states: list[str] = []
        self.tagged.on_gap(self.gaps.append)
        self.tagged.on_state(lambda state, _: self.states.append(state))

    def publish(self, payload: str) -> asyncio.Future[None]:
        call = self.tagged.publish("ws:room:red", payload)
        assert call is not None
        return asyncio.ensure_future(_waiting(call))

    def subscribe(self) -> asyncio.Future[None]:
        call = self.tagged.subscribe("ws:room:red", self.heard.append)
        assert call is not None
        return asyncio.ensure_future(_waiting(call))


async def _waiting(call: Awaitable[None]) -> None:
    await call


@pytest.fixture
async def bus() -> AsyncIterator[SimulatedBus]:
    bus = SimulatedBus(seed=1)
    yield bus
    for transport in bus.transports:
        await transport.close()


@pytest.fixture
async def ends(bus: SimulatedBus) -> list[End]:
    ends = [End(bus), End(bus)]
    for end in ends:
        await end.tagged.start()
        subscribed = end.subscribe()
        await bus.settle()
        await subscribed
    return ends


async def test_a_confirmed_subscription_hears_every_later_message_in_order_once(
    bus: SimulatedBus, ends: list[End]
) -> None:
    one, other = ends
    for number in range(10):
        await one.publish(str(number))
    await bus.settle()

    assert other.heard == [str(number) for number in range(10)]
    assert one.heard == []
    assert one.tagged.stats()["own_skipped"] == 10
    assert not bus.lost


async def test_a_link_that_is_not_there_is_told_with_those_that_are(
    bus: SimulatedBus, ends: list[End]
) -> None:
    there = "0 is 'i0', 1 is 'i1'"
    with pytest.raises(ValueError, match=f"no transport 'two': {there}"):
        bus.cut("two")
    for break_one in (bus.cut, bus.heal, lambda to: bus.lose(1, to=to)):
        with pytest.raises(IndexError, match=f"no transport 2: {there}"):
            break_one(2)
    with pytest.raises(IndexError, match="none has been made"):
        SimulatedBus().cut(0)


async def test_without_tags_it_echoes(bus: SimulatedBus) -> None:
    transport = bus.transport()
    heard: list[str] = []
    await transport.start()
    await transport.subscribe("a", heard.append)
    await transport.publish("a", "x")
    await bus.settle()

    assert heard == ["x"]


async def test_what_takes_time_arrives_when_that_has_passed(
    bus: SimulatedBus, ends: list[End]
) -> None:
    bus.delay(1.0)
    one, other = ends
    published = one.publish("x")
    await bus.advance(0.9)
    assert (other.heard, published.done()) == ([], False)

    await bus.advance(0.2)
    assert (other.heard, published.done()) == (["x"], True)
    assert bus.now == pytest.approx(1.1)


@pytest.mark.parametrize(("direction", "seconds"), [("up", 3.0), ("down", 3.0), ("both", 6.0)])
async def test_a_message_takes_the_delay_of_each_way_it_goes(
    bus: SimulatedBus, ends: list[End], direction: Literal["up", "down", "both"], seconds: float
) -> None:
    bus.delay(3.0, direction=direction)
    ends[0].publish("x")
    await bus.advance(seconds - 0.1)
    assert ends[1].heard == []

    await bus.advance(0.2)
    assert ends[1].heard == ["x"]


async def test_what_is_lost_is_counted_by_deliveries_to_whoever_subscribed_first(
    bus: SimulatedBus, ends: list[End]
) -> None:
    third = End(bus)
    await third.tagged.start()
    subscribed = third.subscribe()
    await bus.settle()
    await subscribed
    bus.lose(1)
    ends[0].publish("x")
    await bus.settle()

    assert (ends[1].heard, third.heard) == ([], ["x"])


async def test_with_jitter_nothing_overtakes(bus: SimulatedBus, ends: list[End]) -> None:
    bus.delay(0.1, jitter=5.0, direction="both")
    for number in range(20):
        ends[0].publish(str(number))
    await bus.settle()

    assert ends[1].heard == [str(number) for number in range(20)]


async def test_messages_wait_while_the_link_is_cut_and_go_out_in_order(
    bus: SimulatedBus, ends: list[End]
) -> None:
    one, other = ends
    bus.cut(0)
    published = [one.publish(str(number)) for number in range(3)]
    await bus.settle()
    assert (one.states, other.heard) == (["down"], [])

    bus.heal(0)
    await bus.settle()
    assert (one.states, other.heard) == (["down", "up"], ["0", "1", "2"])
    assert all(each.done() for each in published)


async def test_what_waits_too_long_fails_and_its_number_is_missed_by_others(
    bus: SimulatedBus, ends: list[End]
) -> None:
    one, other = ends
    await one.publish("first")
    bus.cut(0)
    late = one.publish("late")
    await bus.advance(16)
    with pytest.raises(TransportUnavailable, match="not published within 15 s"):
        await late

    bus.heal(0)
    await bus.settle()
    await one.publish("next")
    await bus.settle()
    assert other.heard == ["first", "next"]
    assert [gap.missing for gap in other.gaps] == [1]


async def test_a_cut_link_forgets_its_subscriptions_and_tells_once_they_are_made_again(
    bus: SimulatedBus, ends: list[End]
) -> None:
    one, other = ends
    bus.cut(1)
    await one.publish("missed")
    await bus.settle()
    bus.heal(1)
    await bus.settle()
    assert (other.states, other.gaps, bus.channels()) == (["down", "up"], [], {"ws:room:red": 1})

    again = other.subscribe()
    await bus.settle()
    await again
    assert other.gaps == [Gap(None, None, None)]
    assert list(bus.lost.items()) == [(("i1", "ws:room:red", "i0"), 1)]

    await one.publish("heard")
    await bus.settle()
    assert other.heard == ["heard"]


async def test_a_half_open_link_is_noticed_after_a_while_and_what_was_unanswered_is_resent(
    bus: SimulatedBus, ends: list[End]
) -> None:
    one, other = ends
    bus.cut(0, told=False)
    unanswered = one.publish("x")
    bus.heal(0)
    await bus.advance(4.4)
    assert (one.states, other.heard, unanswered.done()) == ([], [], False)

    await bus.settle()
    assert (one.states, other.heard, unanswered.done()) == (["down", "up"], ["x"], True)
    assert one.tagged.stats()["resent"] == 1


async def test_what_the_broker_took_and_could_not_answer_comes_twice_and_is_dropped_once(
    bus: SimulatedBus, ends: list[End]
) -> None:
    one, other = ends
    bus.delay(1.0, which=0)
    one.publish("x")
    await bus.advance(0.5)  # the broker has it, and its answer is on the way
    bus.cut(0)
    bus.heal(0)
    await bus.settle()

    assert other.heard == ["x"]
    assert other.tagged.stats()["duplicates"] == 1


async def test_a_killed_broker_forgets_everything_and_a_new_one_serves_all_again(
    bus: SimulatedBus, ends: list[End]
) -> None:
    bus.crash()
    assert [end.states for end in ends] == [["down"], ["down"]]
    assert bus.channels() == {}
    waiting = ends[0].publish("x")
    await bus.settle()

    bus.restart()
    again = [end.subscribe() for end in ends]
    await bus.settle()
    await asyncio.gather(waiting, *again)
    assert [end.states for end in ends] == [["down", "up"], ["down", "up"]]
    assert [end.gaps for end in ends] == [[Gap(None, None, None)]] * 2


async def test_lost_messages_are_reported_and_counted(bus: SimulatedBus, ends: list[End]) -> None:
    dropped: list[tuple[str, str | None, str]] = []
    bus.on_dropped = lambda *facts: dropped.append(facts)
    one, other = ends
    await one.publish("1")
    bus.lose(2, to=1)
    for payload in "234":
        await one.publish(payload)
    await bus.settle()

    assert other.heard == ["1", "4"]
    assert [(gap.room, gap.missing) for gap in other.gaps] == [("red", 2)]
    assert list(bus.lost.values()) == [2]
    assert dropped == [("i1", "red", "i0")] * 2


async def test_a_message_that_comes_twice_is_heard_once(bus: SimulatedBus, ends: list[End]) -> None:
    bus.duplicate(1)
    await ends[0].publish("x")
    await bus.settle()

    assert ends[1].heard == ["x"]
    assert ends[1].tagged.stats()["duplicates"] == 1


async def test_a_message_that_is_overtaken_is_missed_and_reported(
    bus: SimulatedBus, ends: list[End]
) -> None:
    await ends[0].publish("0")
    bus.reorder(1)
    await ends[0].publish("1")
    await ends[0].publish("2")
    await bus.settle()

    assert ends[1].heard == ["0", "2"]
    assert [gap.missing for gap in ends[1].gaps] == [1]


async def test_a_message_that_nothing_overtakes_in_time_arrives_late(
    bus: SimulatedBus, ends: list[End]
) -> None:
    bus.reorder(1)
    await ends[0].publish("1")
    await bus.advance(0.9)
    assert ends[1].heard == []

    await bus.advance(0.2)
    assert ends[1].heard == ["1"]


async def test_a_chance_is_the_same_for_the_same_seed() -> None:
    async def heard(seed: int) -> list[str]:
        bus = SimulatedBus(seed=seed)
        one, other = bus.transport(), bus.transport()
        await one.start()
        await other.start()
        heard: list[str] = []
        await other.subscribe("a", heard.append)
        bus.lose(chance=0.5)
        for number in range(30):
            await one.publish("a", str(number))
        await bus.settle()
        return heard

    first = await heard(1)
    assert 0 < len(first) < 30
    assert await heard(1) == first
    assert await heard(2) != first


async def test_a_subscription_is_refused_or_never_confirmed_or_late(bus: SimulatedBus) -> None:
    transport = bus.transport()
    await transport.start()
    bus.refuse(1)
    refused = transport.subscribe("a", print)
    await bus.settle()
    with pytest.raises(PermissionDenied):
        await refused

    bus.never_confirm(1)
    never = asyncio.ensure_future(transport.subscribe("b", print))
    bus.confirm_late(3.0)
    late = asyncio.ensure_future(transport.subscribe("c", print))
    await bus.advance(2.0)
    assert (never.done(), late.done()) == (False, False)
    assert bus.channels() == {"b": 1, "c": 1}
    await bus.advance(2.0)
    assert (never.done(), late.done()) == (False, True)
    never.cancel()


@pytest.mark.parametrize("remembers", [True, False])
async def test_a_subscription_while_the_link_is_down_waits_or_fails(remembers: bool) -> None:
    bus = SimulatedBus(remembers=remembers)
    transport = bus.transport()
    await transport.start()
    bus.cut(0)
    asked = transport.subscribe("a", print)
    bus.heal(0)
    await bus.settle()

    if remembers:
        await asked
        assert bus.channels() == {"a": 1}
    else:
        with pytest.raises(TransportUnavailable):
            await asked


async def test_a_transport_starts_only_where_there_is_a_broker(bus: SimulatedBus) -> None:
    transport = bus.transport()
    bus.cut(0)
    with pytest.raises(TransportUnavailable):
        await transport.start()
    with pytest.raises(TransportClosed):
        transport.publish("a", "x")


async def test_close_sends_what_waits_and_leaves_no_subscription(
    bus: SimulatedBus, ends: list[End]
) -> None:
    bus.delay(5.0, direction="both")
    published = ends[0].publish("x")
    await ends[0].tagged.close()
    await published
    bus.heal()
    await bus.settle()

    assert ends[1].heard == ["x"]
    assert bus.channels() == {"ws:room:red": 1}


async def test_a_killed_transport_says_and_hears_nothing_more(
    bus: SimulatedBus, ends: list[End]
) -> None:
    one, other = ends
    bus.delay(1.0, direction="up")
    waiting = one.publish("on its way")
    one.plain._kill()
    after = one.publish("after")
    to_the_dead = other.publish("to the dead")
    await bus.settle()
    await to_the_dead

    assert (one.heard, other.heard) == ([], [])
    assert (waiting.done(), after.done()) == (False, False)
    waiting.cancel()
    after.cancel()


async def test_awaitables_are_what_a_plain_class_answers() -> None:
    bus = SimulatedBus(answers="awaitables")
    transport = bus.transport()
    await transport.start()
    call = transport.publish("a", "x")

    assert asyncio.iscoroutine(call)
    await call


def test_on_virtual_time_the_loop_s_clock_moves_it() -> None:
    async def main() -> tuple[list[str], float]:
        bus = SimulatedBus(seed=1, clock="loop")
        one, other = bus.transport(), bus.transport()
        heard: list[str] = []
        await one.start()
        await other.start()
        await other.subscribe("a", heard.append)
        bus.delay(5.0, direction="both")
        await one.publish("a", "x")
        await bus.settle()
        assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
        return heard, asyncio.get_running_loop().time()

    assert _run(main()) == (["x"], 10.0)


def _run(main: Coroutine[object, object, tuple[list[str], float]]) -> tuple[list[str], float]:
    return run(main, seed=1)


def test_a_transport_tells_who_it_is() -> None:
    bus = SimulatedBus()
    assert repr(bus.transport("berlin")) == "<SimulatedTransport berlin>"
    assert isinstance(bus.transports[0].replica(), SimulatedTransport)
    assert [transport.name for transport in bus.transports] == ["berlin", "i1"]
