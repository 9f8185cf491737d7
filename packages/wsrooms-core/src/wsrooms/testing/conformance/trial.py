"""One run of a case: its instances and listeners, what they saw, and waiting with deadlines.

An instance is a transport. A listener is what one subscription calls. Both write down
what happens in a ``History``, which judges loss, order and duplicates.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from wsrooms.testing.conformance.instance import Instance, Listener
from wsrooms.testing.conformance.rig import NotApplicable, Rig
from wsrooms.testing.history.history import History
from wsrooms.transports import room_channel

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from wsrooms.receipt import Receipt
    from wsrooms.testing.conformance.watch import Watch
    from wsrooms.transports import WsBroadcastTransport

__all__ = ["ConformanceFailed", "Trial"]

TICK = 0.01
"""Seconds after which a condition is looked at again that no event tells of."""

HEALED = 10.0
"""Seconds in which a transport is up after its broker has returned."""

CLOSE_TIMEOUT = 5.0
"""Seconds in which every close must have ended."""

T = TypeVar("T")


class ConformanceFailed(AssertionError):
    """A transport does not keep the contract.

    Attributes:
        case: The name of the case that shows it.
        told: What happened.
    """

    def __init__(self, case: str, told: str) -> None:
        self.case = case
        self.told = told
        super().__init__(f"{case}: {told}")


class Trial:
    """What a case works with.

    Attributes:
        rig: Whose transports are tried.
        history: What happened so far.
        instances: All that were made, in order.
        problems: What was found wrong while it was put away.
        mark: What no other run has in its names and payloads.
        waits_for: What is being waited for, for the report of a deadline.
    """

    def __init__(self, rig: Rig, case: str, watch: Watch) -> None:
        self.rig = rig
        self.history: History = History()
        self.instances: list[Instance] = []
        self.problems: list[str] = []
        self.waits_for: str = "something that it does not name"
        self._case = case
        self._watch = watch
        self.mark: str = secrets.token_hex(4)
        self._changed = asyncio.Event()

    # Who takes part

    def make(self, name: str | None = None, **options: Any) -> Instance:
        """An instance that is not started; its transport has these options.

        Raises:
            NotApplicable: The rig knows no such option.
        """
        through_proxy = options.get("through_proxy", False)
        if through_proxy and self.rig.proxy is None:
            raise NotApplicable(f"{self.rig.name}: the rig has no proxy")
        unknown = options.keys() - self.rig.options - {"through_proxy"}
        if unknown:
            raise NotApplicable(f"{self.rig.name}: no option {', '.join(sorted(unknown))}")
        return self.instance_of(self.rig.transport(**options), name)

    def instance_of(self, transport: WsBroadcastTransport, name: str | None = None) -> Instance:
        """An instance of a transport that was made elsewhere; it is closed when the case ends."""
        name = f"i{len(self.instances)}" if name is None else name
        instance = Instance(name, transport, self.rig.instance_id, self.history, self._changed.set)
        self.instances.append(instance)
        self._watch.expect_instances(len(self.instances))
        return instance

    async def instance(self, name: str | None = None, **options: Any) -> Instance:
        """An instance that is started; it is closed when the case ends."""
        instance = self.make(name, **options)
        await instance.start()
        return instance

    async def several(self, count: int, **options: Any) -> list[Instance]:
        """So many instances, started."""
        return [await self.instance(**options) for _ in range(count)]

    def channel(self, name: str = "room") -> str:
        """The channel of a room that no other run uses."""
        return room_channel(f"{self.mark}-{name}")

    # Verdicts

    def check(self, holds: object, told: str) -> None:
        """Fail, saying ``told``, unless ``holds`` is true.

        Raises:
            ConformanceFailed: It is not.
        """
        if not holds:
            raise self.failure(told)

    def failure(self, told: str) -> ConformanceFailed:
        """The error to raise."""
        return ConformanceFailed(self._case, told)

    def skip(self, reason: str) -> NoReturn:
        """End the case here, as one that says nothing about this transport.

        Raises:
            NotApplicable: Always.
        """
        raise NotApplicable(f"{self.rig.name}: {reason}")

    def judge(self) -> None:
        """Let the history judge: everything has arrived that will.

        Raises:
            HistoryViolated: Promises were broken.
        """
        self.history.settled()
        with self.excused():
            self.history.assert_ok()

    async def refused(
        self, error: type[Exception] | tuple[type[Exception], ...], call: Callable[[], object]
    ) -> Exception:
        """The error that ``call``, or what it returned, is refused with, which must be ``error``.

        Raises:
            ConformanceFailed: It was not refused, or with another error.
        """
        kinds = error if isinstance(error, tuple) else (error,)
        names = " or ".join(kind.__name__ for kind in kinds)
        try:
            await self.finished(call)
        except kinds as refusal:
            return refusal
        except Exception as other:
            told = f"{type(other).__name__} ({other}) instead of {names}"
            raise self.failure(told) from other
        raise self.failure(f"it was not refused with {names}")

    async def finished(self, call: Callable[[], object]) -> None:
        """Make a call, and wait for what it returned, if that is to be awaited.

        Raises:
            Exception: What either raises.
        """
        returned = call()
        if isinstance(returned, Awaitable):
            await self.within(self.rig.patience, returned, "the end of a call")

    # What is broken

    def broke(self, what: str, instance: Instance | None = None) -> None:
        """Write down that the link of an instance, or of all, is about to be broken.

        To be called before it is: the history goes by what came first. From then on warnings
        in the log are part of the case.
        """
        self.history.outage(None if instance is None else instance.name, what)
        self._watch.expect_logs(lambda record: record.levelno < logging.ERROR)

    async def cut(self, instance: Instance) -> None:
        """Cut the links that go through the proxy, and wait until ``instance`` is up again."""
        proxy = self.rig.proxy
        if proxy is None or not instance.tells_state:
            self.skip("there is no proxy, or nobody can tell that a transport is up again")
        known = len(instance.states)
        self.broke("cut", instance)
        proxy.cut()

        def noticed() -> bool:
            return any(state == "down" for state, _ in instance.states[known:])

        await self.until(noticed, f"{instance.name} notices that its link is cut")
        await self.up(instance)

    async def up(self, instance: Instance, *, timeout: float = HEALED) -> None:
        """Wait until ``instance`` is up, within the time that the contract gives."""
        what = f"{instance.name} is up again"
        await self.until(lambda: instance.state == "up", what, timeout=timeout)

    # Waiting

    def allowed(self, seconds: float) -> float:
        """How long something may take that takes ``seconds`` where nothing runs beside."""
        return seconds * self.rig.slowdown

    async def until(
        self, holds: Callable[[], object], what: str, *, timeout: float | None = None
    ) -> None:
        """Wait until ``holds()`` is true; ``what`` says what that is.

        Raises:
            ConformanceFailed: It is not within ``timeout``, by default the rig's patience.
        """
        if not await self.comes(holds, what, timeout=timeout):
            raise self.failure(f"not within {self._limit(timeout):g} s: {what}")

    async def comes(
        self, holds: Callable[[], object], what: str, *, timeout: float | None = None
    ) -> bool:
        """Wait likewise, and tell whether it came true."""
        self.waits_for = what
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limit(timeout)
        while not holds():
            if loop.time() >= until:
                await asyncio.sleep(0)  # what else was due by now
                return bool(holds())
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._changed.wait()
        return True

    def _limit(self, timeout: float | None) -> float:
        return self.allowed(self.rig.patience if timeout is None else timeout)

    async def within(self, seconds: float, awaitable: Awaitable[T], what: str) -> T:
        """Wait for ``awaitable``, which is ``what``.

        Raises:
            ConformanceFailed: It is not done within the ``seconds`` that are allowed.
        """
        self.waits_for = what
        limit = self.allowed(seconds)
        deadline = asyncio.timeout(limit)
        try:
            async with deadline:
                return await awaitable
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise self.failure(f"not within {limit:g} s: {what}") from error

    async def heard(self, listener: Listener, count: int, *, timeout: float | None = None) -> bool:
        """Wait until ``listener`` has received so many, and tell whether it has.

        Raises nothing, because the history tells better what is missing.
        """
        what = f"{count} messages of {listener.channel!r} at {listener.name}"
        return await self.comes(lambda: len(listener.received) >= count, what, timeout=timeout)

    async def all_published(
        self, receipts: Iterable[Receipt], *, timeout: float | None = None
    ) -> None:
        """Wait until each of ``receipts`` is done.

        Raises:
            ConformanceFailed: One failed, or is not done within the rig's patience.
        """
        receipts = list(receipts)

        def done() -> bool:
            return all(receipt.done for receipt in receipts)

        await self.until(done, f"{len(receipts)} confirmations", timeout=timeout)
        for receipt in receipts:
            await receipt

    async def flushed(self, publisher: Instance, listener: Listener) -> None:
        """Make sure that what ``publisher`` sent before has come to ``listener`` or never will.

        On a bus that keeps the order of one publisher, this message comes last.

        Raises:
            HistoryViolated: It does not come.
        """
        payload = f"flush {secrets.token_hex(4)}"
        await publisher.say(listener.channel, payload)
        told = f"the last of {publisher.name} at {listener.name}"
        if not await self.comes(lambda: payload in listener.received, told):
            self.judge()
            raise self.failure(f"not within {self._limit(None):g} s: {told}")

    # What is put up with

    def excused(self) -> AbstractContextManager[None]:
        """For a block, do not count what keeps the loop busy: it is the suite's work, or the rig's.

        Also what a transport does meanwhile, so the block is to be short.
        """
        return self._watch.excused()

    def expect_logs(self, *fragments: str) -> None:
        """Take log records with one of these texts for part of the case; without one, all."""

        def expected(record: logging.LogRecord) -> bool:
            told = record.getMessage()
            return not fragments or any(fragment in told for fragment in fragments)

        self._watch.expect_logs(expected)

    @property
    def logs(self) -> list[logging.LogRecord]:
        """What was logged at WARNING or above so far, by anybody."""
        return self._watch.logs

    # The end

    async def end(self) -> None:
        """Close every instance."""
        for instance in reversed(self.instances):
            limit = self.allowed(CLOSE_TIMEOUT)
            try:
                async with asyncio.timeout(limit + 1.0):
                    await instance.close()
            except TimeoutError:
                self.problems.append(f"{instance.name} did not close in {limit:g} s")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                self.problems.append(f"closing {instance.name} failed: {error!r}")
