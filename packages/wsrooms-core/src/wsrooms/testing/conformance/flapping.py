"""Cases 28 to 32: many wishes in a hurry, and many channels."""

from __future__ import annotations

import asyncio
import gc
import inspect
import random
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from wsrooms.receipt import Receipt
from wsrooms.testing.conformance.case import case
from wsrooms.testing.conformance.faults import (
    broker_has,
    broker_of,
    disconnect,
    noticed,
    proxy_of,
    reconnect,
    settle,
)

if TYPE_CHECKING:
    from wsrooms.testing.conformance.instance import Instance
    from wsrooms.testing.conformance.trial import Trial

BATCH = 100
"""Calls between two turns of the loop."""

MANY = 10_000
SCALE_SECONDS = 5.0
"""Within which so many channels are subscribed, unsubscribed, or restored."""

CHANNEL_BYTES = 10 * 1024
"""What a subscription may cost an instance."""

CUT_EVERY = 0.3
CUTS = 8


@case(28, deadline=60.0)
async def flapping_one_channel(trial: Trial) -> None:
    """Of 5,000 wishes for one channel the last one counts, here and at the broker."""
    chance = random.Random(28)
    a, b = await trial.several(2)
    channel = trial.channel()
    sent = 0
    for ends_subscribed in (True, False):
        for _ in range(2500):
            if chance.random() < 0.5:
                b.ask(channel)
            else:
                b.drop(channel)
            if chance.random() < 0.05:
                sent += 1
                a.publish(channel, f"{sent}")
            if chance.random() < 0.2:
                await asyncio.sleep(0)
        if ends_subscribed:
            listener = await b.listen(channel)
            await a.say(channel, "to whoever is there")
            await settle(trial, [a], [listener])
            await broker_has(trial, [channel])
        else:
            await b.unsubscribe(channel)
            await broker_has(trial, [])
            await a.say(channel, "to nobody")
    mark = await b.listen(trial.channel("mark"))
    await settle(trial, [a], [mark])
    trial.judge()


@case(29, needs=("proxy", "state"), deadline=60.0)
async def flapping_many_channels_with_cuts(trial: Trial) -> None:
    """Wishes for 20 channels while the link is cut again and again: in the end they hold."""
    chance = random.Random(29)
    a = await trial.instance()
    b = await trial.instance(through_proxy=True)
    channels = [trial.channel(f"room{number}") for number in range(20)]
    confirmed: dict[str, Receipt] = {}
    loop = asyncio.get_running_loop()
    sent = 0
    for cut in range(CUTS):
        until = loop.time() + CUT_EVERY
        while loop.time() < until:
            channel = chance.choice(channels)
            if chance.random() < 0.5:
                _, confirmed[channel] = b.ask(channel)
            else:
                b.drop(channel)
            sent += 1
            a.publish(chance.choice(channels), f"{sent}")
            await asyncio.sleep(0.001)
        trial.broke(f"cut {cut}", b)
        proxy_of(trial).cut()
    # What is up now the cut before may have hit, and nobody knows yet: cut again, it goes for sure.
    await trial.up(b)
    await trial.cut(b)
    listeners = [each for channel in channels if (each := b.listener(channel))]
    await trial.all_published((confirmed[each.channel] for each in listeners), timeout=10.0)
    await settle(trial, [a], listeners)
    await broker_has(trial, [each.channel for each in listeners])
    trial.judge()


@case(30)
async def cancelled_subscribe_wait(trial: Trial) -> None:
    """Who gives up the wait for a confirmation hangs nothing; the wish stays, if it is a receipt's.

    ``subscribe`` of a broker's transport returns a receipt, and giving up the wait for it does
    not undo the wish. Of another awaitable only that is asked which must hold anyway: the
    next subscribe works, and so does an unsubscribe after it.
    """
    a = await trial.instance()
    b = await trial.instance(through_proxy=trial.rig.proxy is not None)
    for turns in range(12):
        await _give_up(trial, a, b, trial.channel(f"up{turns}"), turns)
    if trial.rig.proxy is None or not b.tells_state:
        return
    await disconnect(trial, b)
    rooms = [trial.channel(f"down{turns}") for turns in range(5)]
    waits = [_begin_to_wait(b, room) for room in rooms]
    for turns, (task, _, _) in enumerate(waits):
        await _cancelled(task, turns)
    await reconnect(trial, b)
    for room, (_, heard, stays) in zip(rooms, waits, strict=True):
        await _works(trial, a, b, room, heard, stays=stays)


async def _give_up(trial: Trial, a: Instance, b: Instance, room: str, turns: int) -> None:
    task, heard, stays = _begin_to_wait(b, room)
    await _cancelled(task, turns)
    await _works(trial, a, b, room, heard, stays=stays)


