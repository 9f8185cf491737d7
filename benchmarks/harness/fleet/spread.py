"""The same clients and messages, spread over one, two or four instances."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from benchmarks.harness.fleet.scenarios import SPREAD, SPREAD_RATE
from benchmarks.harness.measure import loaded
from benchmarks.harness.wsload import wsload

if TYPE_CHECKING:
    from benchmarks.harness.contenders import Contender
    from benchmarks.harness.fleet.processes import Fleet
    from benchmarks.harness.machine import Cores
    from benchmarks.harness.results import Load
    from benchmarks.harness.server import Process

__all__ = ["spread"]


def spread(
    contender: Contender, fleet: Fleet, cores: Cores, count: int, *, seconds: float, warm: float
) -> tuple[Load, Load]:
    """A window at a fixed rate, and one with as much as goes through, on ``count`` instances.

    They are a fleet of their own on the broker of ``fleet``, and run wherever the kernel puts
    them; the broker and the load have a core.

    Raises:
        Failed: There are no figures.
    """
    namespace = f"spread-{count}"
    with contextlib.ExitStack() as stack:
        instances = [
            stack.enter_context(fleet.another(number, pinned=False, namespace=namespace))
            for number in range(1, count + 1)
        ]
        programs: list[Process] = [*instances, *([fleet.broker] if fleet.broker.pid else [])]
        words = [SPREAD[0], "--port", str(instances[0].port)]
        for instance in instances[1:]:
            words += ["--also", str(instance.port)]
        for program in programs:
            words += ["--pid", str(program.pid)]
        words += [*SPREAD[1:], "--warm", str(warm), "--secs", str(seconds), "--drain", "3"]

        def load(*more: str) -> Load:
            return loaded(wsload(cores, *words, *more, *contender.dialect.arguments("fan")))

        return load("--rate", str(SPREAD_RATE)), load("--burst", "1")
