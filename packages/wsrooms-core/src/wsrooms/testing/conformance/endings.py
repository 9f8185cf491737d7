"""Cases 53 to 56: how a transport ends, whatever it was doing."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from wsrooms.errors import TransportClosed
from wsrooms.testing.conformance.case import case
from wsrooms.testing.conformance.faults import (
    disconnect,
    known,
    noticed,
    proxy_of,
    quick,
    unwaited,
)
from wsrooms.testing.conformance.trial import CLOSE_TIMEOUT

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt
    from wsrooms.testing.conformance.instance import Instance
    from wsrooms.testing.conformance.trial import Trial

QUICK_CLOSE = 2.0
"""The ``close_timeout`` of a transport that has the option: no close may wait for it to pass."""

SLACK = 0.4
"""Seconds more that a machine may take by itself."""

RANDOM_CLOSES = 40
MEBIBYTE = 1024 * 1024
WAITING = 10
BURST = 2000
STARTS = 25
"""Turns of the loop after which a start is cancelled, at most."""


@case(53, needs=("lifecycle",), deadline=90.0)
async def close_is_clean_in_every_state(trial: Trial) -> None:
    """Whatever a transport is doing, it closes in time and leaves nothing; twice is once."""
    for state in (_new, _up, _subscribing):
        await _close_in(trial, state)
    if trial.rig.proxy is not None:
        for state in (_down, _full, _half_open, _reconnecting, _connecting_in_vain):
            await _close_in(trial, state)
            proxy_of(trial).heal()
    chance = random.Random(53)
    for _ in range(RANDOM_CLOSES):
        await _close_at_random(trial, chance)


State = Callable[["Trial", "Instance"], Awaitable[None]]


async def _close_in(trial: Trial, state: State) -> None:
    """Bring a transport into a state, and close it."""
    options: dict[str, Any] = {**quick(trial), **_quick_close(trial)}
    if state is _full:
        options |= known(trial, outbox_messages=WAITING)
    instance = trial.make(through_proxy=trial.rig.proxy is not None, **options)
    if state is not _new:
        await instance.start()
        await instance.listen(trial.channel("heard"))
    await state(trial, instance)
    await _close(trial, instance, state.__name__.strip("_").replace("_", " "))


def _quick_close(trial: Trial) -> dict[str, Any]:
    return known(trial, close_timeout=trial.allowed(QUICK_CLOSE))


async def _close(trial: Trial, instance: Instance, what: str) -> None:
    limit = known(trial, close_timeout=QUICK_CLOSE).get("close_timeout", CLOSE_TIMEOUT)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await trial.within(limit + SLACK, instance.close(), f"the end of close() of one that is {what}")
    first = loop.time() - began
    began = loop.time()
    await trial.within(limit, instance.close(), f"the end of a second close() ({what})")
    again = loop.time() - began
    told = f"{what}: closed in {first:.1f} s, and once more in {again:.1f} s"
    trial.check(again < trial.allowed(SLACK), told)


async def _new(trial: Trial, instance: Instance) -> None:
    """It was never started."""


async def _up(trial: Trial, instance: Instance) -> None:
    instance.publish(trial.channel("heard"), f"{instance.name} says something")


async def _subscribing(trial: Trial, instance: Instance) -> None:
    for number in range(50):
        instance.ask(trial.channel(f"asked{number}"))


async def _down(trial: Trial, instance: Instance) -> None:
    await disconnect(trial, instance)
    instance.ask(trial.channel("asked"))
    instance.publish(trial.channel("heard"), f"{instance.name} says it in vain")


async def _full(trial: Trial, instance: Instance) -> None:
    await disconnect(trial, instance)
    for number in range(2 * WAITING):
        instance.publish(trial.channel("heard"), f"{instance.name} {number}")


async def _half_open(trial: Trial, instance: Instance) -> None:
    """Nobody has noticed yet, and there is more to send than buffers take."""
    trial.broke("half-open", instance)
    proxy_of(trial).hole()
    for number in range(16):
        payload = f"{instance.name} {number} ".ljust(MEBIBYTE // 2, "x")
        instance.publish(trial.channel("heard"), payload)
    await asyncio.sleep(0.01)  # it writes


async def _reconnecting(trial: Trial, instance: Instance) -> None:
    await disconnect(trial, instance)
    proxy_of(trial).heal()


async def _connecting_in_vain(trial: Trial, instance: Instance) -> None:
    """Its new connections are accepted, and nobody answers."""
    async with noticed(trial, instance):
        trial.broke("cut, and half-open", instance)
        proxy_of(trial).cut()
        proxy_of(trial).hole()
    await asyncio.sleep(0.2)  # in which it has begun to connect


async def _close_at_random(trial: Trial, chance: random.Random) -> None:
    """Close while messages pass, subscriptions change, and perhaps the link is lost."""
    through_proxy = trial.rig.proxy is not None
    instance = trial.make(through_proxy=through_proxy, **_quick_close(trial))
    await instance.start()
    for number in range(20):
        channel = trial.channel(f"{number % 5}")
        unwaited(instance.transport.subscribe(channel, _nothing))
        unwaited(instance.transport.publish(channel, f"{number}"))
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    if trial.rig.proxy is not None and chance.random() < 0.5:
        trial.broke("cut", instance)
        proxy_of(trial).cut()
    for _ in range(chance.randrange(12)):
        await asyncio.sleep(0)
    await asyncio.sleep(chance.choice([0.0, 0.0, 0.01, 0.06]))  # until any moment of a reconnect
    await _close(trial, instance, "closed at random")


def _nothing(_: str) -> None:
    """The handler of one that is not asked what it heard."""


@case(54, needs=("lifecycle",), deadline=45.0)
async def calls_after_close_raise_transport_closed(trial: Trial) -> None:
    """After close, and before start, calls raise ``TransportClosed``; what waited fails with it."""
    new = trial.make()
    if new.tells_state:  # without a broker there may be nothing that has to be started
        await _all_closed(trial, new)
    await new.close()
    await _all_closed(trial, new)
    a = await trial.instance(through_proxy=trial.rig.proxy is not None)
    await a.listen(trial.channel("heard"))
    waiting: list[Receipt] = []
    if trial.rig.proxy is not None and a.tells_state:
        await disconnect(trial, a)
        waiting.append(a.ask(trial.channel("asked"))[1])
        waiting += [a.publish(trial.channel("heard"), f"{number}") for number in range(20)]
    await a.close()
    await trial.until(lambda: all(receipt.done for receipt in waiting), "the end of what waited")
    for receipt in waiting:
        trial.check(
            isinstance(receipt.error, TransportClosed), f"what waited ended with {receipt.error!r}"
        )
    await _all_closed(trial, a)


async def _all_closed(trial: Trial, instance: Instance) -> None:
    transport, channel = instance.transport, trial.channel("any")
    calls: list[Callable[[], object]] = [
        lambda: transport.publish(channel, "x"),
        lambda: transport.subscribe(channel, _nothing),
        lambda: transport.unsubscribe(channel),
    ]
    for call in calls[:2]:
        await trial.refused(TransportClosed, call)
    with contextlib.suppress(TransportClosed):  # it may say so too, or have nothing to do
        await trial.finished(calls[2])


@case(55, needs=("lifecycle",), deadline=45.0)
async def close_flushes_the_outbox(trial: Trial) -> None:
    """What was published before ``close()`` arrives, all of it and in order."""
    a, b = await trial.several(2)
    listener = await b.listen(trial.channel())
    receipts: list[Receipt] = []
    for number in range(BURST):
        receipts.append(a.publish(listener.channel, f"{number}"))
        if number % 100 == 99 and number < BURST - 100:
            await asyncio.sleep(0)
    await a.close()
    trial.check(all(receipt.done for receipt in receipts), "close() has not waited for all")
    await trial.heard(listener, BURST)
    trial.judge()
    failed = [receipt.error for receipt in receipts if receipt.error is not None]
    trial.check(not failed, f"{len(failed)} were not published: {failed[:3]}")
    expected = [f"{number}" for number in range(BURST)]
    trial.check(listener.received == expected, f"{len(listener.received)} of {BURST} arrived")


@case(56, needs=("lifecycle",), deadline=60.0)
async def cancelling_start_leaves_nothing(trial: Trial) -> None:
    """A start that is cancelled, at whatever moment, leaves nothing; the next one works."""
    tasks = asyncio.all_tasks()
    through_proxy = trial.rig.proxy is not None
    for turns in range(STARTS):
        await _cancel_start(trial, trial.make(through_proxy=through_proxy), turns)
    if trial.rig.proxy is not None:
        trial.broke("half-open")
        trial.rig.proxy.hole()
        silent = trial.make(through_proxy=True)
        await _cancel_start(trial, silent, 50)
        trial.rig.proxy.heal()
        await silent.start()
        await silent.close()
    left = [task for task in asyncio.all_tasks() - tasks if not task.done()]
    trial.check(not left, f"a cancelled start has left {left}")
    last = trial.instances[STARTS - 1]
    await last.start()
    a = await trial.instance()
    listener = await last.listen(trial.channel())
    await a.say(listener.channel, "hello")
    await trial.heard(listener, 1)
    trial.judge()


async def _cancel_start(trial: Trial, instance: Instance, turns: int) -> None:
    task = asyncio.create_task(instance.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await trial.within(CLOSE_TIMEOUT, asyncio.wait([task]), "the end of a cancelled start")
    if not task.cancelled() and task.exception() is None:
        await instance.close()  # it was already up
