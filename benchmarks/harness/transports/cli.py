"""The command line: which transports are measured, and what is made of the figures."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
from datetime import datetime
from typing import TYPE_CHECKING

from benchmarks.harness.choosing import chosen, skipped
from benchmarks.harness.costing import Costing, Tell
from benchmarks.harness.fleet.brokers import BROKERS
from benchmarks.harness.machine import CannotMeasure, describe, versions
from benchmarks.harness.transports.measure import measure
from benchmarks.harness.transports.report import publish, summary
from benchmarks.harness.transports.results import Cost, Costs
from benchmarks.harness.transports.subjects import LIBRARIES, MODULES, OURS, SUBJECTS

if TYPE_CHECKING:
    import argparse

__all__ = ["main", "versions_of", "why_not"]


def main(arguments: list[str] | None = None) -> int:
    """Measure or report; returns the exit status: 2 if nothing could be done."""
    return Costing(
        name="costs",
        about="Measures each transport by itself, and its broker's library alone, with a broker of "
        "its own: CPU and time of messages, and what subscriptions take.",
        file=Costs,
        add_options=_add_options,
        prepare=_prepare,
        measure=_measure,
        summary=summary,
        publish=publish,
    ).main(arguments)


def _add_options(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option("--only", metavar="A,B", default="all", help=f"of {', '.join(SUBJECTS)}")
    option("--reps", type=int, default=3, help="repetitions (3)")
    option("--rooms", type=int, default=10_000, help="subscriptions (10000)")
    option("--messages", type=int, default=20_000, help="messages of a measurement (20000)")
    option("--idle", type=float, default=3, help="seconds of doing nothing (3)")


def _prepare(options: argparse.Namespace) -> Costs:
    names = chosen(options.only, SUBJECTS, "subject")
    missing = skipped({name: name for name in names}, why_not)
    able = [name for name in names if name not in missing]
    if not able:
        raise CannotMeasure("none of these can be measured here")
    return Costs(
        when=f"{datetime.now():%Y-%m-%d %H:%M}",
        machine=describe(),
        versions=versions_of(able),
        skipped=missing,
        costs=[],
    )


def _measure(options: argparse.Namespace, costs: Costs, tell: Tell) -> None:
    names = chosen(options.only, SUBJECTS, "subject")
    able = [name for name in names if name not in costs.skipped]
    for repetition in range(options.reps):
        for name in able:
            cost = measure(
                name,
                repetition,
                rooms=options.rooms,
                messages=options.messages,
                idle=options.idle,
            )
            costs.costs.append(cost)
            tell(_line(cost))


def why_not(name: str) -> str | None:
    """Why this subject cannot be measured here; None if it can."""
    kind, _ = SUBJECTS[name]
    reason = BROKERS[kind].why_not()
    if reason is not None:
        return reason
    wanted = f"wsrooms_{kind}" if name == OURS[kind] else MODULES[kind]
    return None if importlib.util.find_spec(wanted) else f"{wanted} cannot be imported"


def versions_of(names: list[str]) -> dict[str, str]:
    """Of what is measured: nothing serves WebSockets here."""
    known = versions({})
    found: dict[str, str] = {
        each: known[each] for each in ("Python", "wsrooms-core", "commit") if each in known
    }
    for kind in {SUBJECTS[name][0]: None for name in names}:
        found.update([BROKERS[kind].version()])
        library = LIBRARIES[kind]
        for distribution in (library, kind):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found[library] = importlib.metadata.version(distribution)
                break
    return found


def _line(cost: Cost) -> str:
    """One measurement, for the eyes of who waits."""
    way = f"{cost.p50_us:.0f} µs from one to another"
    rooms = f"{cost.rooms:,} subscriptions in {cost.subscribe_s:.2f} s"
    each = f"{cost.traced_bytes / cost.rooms:,.0f} B each"
    return f"{cost.repetition + 1}  {cost.subject:14}  {way}, {rooms}, {each}"
