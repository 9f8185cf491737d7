"""Cases 1 to 12: what is published is heard, once, in order, by those who have subscribed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from wsrooms.testing.conformance.case import case
from wsrooms.testing.conformance.faults import broker_has
from wsrooms.testing.proxy.writes import SocketWrites

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt
    from wsrooms.testing.conformance.instance import Instance, Listener
    from wsrooms.testing.conformance.trial import Trial

BATCH = 100
"""Publishes between two turns of the loop, so that it is the transport's time that counts."""


@case(1)
async def delivers_between_two_instances(trial: Trial) -> None:
    """A handler gets exactly the payload that the other instance has published, once."""
    a, b = await trial.several(2)
    channel = trial.channel()
    listener = await b.listen(channel)
    payload = '{"event":"message","path":"/chat/general","data":"hello"}'
    await a.say(channel, payload)
    await trial.heard(listener, 1)
    await trial.flushed(a, listener)
    trial.judge()
    first = listener.received[0]
    trial.check(first == payload, f"{first!r} was received, {payload!r} was published")
    trial.check(type(first) is str, f"the handler was called with a {type(first).__name__}")


@case(2)
async def confirmed_subscribe_misses_nothing(trial: Trial) -> None:
    """What is published right after a confirmed subscribe arrives, 500 times of 500."""
    a, b = await trial.several(2)
    listeners: list[Listener] = []
    receipts: list[Receipt] = []
    for number in range(500):
        channel = trial.channel(f"room{number}")
        listener = await b.listen(channel)
        receipts.append(a.publish(channel, f"first of {number}"))
        listeners.append(listener)
    await trial.all_published(receipts)

    def all_have_theirs() -> bool:
        return all(listener.received for listener in listeners)

    await trial.comes(all_have_theirs, "the first message of each of 500 rooms")
    trial.judge()


@case(3)
async def unsubscribed_handler_is_not_called(trial: Trial) -> None:
    """No call of a handler begins after unsubscribe has returned, whatever was on its way."""
    a, b, c = await trial.several(3)
    channel, other = trial.channel("left"), trial.channel("other")
    witness = await c.listen(channel)
    marks = await b.listen(other)
    total = 0
    for turn in range(50):
        listener = await b.listen(channel)
        for number in range(20):
            a.publish(channel, f"{turn}.{number}")
        total += 20
        for _ in range(turn % 5):  # in other words: at different moments of their way
            await asyncio.sleep(0)
        await b.unsubscribe(channel)
        known = len(listener.received)
        await a.say(other, f"mark {turn}")
        await trial.until(partial(_has, marks, turn + 1), f"the mark of turn {turn}")
        late = listener.received[known:]
        trial.check(not late, f"called after unsubscribe had returned, with {late[:3]}")
    await trial.heard(witness, total)
    await trial.flushed(a, witness)
    trial.judge()


@case(4)
async def subscribe_twice_replaces_the_handler(trial: Trial) -> None:
    """Of two subscribes of one channel the second counts; one unsubscribe ends both."""
    a, b = await trial.several(2)
    channel = trial.channel()
    first = await b.listen(channel)
    second = await b.listen(channel)
    await a.say(channel, "one")
    await trial.heard(second, 1)
    await trial.flushed(a, second)
    trial.check(not first.received, f"the first handler was called with {first.received}")
    trial.judge()
    await b.unsubscribe(channel)
    after = len(second.received)
    other = trial.channel("other")
    mark = await b.listen(other)
    await a.say(channel, "two")
    await a.say(other, "mark")
    await trial.until(lambda: mark.received, "the mark on another channel")
    late = [*first.received, *second.received[after:]]
    trial.check(not late, f"a handler was called after unsubscribe, with {late}")
    await broker_has(trial, [other])


@case(5)
async def unsubscribe_of_unknown_channel_is_harmless(trial: Trial) -> None:
    """To unsubscribe what is not subscribed, or twice, changes nothing."""
    a, b = await trial.several(2)
    channel = trial.channel()
    await b.unsubscribe(trial.channel("unknown"))
    await b.unsubscribe(channel)
    listener = await b.listen(channel)
    await b.unsubscribe(trial.channel("unknown"))
    await a.say(channel, "one")
    await trial.heard(listener, 1)
    trial.judge()
    await b.unsubscribe(channel)
    await b.unsubscribe(channel)
    again = await b.listen(channel)
    await a.say(channel, "two")
    await trial.heard(again, 1)
    trial.judge()