def _begin_to_wait(b: Instance, room: str) -> tuple[asyncio.Task[None], list[str], bool]:
    heard: list[str] = []
    returned = b.transport.subscribe(room, heard.append)
    # A coroutine is the task itself: one that is cancelled before it begins awaits nothing.
    waiting = returned if inspect.iscoroutine(returned) else _wait(returned)
    return asyncio.create_task(waiting), heard, isinstance(returned, Receipt)


async def _wait(returned: Awaitable[None] | None) -> None:
    if returned is not None:
        await returned


async def _cancelled(task: asyncio.Task[None], turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def _works(
    trial: Trial, a: Instance, b: Instance, room: str, heard: list[str], *, stays: bool
) -> None:
    """Whether ``room`` is heard, again by itself if the wish ``stays``, until unsubscribed."""
    if not stays:
        await trial.finished(lambda: b.transport.subscribe(room, heard.append))
    loop = asyncio.get_running_loop()
    until = loop.time() + trial.allowed(trial.rig.patience)
    sent = 0
    while not heard:
        trial.check(loop.time() < until, "a wish is gone with the wait for it")
        sent += 1
        await a.say(room, f"{room} {sent}")
        await trial.comes(partial(bool, heard), "a message", timeout=0.05)
    await trial.finished(lambda: b.transport.unsubscribe(room))
    count = len(heard)
    await a.say(room, f"{room} after the end")
    mark = await b.listen(trial.channel(f"mark of {room}"))
    await settle(trial, [a], [mark])
    trial.check(len(heard) == count, "it is heard after unsubscribe")


@case(31, deadline=60.0)
async def ten_thousand_channels(trial: Trial) -> None:
    """10,000 channels are subscribed within 5 s, heard, cheap, and unsubscribed within 5 s."""
    a, b = await trial.several(2)
    heard: list[str] = []
    channels = [trial.channel(f"room{number}") for number in range(MANY)]
    took = await _timed(_subscribe_all(b, channels, heard))
    trial.check(took < trial.allowed(SCALE_SECONDS), f"{MANY} subscriptions took {took:.1f} s")
    await _one_message_each(trial, a, channels, heard)
    more = [trial.channel(f"more{number}") for number in range(MANY // 10)]
    gc.collect()
    tracemalloc.start()
    try:
        await _subscribe_all(b, more, heard)
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    each = size / len(more)
    trial.check(each < CHANNEL_BYTES, f"a subscription costs {each:.0f} bytes")
    took = await _timed(_unsubscribe_all(trial, b, [*channels, *more]))
    trial.check(took < trial.allowed(SCALE_SECONDS), f"{MANY} unsubscribes took {took:.1f} s")


@case(32, needs=("broker", "state"), deadline=60.0)
async def ten_thousand_channels_survive_a_restart(trial: Trial) -> None:
    """Within 5 s after the broker's return 10,000 channels are heard again."""
    broker = broker_of(trial)
    a, b = await trial.several(2)
    heard: list[str] = []
    channels = [trial.channel(f"room{number}") for number in range(MANY)]
    await _subscribe_all(b, channels, heard)
    async with noticed(trial, a, b):
        trial.broke("the broker was killed")
        await broker.kill()
    await broker.start()
    took = await _timed(trial.up(b))
    limit = trial.allowed(SCALE_SECONDS)
    trial.check(took < limit, f"{MANY} channels took {took:.1f} s to be restored")
    await trial.up(a)
    await _one_message_each(trial, a, channels, heard)


async def _timed(awaitable: Awaitable[object]) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await awaitable
    return loop.time() - began


async def _subscribe_all(b: Instance, channels: Sequence[str], heard: list[str]) -> None:
    returned = await _in_batches(
        channels, lambda channel: b.transport.subscribe(channel, heard.append)
    )
    for each in returned:
        if each is not None:
            await each


async def _unsubscribe_all(trial: Trial, b: Instance, channels: Sequence[str]) -> None:
    for each in await _in_batches(channels, b.transport.unsubscribe):
        if each is not None:
            await each
    await broker_has(trial, [])


async def _one_message_each(
    trial: Trial, a: Instance, channels: Sequence[str], heard: list[str]
) -> None:
    """Say each channel's own name on it, which is to be heard once."""
    heard.clear()
    for start in range(0, len(channels), MANY // 10):
        part = channels[start : start + MANY // 10]
        for each in await _in_batches(part, lambda channel: a.transport.publish(channel, channel)):
            if each is not None:
                await each
    await trial.comes(lambda: len(heard) >= len(channels), "a message on each channel")
    missing, more = set(channels) - set(heard), len(heard) - len(set(heard))
    trial.check(not missing and not more, f"{len(missing)} are missing, {more} came twice")


async def _in_batches(
    channels: Sequence[str], call: Callable[[str], Awaitable[None] | None]
) -> list[Awaitable[None] | None]:
    returned: list[Awaitable[None] | None] = []
    for number, channel in enumerate(channels):
        returned.append(call(channel))
        if number % BATCH == BATCH - 1:
            await asyncio.sleep(0)
    return returned
