"""What the cases about faults have in common: to break something, to go on meanwhile, to settle."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from wsrooms.receipt import Receipt
from wsrooms.testing.conformance.rig import NotApplicable
from wsrooms.testing.conformance.trial import HEALED

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from wsrooms.testing.conformance.instance import Instance, Listener
    from wsrooms.testing.conformance.rig import BrokerControl, ProxyControl
    from wsrooms.testing.conformance.trial import Trial

__all__ = [
    "LINGER",
    "NOTICED",
    "Stream",
    "broker_has",
    "broker_of",
    "disconnect",
    "known",
    "noticed",
    "proxy_of",
    "quick",
    "reconnect",
    "settle",
    "unwaited",
]

NOTICED = 4.5
"""Seconds within which a transport has noticed that its link is dead, by the contract."""

SLACK = 0.5
"""Seconds more that a busy machine may take to show it."""

LINGER = 1.0
"""Seconds that the broker's subscription outlives the wish, by the contract."""

LOOK_AGAIN = 0.05
"""Seconds between two questions to the broker."""

QUICK: dict[str, float] = {"ping_interval": 0.5, "connect_timeout": 1.0, "confirm_timeout": 1.5}
"""Options with which a fault is noticed soon that nothing tells: what is proven does not depend
on how soon. Without such a fault they would only be times that a busy machine may exceed."""


def known(trial: Trial, **options: Any) -> dict[str, Any]:
    """Those of ``options`` that the rig knows, for what a case can do without."""
    return {name: value for name, value in options.items() if name in trial.rig.options}


def quick(trial: Trial, **options: Any) -> dict[str, Any]:
    """``options``, and those known ones with which silence is noticed soon."""
    soon = {name: trial.allowed(seconds) for name, seconds in QUICK.items()}
    return {**known(trial, **soon), **options}


def proxy_of(trial: Trial) -> ProxyControl:
    """The rig's proxy.

    Raises:
        NotApplicable: It has none.
    """
    if trial.rig.proxy is None:
        trial.skip("the rig has no proxy")
    return trial.rig.proxy


def broker_of(trial: Trial) -> BrokerControl:
    """The rig's control over the broker.

    Raises:
        NotApplicable: It has none.
    """
    if trial.rig.broker is None:
        trial.skip("the rig has no control over the broker")
    return trial.rig.broker


@asynccontextmanager
async def noticed(trial: Trial, *instances: Instance) -> AsyncIterator[None]:
    """Wait at the end of the block until each has told that it is down, as soon as promised."""
    counts = [len(instance.states) for instance in instances]
    yield
    for instance, count in zip(instances, counts, strict=True):
        await trial.until(
            _told_down(instance, count),
            f"{instance.name} notices that its link is dead",
            timeout=NOTICED + SLACK,
        )


def _told_down(instance: Instance, count: int) -> Callable[[], bool]:
    return lambda: any(state in ("down", "deaf") for state, _ in instance.states[count:])


async def disconnect(trial: Trial, *instances: Instance) -> None:
    """Take away the links of all that go through the proxy, which are ``instances``.

    They are down when this returns, and stay so until :func:`reconnect`.
    """
    proxy = proxy_of(trial)
    async with noticed(trial, *instances):
        for instance in instances:
            trial.broke("disconnected", instance)
        proxy.refuse()
        proxy.cut()


async def reconnect(trial: Trial, *instances: Instance) -> None:
    """Let the proxy serve again, and wait until ``instances`` are up."""
    proxy_of(trial).heal()
    for instance in instances:
        await trial.up(instance)


async def settle(
    trial: Trial, publishers: Sequence[Instance], listeners: Collection[Listener]
) -> None:
    """Wait until all that was published has come to ``listeners``, or never will.

    On a bus that keeps the order of one publisher, what it says now comes last.
    """
    for publisher in publishers:
        for channel in dict.fromkeys(listener.channel for listener in listeners):
            payload = f"the last of {publisher.name}, {secrets.token_hex(4)}"
            await publisher.say(channel, payload)
            own = publisher.listener(channel)  # whom the core serves itself
            for listener in listeners:
                if listener.channel == channel and listener is not own:
                    told = f"the last of {publisher.name} at {listener.name}"
                    await trial.until(partial(_has, listener, payload), told)


def _has(listener: Listener, payload: str) -> bool:
    return payload in listener.received


async def broker_has(
    trial: Trial, wished: Iterable[str], *, timeout: float = HEALED, strict: bool = False
) -> None:
    """Wait until the channels of this run that the broker knows are the ``wished`` ones.

    Where nobody can ask the broker this shows nothing, unless it is ``strict``.

    Raises:
        ConformanceFailed: They are not, within ``timeout``.
        NotApplicable: Nobody can ask, and it is strict.
    """
    expected = set(wished)
    loop = asyncio.get_running_loop()
    until = loop.time() + trial.allowed(timeout)
    while True:
        try:
            found = {name for name in await trial.rig.subscriptions() if trial.mark in name}
        except NotApplicable:
            if strict:
                raise
            return
        if found == expected:
            return
        if loop.time() > until:
            told = (
                f"{len(found - expected)} subscriptions too many at the broker "
                f"{sorted(found - expected)[:3]}, {len(expected - found)} missing "
                f"{sorted(expected - found)[:3]}"
            )
            raise trial.failure(told)
        trial.waits_for = "the broker to have the wished subscriptions"
        await asyncio.sleep(LOOK_AGAIN)


def unwaited(returned: Awaitable[None] | None) -> None:
    """Let a call of a transport take its course, whatever becomes of it."""
    if returned is not None and not isinstance(returned, Receipt):
        asyncio.ensure_future(returned).add_done_callback(_seen)


def _seen(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


class Stream:
    """Publishes one message after another while its block runs, without waiting for any.

    At the end of the block it stops, and waits until the outcome of each is known.

    Attributes:
        receipts: Of all that was published.
    """

    def __init__(
        self, trial: Trial, instance: Instance, channels: Sequence[str], *, every: float = 0.002
    ) -> None:
        self.receipts: list[Receipt] = []
        self._trial = trial
        self._instance = instance
        self._channels = channels
        self._every = every
        self._task: asyncio.Task[None] | None = None

    async def _publish(self) -> None:
        while True:
            for channel in self._channels:
                payload = f"{self._instance.name} {len(self.receipts)}"
                self.receipts.append(self._instance.publish(channel, payload))
            await asyncio.sleep(self._every)

    async def reaches(self, count: int) -> None:
        """Wait until so many have been published."""
        await self._trial.until(
            lambda: len(self.receipts) >= count, f"{count} publishes", timeout=30.0
        )

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._publish(), name=f"rig: {self._instance.name} talks")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if error is None:
            await self._trial.until(
                lambda: all(receipt.done for receipt in self.receipts),
                "the outcome of every publish",
                timeout=20.0,
            )

    @property
    def failed(self) -> list[Exception]:
        """The errors of those that were not published."""
        return [receipt.error for receipt in self.receipts if receipt.error is not None]
