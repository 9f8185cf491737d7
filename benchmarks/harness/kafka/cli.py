"""The command line: how long it is measured, and what is made of the figures."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import TYPE_CHECKING

from benchmarks.harness.choosing import skipped
from benchmarks.harness.costing import Costing, Tell
from benchmarks.harness.fleet.brokers import BROKERS
from benchmarks.harness.kafka.measure import EVERYWHERE, Measure
from benchmarks.harness.kafka.report import publish, summary
from benchmarks.harness.kafka.results import KafkaCosts
from benchmarks.harness.machine import CannotMeasure, describe
from benchmarks.harness.transports.cli import versions_of, why_not
from benchmarks.harness.transports.subjects import LIBRARIES, OURS

if TYPE_CHECKING:
    import argparse

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Measure or report; returns the exit status: 2 if nothing could be done."""
    return Costing(
        name="kafka",
        about="Measures what only Kafka asks: what its settings do to latency and to idling, and "
        "what an instance takes that wants nothing of what others say.",
        file=KafkaCosts,
        add_options=_add_options,
        prepare=_prepare,
        measure=_measure,
        summary=summary,
        publish=publish,
    ).main(arguments)


def _add_options(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option("--reps", type=int, default=1, help="repetitions (1)")
    option("--secs", type=float, default=4, help="seconds of one window (4)")


def _prepare(options: argparse.Namespace) -> KafkaCosts:
    missing = skipped(OURS, why_not)
    if "kafka" in missing:
        raise CannotMeasure("without Kafka there is nothing to measure")
    able = [kind for kind in OURS if kind not in missing]
    return KafkaCosts(
        when=f"{datetime.now():%Y-%m-%d %H:%M}",
        machine=describe(),
        versions=versions_of([name for kind in able for name in (OURS[kind], LIBRARIES[kind])]),
        skipped=missing,
        ways=[],
        speeds=[],
        idles=[],
        others=[],
    )


def _measure(options: argparse.Namespace, costs: KafkaCosts, tell: Tell) -> None:
    with contextlib.ExitStack() as stack:
        brokers = {
            kind: stack.enter_context(BROKERS[kind](EVERYWHERE, "kafka-cost"))
            for kind in OURS
            if kind not in costs.skipped
        }
        for _ in range(options.reps):
            Measure(options.secs, brokers, costs, tell).all()
            costs.repetitions += 1
