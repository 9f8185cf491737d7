"""One case of the suite: its name, what it needs, and how it is run on a rig."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Literal

from wsrooms.testing.conformance.instance import innermost
from wsrooms.testing.conformance.rig import NotApplicable, Rig
from wsrooms.testing.conformance.trial import ConformanceFailed, Trial
from wsrooms.testing.conformance.watch import Watch
from wsrooms.testing.history.records import HistoryViolated
from wsrooms.transports import (
    SupportsGaps,
    SupportsLifecycle,
    SupportsMaxPayload,
    SupportsState,
    SupportsStats,
)

__all__ = ["Case", "Need", "case"]

Need = Literal[
    "proxy",
    "broker",
    "publish_raw",
    "subscriptions",
    "forget",
    "login",
    "misfit",
    "small_buffers",
    "counters",
    "max_channel",
    "address",
    "lifecycle",
    "state",
    "gaps",
    "stats",
    "max_payload",
]
"""What a case may need: something of the rig, or an optional protocol of the transport."""

METHODS = ("publish_raw", "subscriptions", "forget", "login", "misfit", "small_buffers")
"""Those that are methods of the rig, which it has if it overrides them."""

DEADLINE = 30.0
"""Seconds that a case has, unless it says otherwise."""


class Case:
    """One promise of the contract, and the test of it.

    ``str(case)`` is its name, the one in the list of the contract's cases.

    Attributes:
        number: Its number in that list.
        name: Its name.
        sentence: What holds for a transport that passes.
        needs: What the rig or the transport must have for it to be applicable.
        deadline: Seconds after which it has failed.
    """

    def __init__(
        self,
        number: int,
        function: Callable[[Trial], Awaitable[None]],
        needs: tuple[Need, ...] = (),
        deadline: float = DEADLINE,
    ) -> None:
        self.number = number
        self.name: str = getattr(function, "__name__", "case")
        self.sentence: str = inspect.cleandoc(function.__doc__ or "")
        self.needs: tuple[Need, ...] = needs
        self.deadline = deadline
        self._function = function

    async def run(self, rig: Rig) -> None:
        """Run it.

        Raises:
            NotApplicable: The rig or the transport lacks what it needs; the reason says what.
            ConformanceFailed: The transport breaks the promise, or something is left at the end.
            HistoryViolated: Messages were lost in silence, came twice or in the wrong order.
        """
        for need in self.needs:
            _check_need(rig, need)
        with Watch(rig.slowdown) as watch:
            trial = Trial(rig, self.name, watch)
            try:
                await self._run_body(trial)
            finally:
                await self._end(trial)
            problems = trial.problems
            del trial  # what its transports have left unseen shows when they are thrown away
            problems += await watch.problems()
        if problems:
            raise ConformanceFailed(self.name, "at its end:\n" + "\n".join(problems))

    async def _run_body(self, trial: Trial) -> None:
        limit = trial.allowed(self.deadline)
        deadline = asyncio.timeout(limit)
        try:
            async with deadline:
                await self._function(trial)
        except (NotApplicable, ConformanceFailed, HistoryViolated):
            raise
        except TimeoutError as error:
            if not deadline.expired():
                raise ConformanceFailed(self.name, f"{type(error).__name__}: {error}") from error
            told = f"it did not end within {limit:g} s; it waited for {trial.waits_for}"
            raise ConformanceFailed(self.name, told) from error
        except Exception as error:
            raise ConformanceFailed(self.name, f"{type(error).__name__}: {error}") from error

    async def _end(self, trial: Trial) -> None:
        try:
            await trial.rig.repair()
        finally:
            await trial.end()

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Case {self.number} {self.name}>"


def case(
    number: int, *, needs: tuple[Need, ...] = (), deadline: float = DEADLINE
) -> Callable[[Callable[[Trial], Awaitable[None]]], Case]:
    """Make a case of a function; its name is the case's, its docstring tells what holds."""

    def made(function: Callable[[Trial], Awaitable[None]]) -> Case:
        return Case(number, function, needs, deadline)

    return made


def _check_need(rig: Rig, need: Need) -> None:
    """Look whether ``need`` is there.

    Raises:
        NotApplicable: It is not.
    """
    told = f"{rig.name}: the rig has no {need}"
    if need in ("proxy", "broker", "counters", "max_channel", "address"):
        if getattr(rig, need) is None:
            raise NotApplicable(told)
    elif need in METHODS:
        if getattr(type(rig), need) is getattr(Rig, need):
            raise NotApplicable(told)
    elif not _has(rig, need):
        raise NotApplicable(f"{rig.name}: the transport has no {need}")


def _has(rig: Rig, need: Need) -> bool:
    """Whether the transports of the rig have an optional protocol."""
    specimen = rig.transport()
    carrier = innermost(specimen)
    match need:
        case "lifecycle":
            return isinstance(carrier, SupportsLifecycle)
        case "state":
            return isinstance(carrier, SupportsState)
        case "max_payload":
            return isinstance(carrier, SupportsMaxPayload)
        case "gaps":
            return isinstance(specimen, SupportsGaps)
        case "stats":
            return isinstance(specimen, SupportsStats)
        case _:
            return True
