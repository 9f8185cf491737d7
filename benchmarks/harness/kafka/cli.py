"""The command line: how long it is measured, and what is made of the figures."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from datetime import datetime
from pathlib import Path

import msgspec

from benchmarks.harness.fleet.brokers import BROKERS
from benchmarks.harness.kafka.measure import EVERYWHERE, Measure
from benchmarks.harness.kafka.report import publish, summary
from benchmarks.harness.kafka.results import KafkaCosts
from benchmarks.harness.machine import CannotMeasure, describe, end_like_an_interrupt
from benchmarks.harness.results import MADE
from benchmarks.harness.server import Failed
from benchmarks.harness.transports.cli import versions_of, why_not
from benchmarks.harness.transports.subjects import LIBRARIES, OURS

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Measure or report; returns the exit status: 2 if nothing could be done."""
    options = _parser().parse_args(arguments)
    end_like_an_interrupt()
    try:
        costs = _measure(options) if options.report is None else KafkaCosts.read(options.report)
        print("\n".join(["", *summary(costs)]))
        if options.write:
            print(f"wrote {publish(costs).name}")
    except (CannotMeasure, Failed, msgspec.MsgspecError, ValueError, OSError) as error:
        print(f"wsrooms: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/kafka_cost.py",
        description="Measures what only Kafka asks: what its settings do to latency and to "
        "idling, and what an instance takes that wants nothing of what others say.",
    )
    option = parser.add_argument
    option("--reps", type=int, default=1, help="repetitions (1)")
    option("--secs", type=float, default=4, help="seconds of one window (4)")
    option("--out", type=Path, default=MADE / "kafka.json", help="the result file")
    option("--report", metavar="FILE", type=Path, help="measure nothing, show this result file")
    option("--write", action="store_true", help="renew the tables in docs/")
    return parser


def _measure(options: argparse.Namespace) -> KafkaCosts:
    skipped = {kind: reason for kind, name in OURS.items() if (reason := why_not(name))}
    for kind, reason in skipped.items():
        print(f"wsrooms: {kind} is skipped: {reason}")
    if "kafka" in skipped:
        raise CannotMeasure("without Kafka there is nothing to measure")
    able = [kind for kind in OURS if kind not in skipped]
    costs = KafkaCosts(
        when=f"{datetime.now():%Y-%m-%d %H:%M}",
        machine=describe(),
        versions=versions_of([name for kind in able for name in (OURS[kind], LIBRARIES[kind])]),
        skipped=skipped,
        ways=[],
        speeds=[],
        idles=[],
        others=[],
    )
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    try:
        with contextlib.ExitStack() as stack:
            brokers = {
                kind: stack.enter_context(BROKERS[kind](EVERYWHERE, "kafka-cost")) for kind in able
            }
            for _ in range(options.reps):
                Measure(options.secs, brokers, costs, tell).all()
                costs.repetitions += 1
    finally:
        costs.save(options.out)
        print(f"wsrooms: every figure is in {options.out}")
    return costs
