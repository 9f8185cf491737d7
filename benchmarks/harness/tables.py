"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["Row", "table", "thousands"]

Row = Sequence[str]


def table(heads: Row, rows: Iterable[Row]) -> list[str]:
    """Its lines; what a row lacks at its end stays empty."""
    lines = [_line(heads), _line(["---"] + ["---:"] * (len(heads) - 1))]
    return lines + [_line([*row, *[""] * (len(heads) - len(row))]) for row in rows]


def thousands(value: float) -> str:
    """In thousands, with two digits at least."""
    value /= 1e3
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _line(cells: Row) -> str:
    return f"| {' | '.join(cells)} |"
