"""Puts a result file into the documentation: tables, chart and the page with every figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness.chart import chart
from benchmarks.harness.details import details
from benchmarks.harness.fleet.report import details as fleet_details
from benchmarks.harness.fleet.report import summary as fleet_summary
from benchmarks.harness.report import summary

if TYPE_CHECKING:
    from benchmarks.harness.results import Results

__all__ = ["publish", "replace_between"]

ROOT = Path(__file__).resolve().parents[2]


def publish(results: Results, root: Path = ROOT) -> list[Path]:
    """Write all that belongs to them; returns which files these are.

    Raises:
        ValueError: docs/performance.md has lost its markers.
    """
    page = root / "docs/performance.md"
    text = page.read_text("utf-8")
    head = ["Written by `python benchmarks/run.py --report FILE --write`; do not edit.", ""]
    if results.fleet:
        every = root / "benchmarks/FLEETS.md"
        page.write_text(replace_between(text, "\n".join(fleet_summary(results)), "fleets"), "utf-8")
        head = ["# Every figure of the fleets in docs/performance.md", "", *head]
        every.write_text("\n".join([*head, *fleet_details(results)]) + "\n", "utf-8")
        return [page, every]
    picture = root / "docs/assets/performance.svg"
    every = root / "benchmarks/RESULTS.md"
    text = replace_between(text, "\n".join(summary(results)), "measured")
    picture.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, "utf-8")
    picture.write_text(chart(results), "utf-8")
    head = ["# Every figure of the table in docs/performance.md", "", *head]
    every.write_text("\n".join([*head, *details(results)]) + "\n", "utf-8")
    return [page, picture, every]


def replace_between(text: str, inner: str, name: str, program: str = "run.py") -> str:
    """``text`` with ``inner`` between its markers of this name, in place of what was there.

    Raises:
        ValueError: It does not have them, once each and in this order.
    """
    first = f"<!-- {name}: begin (written by benchmarks/{program}) -->"
    last = f"<!-- {name}: end -->"
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {first!r} and {last!r}")
    return f"{before}{first}\n\n{inner}\n\n{last}{after}"
