"""``docs/matrix.md``, drawn from the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.matrix.columns import COLUMNS, ROOT
from tests.matrix.record import FAILED, NOT_APPLICABLE, NOT_RUN, PASSED, Entry, Run, scenarios
from tests.matrix.words import Area, anchor, groups, number, sentence

__all__ = ["PAGE", "drawn", "heading", "table"]

PAGE = ROOT / "docs/matrix.md"

LEAD = """\
---
hide:
  - toc
---

<!-- Written by `make matrix` from matrix.json. Do not edit. -->

# Matrix

Every scenario of the suites on every transport, what became of it, and what was counted.
`make matrix` runs them and writes this page and its [record](matrix.json); CI fails if a
scenario is missing here, has failed, or was run on an older transport than the repository
has. [Guarantees](guarantees.md) says which promise rests on which of them.
"""

FIGURES = {
    "sent": "sent",
    "confirmed": "confirmed",
    "refused": "refused",
    "unknown": "unknown",
    "due": "due",
    "delivered": "delivered",
    "reported": "told",
    "silent": "silent",
    "duplicated": "twice",
    "resent": "again",
    "noticed": "noticed",
    "healed": "healed",
    "answer": "answer",
}
"""Columns of a table of faults: what the record calls them, and the page."""


def heading(name: str, run: Run) -> str:
    """Of a column: the transport, and the first number of its server's version."""
    [title] = [column.title for column in COLUMNS if column.name == name]
    return f"{title} {run.version.partition('.')[0]}".rstrip()


def drawn(runs: Mapping[str, Run]) -> str:
    """The whole page."""
    parts = [LEAD, _about(runs), _counts(runs)]
    for group in groups(scenarios(runs)):
        parts += [f"## {group.title}\n", f"{group.lead}\n"]
        for area in group.areas:
            parts += [f"### {area.title}\n", *_area(area, runs)]
    return "\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _about(runs: Mapping[str, Run]) -> str:
    """What was run, on what, and the sums."""
    each = list(runs.values())
    rows = [
        ("server", [run.server or "none" for run in each]),
        ("its version", [run.version or "–" for run in each]),
        ("client library", [_versions(run.clients) for run in each]),
        ("Python", [run.python for run in each]),
        ("run on (UTC)", [run.date for run in each]),
        ("commit", [run.commit for run in each]),
        ("took", [_duration(run.seconds) for run in each]),
        ("**passed**", [str(run.count(PASSED)) for run in each]),
        ("not applicable", [str(run.count(NOT_APPLICABLE)) for run in each]),
        ("not run", [str(run.count(NOT_RUN)) for run in each]),
        ("**failed**", [str(run.count(FAILED)) for run in each]),
        ("faults", [_sum(run, None) for run in each]),
        ("messages sent around them", [_sum(run, "sent") for run in each]),
        ("deliveries due", [_sum(run, "due") for run in each]),
        ("delivered", [_sum(run, "delivered") for run in each]),
        ("not delivered, and told", [_sum(run, "reported") for run in each]),
        ("lost in silence", [_sum(run, "silent") for run in each]),
        ("delivered twice", [_sum(run, "duplicated") for run in each]),
        ("slowest to be noticed", [_most(run, "noticed") for run in each]),
        ("slowest to heal", [_most(run, "healed") for run in each]),
    ]
    head = ["", *(heading(name, run) for name, run in runs.items())]
    shown = [[name, *cells] for name, cells in rows if name != "not run" or set(cells) != {"0"}]
    return f"{table(head, shown)}\n{_where(runs)}\n"


def _where(runs: Mapping[str, Run]) -> str:
    """The machines, and where there are several, which columns are of which."""
    columns: dict[str, list[str]] = {}
    for name, run in runs.items():
        columns.setdefault(run.machine, []).append(heading(name, run))
    beside = max((run.beside for run in runs.values()), default=1)
    shared = f", up to {beside} columns at a time" if beside > 1 else ""
    if len(columns) <= 1:
        return f"On one machine: {''.join(columns)}{shared}."
    machines = "; ".join(f"{', '.join(titles)} on {machine}" for machine, titles in columns.items())
    return f"On {len(columns)} machines{shared}: {machines}."


def _versions(clients: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in clients.items()) or "–"


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _sum(run: Run, name: str | None) -> str:
    if not run.rows:
        return "–"
    return f"{sum(row[name] if name else 1 for row in run.rows):,}"


def _most(run: Run, name: str) -> str:
    values = [row[name] for row in run.rows if row.get(name) is not None]
    return f"{max(values):.2f} s" if values else "–"


def _counts(runs: Mapping[str, Run]) -> str:
    """A row for each area: how many of its scenarios passed, of those that apply."""
    rows: list[list[str]] = []
    for group in groups(scenarios(runs)):
        rows.append([f"**{group.title}**", *[""] * len(runs)])
        for area in group.areas:
            link = f"[{area.title}](#{anchor(area.scenarios[0])})"
            rows.append([link, *(_count(area, run) for run in runs.values())])
    return table(["passed, of those that apply", *(heading(*each) for each in runs.items())], rows)


def _count(area: Area, run: Run) -> str:
    there = [each for each in area.scenarios if each in run.entries]
    apply = [each for each in there if run.entries[each].result != NOT_APPLICABLE]
    return f"{run.count(PASSED, apply)} of {len(apply)}" if apply else "–"


def _area(area: Area, runs: Mapping[str, Run]) -> list[str]:
    """Its scenarios, why some are not applicable, and what was counted."""
    there = {
        name: run
        for name, run in runs.items()
        if any(each in run.entries for each in area.scenarios)
    }
    reasons: list[str] = []
    numbered = any(number(each) for each in area.scenarios)
    rows = [
        [
            *([number(each)] if numbered else []),
            f'<span id="{anchor(each)}"></span>{sentence(each)}',
            *(_cell(run.entries.get(each), reasons) for run in there.values()),
        ]
        for each in area.scenarios
    ]
    head = [*([""] if numbered else []), "", *(heading(*each) for each in there.items())]
    parts = [table(head, rows)]
    if reasons:
        parts.append("".join(f"{at}. {reason}\n" for at, reason in enumerate(reasons, 1)))
    counted = [
        [str(row["fault"]), heading(name, run), *(_figure(row.get(each)) for each in FIGURES)]
        for name, run in there.items()
        for each in area.scenarios
        if each in run.entries
        for row in run.entries[each].counted
    ]
    if counted:
        counted.sort(key=lambda row: row[0])  # the same fault on each transport
        made = table(["fault", "on", *FIGURES.values()], counted)
        indented = "".join(f"    {line}\n" for line in made.splitlines())
        parts.append(f'??? note "What was counted"\n\n{indented}')
    return parts


def _cell(entry: Entry | None, reasons: list[str]) -> str:
    if entry is None:
        return ""
    if entry.result == PASSED:
        return PASSED
    why = entry.why.replace("|", "\\|")
    if why not in reasons:
        reasons.append(why)
    shown = "–" if entry.result == NOT_APPLICABLE else f"**{entry.result}**"
    return f"{shown} ({reasons.index(why) + 1})"


def _figure(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}"
