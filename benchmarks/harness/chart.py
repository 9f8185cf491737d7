"""Figures as SVG: a panel for each thing that was measured, a bar for each server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.harness.contenders import HANDLER_KINDS
from benchmarks.harness.fleet.brokers import ALL
from benchmarks.harness.scenarios import LOADS, SCENARIOS

if TYPE_CHECKING:
    from benchmarks.harness.results import Results

__all__ = ["Panel", "chart", "picture"]

Panel = tuple[str, str, Mapping[str, Sequence[float]]]
"""A title, a unit, and the figures of each server in the order of its bars."""

TRANSPORTS = [broker.title for broker in ALL.values()]

WIDTH = 760
LABELS = 150  # where the bars begin
BARS = 440  # the length of the longest whisker
ROW = 22
HEAD = 46
MARGIN = 20

OURS = "#2f6fde"
LIMIT = "#b9bec9"
OTHERS = "#e2984a"
INK = "#1f2430"
FAINT = "#6b7280"
FONT = "font-family='system-ui, sans-serif'"


def chart(results: Results) -> str:
    """The picture.

    Scenarios with a fixed rate, whose bars would be alike, are left out, and so are what tables
    show better: our handlers of other kinds, and the slower of two settings of one peer.
    """
    panels: list[Panel] = []
    for name in LOADS:
        scenario = SCENARIOS[name]
        rates = {
            server: [load.rate for load in results.loads(server, name)]
            for server in _shown(results, name)
        }
        if rates and not scenario.demand:
            ranked = sorted(rates, key=lambda server: median(rates[server]), reverse=True)
            unit = f"{scenario.unit} a second; median, lowest and highest"
            panels.append((scenario.title, unit, {server: rates[server] for server in ranked}))
    return picture("Deliveries and replies a second, by scenario and server", panels)


def picture(title: str, panels: Sequence[Panel]) -> str:
    """Panels below each other, in each a bar as long as the median, with its spread."""
    drawn: list[str] = []
    top = float(MARGIN)
    for panel in panels:
        drawn.append(_panel(*panel, top))
        top += HEAD + ROW * len(panel[2]) + MARGIN
    size = f"width='{WIDTH}' height='{top:g}' viewBox='0 0 {WIDTH} {top:g}'"
    # Its own ground, so that it can be read on a dark page too.
    ground = f"<rect width='{WIDTH}' height='{top:g}' rx='8' fill='#ffffff'/>"
    body = "\n".join([f"<title>{escape(title)}</title>", ground, *drawn])
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size} {FONT} role='img'>\n{body}\n</svg>\n"


def _shown(results: Results, scenario: str) -> list[str]:
    servers = [server for server in results.servers() if results.loads(server, scenario)]
    kinds = tuple(filter(None, HANDLER_KINDS))
    plain = [server for server in servers if not server.endswith(kinds)]
    best: dict[str, str] = {}
    for server in plain:
        family = "limit" if server.startswith("limit") else server
        family = "centrifuge" if server.startswith("centrifuge") else family
        rival = best.get(family)
        if rival is None or _median(results, server, scenario) > _median(results, rival, scenario):
            best[family] = server
    return list(best.values())


def _median(results: Results, server: str, scenario: str) -> float:
    return median(load.rate for load in results.loads(server, scenario))


def _panel(title: str, unit: str, figures: Mapping[str, Sequence[float]], top: float) -> str:
    longest = max(max(each) for each in figures.values()) or 1
    parts = [
        _text(MARGIN, top + 18, title, INK, size=15, weight=600),
        _text(MARGIN, top + 34, unit, FAINT),
    ]
    for index, (server, values) in enumerate(figures.items()):
        parts.append(_bar(server, values, longest, top + HEAD + index * ROW))
    return "\n".join(parts)


def _bar(server: str, rates: Sequence[float], longest: float, y: float) -> str:
    value = median(rates)
    low, end, high = (LABELS + MARGIN + BARS * x / longest for x in (min(rates), value, max(rates)))
    left = LABELS + MARGIN
    center = y + ROW / 2 - 2
    return "\n".join(
        [
            _text(left - 8, center + 4, server, INK, anchor="end"),
            f"<rect x='{left}' y='{y:g}' width='{max(end - left, 1):.1f}' height='{ROW - 6}' "
            f"rx='2' fill='{_colour(server)}'/>",
            f"<path d='M{low:.1f} {center:g}H{high:.1f}M{low:.1f} {center - 3:g}v6M{high:.1f} "
            f"{center - 3:g}v6' stroke='{INK}' fill='none'/>",
            _text(max(high, end) + 8, center + 4, _figure(value), INK),
        ]
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.2f}"


def _colour(server: str) -> str:
    if server.startswith("wsrooms") or server in TRANSPORTS:
        return OURS
    return LIMIT if server.startswith("limit") else OTHERS


def _text(
    x: float,
    y: float,
    text: str,
    fill: str,
    *,
    size: int = 12,
    weight: int = 400,
    anchor: str = "start",
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' font-weight='{weight}' fill='{fill}' "
        f"text-anchor='{anchor}'>{escape(text)}</text>"
    )
