"""Cases 33 to 38: links and brokers that die while messages pass."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wsrooms.testing.conformance.case import case
from wsrooms.testing.conformance.faults import (
    Stream,
    broker_of,
    known,
    noticed,
    proxy_of,
    quick,
    settle,
)

if TYPE_CHECKING:
    from wsrooms.testing.conformance.instance import Instance
    from wsrooms.testing.conformance.trial import Trial

MESSAGES = 3000
CUTS = 6
MEBIBYTE = 1024 * 1024

WAITING: dict[str, float] = {"outbox_messages": 100_000, "outbox_age": 60.0}
"""What may wait, and for how long, until a killed broker is back, which may take its time."""

STALL = 5.0
QUICK_STALL = 2.5
"""Seconds that the broker stands still, where the transport notices that soon."""

KIND_OF_LOSS = "messages were lost, although this transport reads on where a link broke"


@case(33, needs=("broker", "state", "gaps"), deadline=60.0)
async def broker_killed_mid_stream(trial: Trial) -> None:
    """After the broker's death all resume: nothing twice, in order, and every loss is told."""
    broker = broker_of(trial)
    a, b, c = await trial.several(3, **known(trial, **WAITING))
    channels = [trial.channel("one"), trial.channel("two")]
    listeners = [await each.listen(channel) for each in (b, c) for channel in channels]
    async with Stream(trial, a, channels) as first, Stream(trial, b, channels[:1]) as second:
        await first.reaches(200)
        async with noticed(trial, a, b, c):
            trial.broke("the broker was killed")
            await broker.kill()
        known_count = len(first.receipts)
        await first.reaches(known_count + 200)
        await broker.start()
        for instance in (a, b, c):
            await trial.up(instance)
        await first.reaches(len(first.receipts) + 200)
    await settle(trial, [a, b], listeners)
    trial.judge()
    trial.check(not (first.failed or second.failed), f"lost here: {first.failed or second.failed}")
    if trial.rig.restart_keeps_log:
        trial.check(not (b.gaps or c.gaps), KIND_OF_LOSS)


@case(34, needs=("proxy", "state", "gaps"), deadline=60.0)
async def tcp_cut_of_the_subscriber(trial: Trial) -> None:
    """A subscriber whose link is cut tells what it lost; another one misses nothing."""
    a = await trial.instance()
    b = await trial.instance(through_proxy=True)
    c = await trial.instance()
    channel = trial.channel()
    listener, unaffected = await b.listen(channel), await c.listen(channel)
    async with Stream(trial, a, [channel]) as stream:
        for cut in range(1, 4):
            await stream.reaches(150 * cut)
            await trial.cut(b)
        await stream.reaches(600)
    await settle(trial, [a], [listener, unaffected])
    trial.judge()
    trial.check(not stream.failed, f"the publisher was affected: {stream.failed}")
    count = len([each for each in unaffected.received if not each.startswith("the last")])
    trial.check(count == len(stream.receipts), "the other subscriber missed messages")
    trial.check(not c.gaps, f"the other subscriber tells of losses: {c.gaps}")
    if trial.rig.keeps_log:
        trial.check(not b.gaps, KIND_OF_LOSS)


@case(35, needs=("proxy", "state"), deadline=60.0)
async def tcp_cut_of_the_publisher(trial: Trial) -> None:
    """3,000 messages of a publisher whose link is cut six times arrive, once and in order."""
    a = await trial.instance(through_proxy=True)
    b = await trial.instance()
    listener = await b.listen(trial.channel())
    proxy = proxy_of(trial)
    async with Stream(trial, a, [listener.channel] * 10, every=0.005) as stream:
        for cut in range(CUTS):
            await stream.reaches((cut + 1) * (MESSAGES // CUTS) - 100)
            trial.broke(f"cut {cut}", a)
            proxy.cut()
        await stream.reaches(MESSAGES)
    await trial.up(a)
    await settle(trial, [a], [listener])
    trial.judge()
    trial.check(not stream.failed, f"{len(stream.failed)} failed: {stream.failed[:3]}")
    count = len(stream.receipts)
    received = listener.received[:count]
    trial.check(
        received == [f"{a.name} {number}" for number in range(count)],
        f"of {count} messages {len(set(received))} arrived, or not in order",
    )
    trial.check(not b.gaps, f"the subscriber tells of losses: {b.gaps}")


@case(36, needs=("proxy", "state"), deadline=45.0)
async def half_open_idle(trial: Trial) -> None:
    """An idle link that has died in silence is noticed within 4.5 s, and replaced."""
    a = await trial.instance()
    b = await trial.instance(through_proxy=True)
    listener = await b.listen(trial.channel())
    await a.say(listener.channel, "before")
    await trial.heard(listener, 1)
    await _hole(trial, b)
    await trial.up(b)
    await a.say(listener.channel, "after")
    await settle(trial, [a], [listener])
    trial.judge()
    trial.check("after" in listener.received, "it is deaf on its new link")


@case(37, needs=("proxy", "state"), deadline=45.0)
async def half_open_with_unsent_bytes(trial: Trial) -> None:
    """The same holds with a mebibyte that cannot be sent; it arrives once, by the next link."""
    a = await trial.instance(through_proxy=True)
    b = await trial.instance()
    listener = await b.listen(trial.channel())
    await a.say(listener.channel, "before")
    receipts = [
        a.publish(listener.channel, f"{number} {'x' * (MEBIBYTE // 16)}") for number in range(16)
    ]
    await _hole(trial, a)
    await trial.up(a)
    await trial.all_published(receipts, timeout=10.0)
    await settle(trial, [a], [listener])
    trial.judge()
    # The old link comes back to life, and what it holds is stale.
    proxy_of(trial).heal()
    await a.say(listener.channel, "after")
    await settle(trial, [a], [listener])
    trial.judge()
    trial.check(not b.gaps, f"the subscriber tells of losses: {b.gaps}")


async def _hole(trial: Trial, instance: Instance) -> None:
    """Let all old links be dead, which ``instance`` is to notice."""
    async with noticed(trial, instance):
        trial.broke("half-open", instance)
        proxy_of(trial).hole(new_ones_work=True)


@case(38, needs=("broker", "state", "gaps"), deadline=60.0)
async def stalled_broker(trial: Trial) -> None:
    """A broker that stands still for a while hangs nothing, and nothing is delivered twice."""
    broker = broker_of(trial)
    a, b = await trial.several(2, **{**quick(trial), **known(trial, **WAITING)})
    channel = trial.channel()
    listener = await b.listen(channel)
    loop = asyncio.get_running_loop()
    seconds = QUICK_STALL if known(trial, ping_interval=0) else STALL
    async with Stream(trial, a, [channel], every=0.01) as stream:
        await stream.reaches(50)
        trial.broke("the broker stands still")
        until = loop.time() + trial.allowed(seconds)
        async with noticed(trial, a, b):
            await broker.stop()
        wish = b.ask(trial.channel("asked meanwhile"))
        b.drop(trial.channel("never subscribed"))
        await asyncio.sleep(until - loop.time())  # the stall is what the case is about
        await broker.cont()
        for instance in (a, b):
            await trial.up(instance)
        await trial.within(trial.rig.patience, wish[1], "a subscribe that was asked meanwhile")
        await stream.reaches(len(stream.receipts) + 50)
    await settle(trial, [a], [listener, wish[0]])
    trial.judge()
    trial.check(not stream.failed, f"{len(stream.failed)} failed: {stream.failed[:3]}")
