"""A result file as SVG: a panel for each scenario, a bar for each server with its spread."""

from __future__ import annotations

from html import escape
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.harness.contenders import HANDLER_KINDS
from benchmarks.harness.scenarios import LOADS, SCENARIOS, Scenario

if TYPE_CHECKING:
    from benchmarks.harness.results import Results

__all__ = ["chart"]

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
    panels: list[str] = []
    top = float(MARGIN)
    for name in LOADS:
        scenario = SCENARIOS[name]
        servers = _shown(results, name)
        if not servers or scenario.demand:
            continue
        panels.append(_panel(results, scenario, servers, top))
        top += HEAD + ROW * len(servers) + MARGIN
    size = f"width='{WIDTH}' height='{top:g}' viewBox='0 0 {WIDTH} {top:g}'"
    # Its own ground, so that it can be read on a dark page too.
    ground = f"<rect width='{WIDTH}' height='{top:g}' rx='8' fill='#ffffff'/>"
    title = "<title>Deliveries and replies a second, by scenario and server</title>"
    body = "\n".join([title, ground, *panels])
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


def _panel(results: Results, scenario: Scenario, servers: list[str], top: float) -> str:
    rates = {
        server: [load.rate for load in results.loads(server, scenario.name)] for server in servers
    }
    longest = max(max(each) for each in rates.values()) or 1
    parts = [
        _text(MARGIN, top + 18, scenario.title, INK, size=15, weight=600),
        _text(MARGIN, top + 34, f"{scenario.unit} a second; median, lowest and highest", FAINT),
    ]
    ranked = sorted(servers, key=lambda server: median(rates[server]), reverse=True)
    for index, server in enumerate(ranked):
        parts.append(_bar(server, rates[server], longest, top + HEAD + index * ROW))
    return "\n".join(parts)


def _bar(server: str, rates: list[float], longest: float, y: float) -> str:
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
            _text(max(high, end) + 8, center + 4, f"{value:,.0f}", INK),
        ]
    )


def _colour(server: str) -> str:
    if server.startswith("wsrooms"):
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
