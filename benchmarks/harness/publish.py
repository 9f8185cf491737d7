"""Puts a result file into the documentation: table, chart and the page with every figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness.chart import chart
from benchmarks.harness.details import details
from benchmarks.harness.report import summary

if TYPE_CHECKING:
    from benchmarks.harness.results import Results

__all__ = ["BEGIN", "END", "publish", "replace_between"]

ROOT = Path(__file__).resolve().parents[2]

BEGIN = "<!-- measured: begin (written by benchmarks/run.py) -->"
END = "<!-- measured: end -->"


def publish(results: Results, root: Path = ROOT) -> list[Path]:
    """Write all three; returns which files they are.

    Raises:
        ValueError: docs/performance.md has lost its markers.
    """
    page = root / "docs/performance.md"
    picture = root / "docs/assets/performance.svg"
    every = root / "benchmarks/RESULTS.md"
    text = replace_between(page.read_text("utf-8"), "\n".join(summary(results)))
    picture.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, "utf-8")
    picture.write_text(chart(results), "utf-8")
    head = ["# Every figure of the table in docs/performance.md", ""]
    head += ["Written by `python benchmarks/run.py --report FILE --write`; do not edit.", ""]
    every.write_text("\n".join([*head, *details(results)]) + "\n", "utf-8")
    return [page, picture, every]


def replace_between(text: str, inner: str) -> str:
    """``text`` with ``inner`` between its markers, in place of what was there.

    Raises:
        ValueError: It does not have them, once each and in this order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{inner}\n\n{END}{after}"
