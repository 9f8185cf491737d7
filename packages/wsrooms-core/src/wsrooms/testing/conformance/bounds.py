"""Cases 43, 44 and 46: what waits is bounded, and what cannot be kept is told."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from wsrooms.errors import OutboxFull, OutcomeUnknown, TransportUnavailable
from wsrooms.testing.conformance.case import case
from wsrooms.testing.conformance.elsewhere import NAME, SlowReader
from wsrooms.testing.conformance.faults import (
    disconnect,
    proxy_of,
    quick,
    reconnect,
    settle,
)
from wsrooms.testing.conformance.trial import HEALED
from wsrooms.transports import room_of

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt
    from wsrooms.testing.conformance.instance import Instance, Listener
    from wsrooms.testing.conformance.trial import Trial

MESSAGES = 50
BYTES = 256 * 1024
AGE = 1.2
AGE_TOLERANCE = 1.0
TRIES = 5

OVERHEAD = 3
"""How many times its own bytes a waiting message may cost, with all that belongs to it."""

LARGE = 10 * 1024
COUNT = 5000
"""Messages of 10 KiB, so 50 MB in all: more than the buffers on the way hold.

Larger ones a broker may keep without counting them, as Valkey 9 does with those over 16 KiB.
"""

AT_ONCE = 50
BLOCKED = 3.0
"""Seconds for which it reads nothing, or as long as the flood takes."""


@case(43, needs=("proxy", "state", "stats"), deadline=60.0)
async def outbox_is_bounded(trial: Trial) -> None:
    """What waits is bounded by count and by bytes; the policy says who is told of a full outbox."""
    reader = await trial.instance()
    channel = trial.channel()
    listener = await reader.listen(channel)
    options: dict[str, Any] = {"through_proxy": True, "outbox_messages": MESSAGES}
    rejects = await trial.instance(**options)
    drops = await trial.instance(**options, outbox_policy="drop_oldest")
    weighs = await trial.instance(through_proxy=True, outbox_bytes=BYTES)
    for each in (rejects, drops, weighs):
        await each.say(channel, f"before of {each.name}")
    await disconnect(trial, rejects, drops, weighs)
    refused, dropped = _fill(rejects, channel), _fill(drops, channel)
    _tell_full(trial, refused[MESSAGES:], refused[:MESSAGES], "reject")
    _tell_full(trial, dropped[:-MESSAGES], dropped[-MESSAGES:], "drop_oldest")
    for each in (rejects, drops):
        waits = each.stats["outbox"]
        trial.check(waits <= MESSAGES, f"{waits} messages wait, {MESSAGES} may")
    await _weigh(trial, weighs, channel)
    await reconnect(trial, rejects, drops, weighs)
    kept = [*refused[:MESSAGES], *dropped[-MESSAGES:]]
    await trial.all_published(kept, timeout=HEALED)
    await settle(trial, [rejects, drops, weighs], [listener])
    trial.judge()


def _fill(instance: Instance, channel: str) -> list[Receipt]:
    """Publish twice what may wait; one message, its own probe, may have come before."""
    return [instance.publish(channel, f"{instance.name} {n}") for n in range(2 * MESSAGES)]


def _tell_full(trial: Trial, failed: list[Receipt], waiting: list[Receipt], policy: str) -> None:
    for receipt in failed:
        trial.check(
            isinstance(receipt.error, OutboxFull),
            f"{policy}: one too many is answered with {receipt.error!r}",
        )
    for receipt in waiting:
        trial.check(not receipt.done, f"{policy}: one that waits is answered: {receipt.error!r}")


async def _weigh(trial: Trial, instance: Instance, channel: str) -> None:
    """Publish four times the bytes that may wait, and look at what they cost."""
    size = 8 * 1024
    gc.collect()
    tracemalloc.start()
    try:
        receipts: list[Receipt] = []
        for number in range(4 * BYTES // size):
            payload = f"{instance.name} {number} ".ljust(size, "x")
            receipts.append(instance.publish(channel, payload))
            await asyncio.sleep(0)
        gc.collect()
        kept = sum(not receipt.done for receipt in receipts)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    full = [receipt.error for receipt in receipts if receipt.error is not None]
    trial.check(all(isinstance(error, OutboxFull) for error in full), f"other errors: {full[:3]}")
    trial.check(0 < kept * size <= BYTES, f"{kept * size} bytes wait, {BYTES} may")
    waits = instance.stats["outbox_bytes"]
    trial.check(waits <= BYTES, f"{waits} bytes are counted, {BYTES} may wait")
    history = 4 * BYTES  # the trial itself keeps every payload
    trial.check(used - history < OVERHEAD * BYTES, f"{used} bytes of memory for {BYTES} that wait")


@case(44, needs=("proxy", "state"), deadline=45.0)
async def outbox_ages_out(trial: Trial) -> None:
    """What waits too long fails, and what was written and not confirmed says that it may be."""
    options = quick(trial, through_proxy=True, outbox_age=trial.allowed(AGE))
    a = await trial.instance(**options)
    b = await trial.instance()
    listener = await b.listen(trial.channel())
    await a.say(listener.channel, "before")
    await disconnect(trial, a)
    await _ages_out(trial, a, listener, "unwritten", TransportUnavailable)
    await reconnect(trial, a)
    await _is_said(trial, a, listener, "between")
    trial.broke("half-open", a)
    proxy_of(trial).hole()
    await _ages_out(trial, a, listener, "written", OutcomeUnknown)
    await reconnect(trial, a)
    last = await _is_said(trial, a, listener, "last")
    await trial.until(partial(listener.received.__contains__, last), "the last message")
    trial.judge()
    trial.check("unwritten" not in listener.received, "what has failed arrived")


async def _is_said(trial: Trial, a: Instance, listener: Listener, what: str) -> str:
    """Say ``what``, once more where even that was too old before it was confirmed."""
    loop = asyncio.get_running_loop()
    for number in range(TRIES - 1):
        payload = f"{what} {number}"
        began = loop.time()
        try:
            await a.say(listener.channel, payload)
        except (TransportUnavailable, OutcomeUnknown):
            if loop.time() - began < AGE:  # it was not too old
                raise
            continue
        return payload
    payload = f"{what} at last"
    await a.say(listener.channel, payload)
    return payload


async def _ages_out(
    trial: Trial, a: Instance, listener: Listener, payload: str, error: type[Exception]
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    receipt = a.publish(listener.channel, payload)
    await trial.until(lambda: receipt.done, f"the end of {payload!r}", timeout=AGE + AGE_TOLERANCE)
    took = loop.time() - began
    least = trial.allowed(AGE - AGE_TOLERANCE)
    trial.check(took > least, f"{payload!r} has failed after {took:.1f} s")
    trial.check(type(receipt.error) is error, f"{payload!r} ended with {receipt.error!r}")


@case(46, needs=("small_buffers", "state", "gaps"), deadline=60.0)
async def slow_subscriber(trial: Trial) -> None:
    """One whose loop stands still recovers alone and tells its loss; others are not touched."""
    trial.expect_logs()
    channel = trial.channel()
    async with trial.rig.small_buffers() as rig, AsyncExitStack() as stack:
        a, c = (trial.instance_of(rig.transport()) for _ in range(2))
        slow = SlowReader(trial, rig, channel)
        stack.push_async_callback(slow.close)
        for each in (a, c):
            stack.push_async_callback(each.close)
            await each.start()
        heard: set[str] = set()
        await trial.finished(lambda: c.transport.subscribe(channel, lambda p: heard.add(p[:NAME])))
        await slow.start()
        trial.broke("it reads nothing for a while", slow.instance)
        loop = asyncio.get_running_loop()
        until = loop.time() + BLOCKED
        slow.stall()
        await _flood(trial, a, channel)
        await asyncio.sleep(until - loop.time())  # no longer where the flood took that long
        slow.go_on()
        if not rig.keeps_log:
            told = "it tells that it has missed messages; or the broker's buffers have held all"
            await trial.until(lambda: slow.instance.gaps, told, timeout=HEALED)
        last = await _numbered(trial, a, channel, COUNT + 1)
        await trial.until(lambda: last in heard, "the last message at the other subscriber")
        await trial.until(lambda: slow.has(last), "the last message at the slow one")
        trial.judge()
        trial.check(len(heard) == COUNT + 1, f"the other has missed {COUNT + 1 - len(heard)}")
        trial.check(not c.gaps, f"the other subscriber tells of losses: {c.gaps}")


async def _flood(trial: Trial, a: Instance, channel: str) -> None:
    for start in range(1, COUNT + 1, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, COUNT + 1))
        await asyncio.gather(*(_numbered(trial, a, channel, number) for number in numbers))


async def _numbered(trial: Trial, a: Instance, channel: str, number: int) -> str:
    """Publish a large message, which is known to the history by its number."""
    name = f"{number:07} "
    trial.history.send(name, room_of(channel) or channel, instance=a.name, by=a.name)
    await trial.finished(lambda: a.transport.publish(channel, name.ljust(LARGE, "x")))
    trial.history.sent(name)
    return name
