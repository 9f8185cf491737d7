"""Puts a result file into the documentation: tables, chart and the page with every figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness.chart import chart
from benchmarks.harness.details import details
from benchmarks.harness.figures import conditions
from benchmarks.harness.fleet import transports
from benchmarks.harness.fleet.report import details as fleet_details
from benchmarks.harness.fleet.report import summary as fleet_summary
from benchmarks.harness.many import write
from benchmarks.harness.markers import with_parts
from benchmarks.harness.report import summary
from benchmarks.harness.results import ROOT
from benchmarks.harness.sizing.figures import all_prices
from benchmarks.harness.sizing.model import Fleet, Machines
from benchmarks.harness.sizing.report import assumed, checked, sized

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness.results import Results

__all__ = ["RECORD", "pages", "publish", "summaries"]

RECORD = ROOT / "benchmarks/transports.json"
"""What the pages about all transports show, and what fleets are calculated from."""

SIZED = Fleet(instances=100, clients=10_000)
"""What docs/sizing.md is about."""


def summaries(results: Results) -> list[str]:
    """What a reader of the terminal is told of them."""
    tell = {"server": summary, "fleet": fleet_summary, "transports": transports.summary}
    return tell[results.what](results)


def publish(results: Results, root: Path = ROOT) -> list[Path]:
    """Write all that belongs to them; returns which files these are.

    Raises:
        ValueError: A page has lost its markers, or there are figures missing.
    """
    return write(pages(results, root), root)


def pages(results: Results, root: Path = ROOT) -> dict[Path, str]:
    """All files that show them, as they are to be.

    Raises:
        ValueError: A page has lost its markers, or there are figures missing.
    """
    if results.what == "transports":
        return _of_transports(results, root)
    head = ["Written by `python benchmarks/run.py --report FILE --write`; do not edit.", ""]
    if results.what == "fleet":
        page = root / "docs/performance-fleets.md"
        head = ["# Every figure of the fleets in docs/performance-fleets.md", "", *head]
        return {
            page: with_parts(page, fleets=fleet_summary(results)),
            root / "benchmarks/FLEETS.md": _lines([*head, *fleet_details(results)]),
        }
    page = root / "docs/performance.md"
    head = ["# Every figure of the table in docs/performance.md", "", *head]
    return {
        page: with_parts(page, measured=summary(results)),
        root / "docs/assets/performance.svg": chart(results),
        root / "benchmarks/RESULTS.md": _lines([*head, *details(results)]),
    }


def _of_transports(results: Results, root: Path) -> dict[Path, str]:
    page, sizing = root / "docs/transports/figures.md", root / "docs/sizing.md"
    where = conditions(results)
    prices, machines = all_prices(results), Machines()
    return {
        page: with_parts(
            page,
            transports=[where, "", *transports.side_by_side(results)],
            instances=transports.instances(results),
        ),
        root / "docs/assets/transports.svg": transports.chart(results),
        sizing: with_parts(
            sizing,
            checked=[where, "", *checked(results, prices)],
            sized=[assumed(SIZED, machines), "", *sized(prices, SIZED, machines)],
        ),
        root / RECORD.relative_to(ROOT): results.as_json(),
    }


def _lines(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
