"""A whole run: every scenario on every server, several times over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from benchmarks.harness.contenders import Contender
from benchmarks.harness.results import Run
from benchmarks.harness.scenarios import Scenario
from benchmarks.harness.server import Failed

__all__ = ["Campaign", "Measures"]

QUIET = 0.12
"""A window in which others took a larger share of the server's core was disturbed."""


FRESH = ("idle", "memory", "joins", "turns", "rooms", "restart")
"""Kinds that are measured from a start, not with what other scenarios have left behind."""


class Running(Protocol):
    """What can be stopped: a server, or a fleet of them."""

    def stop(self) -> None:
        """End it."""


S = TypeVar("S", bound=Running)


class Measures(Protocol[S]):
    """What starts servers, or fleets of them, and measures them."""

    def start(self, contender: Contender) -> S:
        """Start it; it accepts."""
        ...

    def can(self, contender: Contender, scenario: Scenario) -> bool:
        """Whether it can be measured in this scenario here."""
        ...

    def measure(self, contender: Contender, scenario: Scenario, server: S, repetition: int) -> Run:
        """One measurement; a failure is one of its results."""
        ...


@dataclass
class Campaign(Generic[S]):
    """What is measured, in which order.

    All servers live through a repetition and are loaded one after another, scenario by
    scenario: what is compared was measured within seconds. Silent, they cost nothing.
    """

    bench: Measures[S]
    contenders: list[Contender]
    scenarios: list[Scenario]
    repetitions: int
    attempts: int = 1
    _running: dict[str, S] = field(default_factory=dict[str, S])
    _given_up: set[str] = field(default_factory=set[str])

    def runs(self) -> Iterator[Run]:
        """Measure; gives each result as it comes."""
        for repetition in range(self.repetitions):
            # Who comes first differs, so that nobody always follows the same one.
            turn = repetition % max(len(self.contenders), 1)
            order = self.contenders[turn:] + self.contenders[:turn]
            try:
                for scenario in self.scenarios:
                    if scenario.once and repetition:
                        continue
                    for contender in order:
                        if contender.name in self._given_up:
                            continue
                        if self.bench.can(contender, scenario):
                            yield self._measure(contender, scenario, repetition)
            finally:
                while self._running:
                    self._running.popitem()[1].stop()

    def _measure(self, contender: Contender, scenario: Scenario, repetition: int) -> Run:
        best: Run | None = None
        for _ in range(self.attempts):
            run = self._attempt(contender, scenario, repetition)
            if best is None or _disturbance(run) < _disturbance(best):
                best = run
            if _disturbance(best) <= QUIET or best.error is not None:
                break
        assert best is not None
        return best

    def _attempt(self, contender: Contender, scenario: Scenario, repetition: int) -> Run:
        name = contender.name
        if scenario.kind in FRESH:
            self._stop(name)
        if name not in self._running:
            try:
                self._running[name] = self.bench.start(contender)
            except Failed as error:
                self._given_up.add(name)
                why = str(error)
                return Run(server=name, scenario=scenario.name, repetition=repetition, error=why)
        run = self.bench.measure(contender, scenario, self._running[name], repetition)
        if run.error is not None or any(load.faults for load in run.windows()):
            self._stop(name)  # whatever it was, the next scenario is to meet a server without it
        return run

    def _stop(self, name: str) -> None:
        server = self._running.pop(name, None)
        if server is not None:
            server.stop()


def _disturbance(run: Run) -> float:
    return 0 if run.load is None else run.load.foreign
