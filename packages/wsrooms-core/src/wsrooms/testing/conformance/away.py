"""Cases 39 to 42 and 45: what is asked while the broker is away, or after it has forgotten all."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import TYPE_CHECKING

from wsrooms.testing.conformance.case import case
from wsrooms.testing.conformance.faults import (
    broker_has,
    broker_of,
    disconnect,
    noticed,
    reconnect,
    settle,
    unwaited,
)
from wsrooms.testing.conformance.trial import HEALED

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt
    from wsrooms.testing.conformance.instance import Instance
    from wsrooms.testing.conformance.trial import Trial

FLAPS = 1000
ROUNDS = 3

FLAT = 64 * 1024
"""Bytes by which so many more flaps may let the memory grow: nothing is kept of any."""


async def _kill(trial: Trial, *instances: Instance) -> None:
    """Kill the broker; all have noticed when this returns."""
    async with noticed(trial, *instances):
        trial.broke("the broker was killed")
        await broker_of(trial).kill()


async def _start(trial: Trial, *instances: Instance) -> None:
    await broker_of(trial).start()
    for instance in instances:
        await trial.up(instance)


@case(39, needs=("broker", "state"), deadline=45.0)
async def subscribe_while_disconnected(trial: Trial) -> None:
    """A subscribe waits for the broker, also of a channel that was subscribed before."""
    a, b = await trial.several(2)
    known, new = trial.channel("known"), trial.channel("new")
    await b.listen(known)
    await _kill(trial, a, b)
    asked = [b.ask(channel) for channel in (known, new)]
    await asyncio.sleep(0.1)  # in which a receipt that does not wait would be done
    trial.check(not any(receipt.done for _, receipt in asked), "confirmed without a broker")
    await broker_of(trial).start()
    for listener, receipt in asked:
        told = f"the confirmation of {listener.channel!r}"
        await trial.within(HEALED, receipt, told)
    await trial.up(a)
    for listener, _ in asked:
        await a.say(listener.channel, f"first on {listener.channel}")
    await settle(trial, [a], [listener for listener, _ in asked])
    trial.judge()
    for listener, _ in asked:
        trial.check(
            f"first on {listener.channel}" in listener.received,
            "what was published after the confirmation is missing",
        )


@case(40, needs=("broker", "state", "subscriptions"), deadline=45.0)
async def unsubscribe_while_disconnected(trial: Trial) -> None:
    """What was unsubscribed while the broker was away is not subscribed after its return."""
    a, b = await trial.several(2)
    gone, kept = trial.channel("gone"), trial.channel("kept")
    left, listener = await b.listen(gone), await b.listen(kept)
    await broker_has(trial, [gone, kept])
    await _kill(trial, a, b)
    await b.unsubscribe(gone)
    await _start(trial, a, b)
    await broker_has(trial, [kept], timeout=0.0, strict=True)
    await a.say(gone, "to nobody")
    await settle(trial, [a], [listener])
    trial.judge()
    trial.check(not left.received, "what was unsubscribed is heard")
    await broker_has(trial, [kept], timeout=0.0, strict=True)


@case(41, needs=("broker", "state", "subscriptions"), deadline=60.0)
async def subscribe_and_unsubscribe_while_disconnected(trial: Trial) -> None:
    """1,000 wishes that are withdrawn while the broker is away leave nothing, nowhere."""
    b = await trial.instance()
    await _kill(trial, b)
    await _flap(trial, b, 0)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(1, ROUNDS + 1):
            await _flap(trial, b, number)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    told = f"{ROUNDS * FLAPS} flaps have left {after - before} bytes"
    trial.check(after - before < FLAT, told)
    await _start(trial, b)
    await broker_has(trial, [], timeout=0.0, strict=True)
    trial.check(b.stats.get("subscriptions", 0) == 0, "the transport counts subscriptions")


async def _flap(trial: Trial, b: Instance, turn: int) -> None:
    def nobody(_: str) -> None:
        """Be called by nobody."""

    for number in range(FLAPS):
        channel = trial.channel(f"{turn}.{number}")
        unwaited(b.transport.subscribe(channel, nobody))
        unwaited(b.transport.unsubscribe(channel))
        if number % 100 == 0:
            await asyncio.sleep(0)


@case(42, needs=("proxy", "state"), deadline=45.0)
async def publish_while_disconnected_is_delivered_after(trial: Trial) -> None:
    """What was published while the link was down arrives, in order, before what is newer."""
    a = await trial.instance(through_proxy=True)
    b = await trial.instance()
    listener = await b.listen(trial.channel())
    await a.say(listener.channel, "before")
    await disconnect(trial, a)
    receipts: list[Receipt] = []
    for number in range(500):
        receipts.append(a.publish(listener.channel, f"meanwhile {number}"))
        if number % 100 == 0:
            await asyncio.sleep(0)
    trial.check(not any(receipt.done for receipt in receipts), "confirmed without a link")
    await reconnect(trial, a)
    receipts.append(a.publish(listener.channel, "after"))
    await trial.all_published(receipts, timeout=HEALED)
    await settle(trial, [a], [listener])
    trial.judge()
    expected = ["before", *(f"meanwhile {number}" for number in range(500)), "after"]
    trial.check(listener.received[:502] == expected, "not all arrived, or not in order")
    trial.check(not b.gaps, f"the subscriber tells of losses: {b.gaps}")


@case(45, needs=("forget",), deadline=45.0)
async def restart_with_a_lost_log(trial: Trial) -> None:
    """After the broker has lost all it had stored, the first new message arrives."""
    trial.expect_logs()
    a, b = await trial.several(2)
    listener = await b.listen(trial.channel())
    for number in range(20):
        await a.say(listener.channel, f"before {number}")
    await trial.heard(listener, 20)
    trial.broke("the broker has forgotten all")
    await trial.rig.forget()
    await a.say(listener.channel, "the first one")
    await trial.until(lambda: "the first one" in listener.received, "the first new message")
    other = await b.listen(trial.channel("other"))
    await a.say(other.channel, "elsewhere")
    await settle(trial, [a], [listener, other])
    trial.judge()
    trial.check("elsewhere" in other.received, "a new channel is not heard")