@case(6)
async def publish_without_subscribers_succeeds(trial: Trial) -> None:
    """A message that nobody listens to is confirmed like any other."""
    a, b = await trial.several(2)
    await a.say(trial.channel("nobody"), "to nobody")
    channel = trial.channel()
    await a.say(channel, "before")
    listener = await b.listen(channel)
    await a.say(channel, "after")
    # What was read late may have arrived before it.
    await trial.until(lambda: "after" in listener.received, "what was published after the join")
    trial.judge()
    trial.check(listener.received[-1] == "after", f"received {listener.received}")


@case(7)
async def channels_are_isolated(trial: Trial) -> None:
    """Each of 100 handlers hears only its own channel, of which some begin like others."""
    a, b = await trial.several(2)
    names = ["r" * length for length in range(1, 51)] + [f"r/{number}" for number in range(50)]
    listeners = [await b.listen(trial.channel(name)) for name in names]
    for listener in reversed(listeners):  # or the numbers of the shorter ones would hide it
        a.publish(listener.channel, f"for {listener.channel}")
    for listener in listeners:
        await trial.heard(listener, 1)
        await trial.flushed(a, listener)
    trial.judge()


@case(8)
async def order_per_publisher_and_channel(trial: Trial) -> None:
    """10,000 publishes that nobody waits for arrive in order on each of 10 channels."""
    a, b = await trial.several(2)
    listeners = [await b.listen(trial.channel(f"room{number}")) for number in range(10)]
    receipts: list[Receipt] = []
    for number in range(1000):
        receipts += [a.publish(each.channel, f"{each.channel} {number}") for each in listeners]
        if number % (BATCH // 10) == 0:
            await asyncio.sleep(0)
    await trial.all_published(receipts, timeout=20.0)
    for listener in listeners:
        await trial.heard(listener, 1000)
    trial.judge()


@case(9)
async def order_with_concurrent_callers(trial: Trial) -> None:
    """Messages of several tasks arrive in the order in which their calls were made."""
    a, b = await trial.several(2)
    listener = await b.listen(trial.channel())
    called: list[str] = []

    async def caller(name: int) -> None:
        for number in range(40):
            payload = f"{name}.{number}"
            called.append(payload)
            await a.say(listener.channel, payload)

    await asyncio.gather(*(caller(name) for name in range(25)))
    await trial.heard(listener, len(called))
    trial.judge()
    trial.check(listener.received == called, "the order of arrival is not that of the calls")


@case(10, deadline=60.0)
async def many_publishers(trial: Trial) -> None:
    """Of 5 instances each hears the 1,000 messages of each other one, complete and in order."""
    instances = await trial.several(5)
    channel = trial.channel()
    listeners = [await instance.listen(channel) for instance in instances]

    async def publishes(instance: Instance) -> list[Receipt]:
        receipts: list[Receipt] = []
        for number in range(1000):
            receipts.append(instance.publish(channel, f"{instance.name} {number}"))
            if number % (BATCH // 5) == 0:
                await asyncio.sleep(0)
        return receipts

    made = await asyncio.gather(*map(publishes, instances))
    await trial.all_published([each for receipts in made for each in receipts], timeout=30.0)
    for listener in listeners:
        await trial.heard(listener, 4000)
    trial.judge()


@case(11)
async def publish_is_confirmed(trial: Trial) -> None:
    """A confirmed message needs nothing more of its publisher, which may close at once."""
    a, b = await trial.several(2)
    listener = await b.listen(trial.channel())
    await a.say(listener.channel, "the last words")
    await a.close()
    await trial.heard(listener, 1)
    trial.judge()


@case(12)
async def a_burst_is_batched(trial: Trial) -> None:
    """1,000 publishes in one turn of the loop need at most 20 writes to the socket."""
    a, b = await trial.several(2)
    listener = await b.listen(trial.channel())
    await a.say(listener.channel, "warm")
    with trial.excused(), SocketWrites() as writes:  # to count makes all of it slow
        receipts = [a.publish(listener.channel, f"{number}") for number in range(1000)]
        await trial.all_published(receipts)
    await trial.heard(listener, 1001)
    trial.judge()
    if not writes.count:
        trial.skip("it writes to no socket, or not from Python")
    trial.check(writes.count <= 20, f"1000 publishes in one turn took {writes.count} writes")


def _has(listener: Listener, count: int) -> bool:
    return len(listener.received) >= count
