"""The side of pytest: which tests are a column's, and a line for each as soon as it has ended.

``-p tests.matrix.plugin`` with one of these:

``--matrix-list FILE``                  writes whose each collected test is, and no more
``--matrix-bus NAME --matrix-notes FILE``  takes that transport's tests, but those in FILE

A line that was written is kept, however the run ends: the next one goes on behind it.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

__all__ = ["Whose", "whose"]

SUITE = "suite"
"""What the name of a scenario begins with that is a case of the conformance suite."""


class Whose(NamedTuple):
    """A test, as the matrix sees it.

    Attributes:
        bus: The transport that it is about.
        scenario: What it shows, by a name that is the same for every transport.
    """

    bus: str
    scenario: str


def whose(item: pytest.Function) -> Whose:
    """Of each test that a column may have.

    Raises:
        UsageError: It cannot be told.
    """
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    stem = item.path.stem
    if "case" in parameters:
        return Whose(stem.removeprefix("test_"), f"{SUITE}::{parameters['case']}")
    from tests.integration.buses import BUSES

    names = {bus.name for bus in BUSES}
    bus = parameters["bus"].name if "bus" in parameters else stem.rpartition("_")[2]
    if bus not in names:
        raise pytest.UsageError(
            f"{item.nodeid}: on which transport? It takes `bus`, or its file's name ends with one"
        )
    rest = item.callspec.id.removeprefix(bus).removeprefix("-") if parameters else ""
    return Whose(bus, f"{stem}::{item.originalname}" + (f"[{rest}]" if rest else ""))


def by_file(scenario: str) -> tuple[bool, str]:
    """A key that sorts the suite before all else, and files by their names."""
    stem = scenario.partition("::")[0]
    return stem != SUITE, stem


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("matrix")
    group.addoption("--matrix-list", type=Path, help="write whose each test is")
    group.addoption("--matrix-bus", help="take the tests of this transport")
    group.addoption("--matrix-notes", type=Path, help="where each result is written")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--matrix-list"):
        config.pluginmanager.register(Lister(path), "matrix list")
    elif path := config.getoption("--matrix-notes"):
        taker = Taker(str(config.getoption("--matrix-bus")), path)
        config.pluginmanager.register(taker, "matrix notes")


class Lister:
    """Writes whose each test is."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        found = [whose(item) for item in session.items if isinstance(item, pytest.Function)]
        self._path.write_text(json.dumps(found), "utf-8")


class Taker:
    """Takes the tests of one transport that are not noted yet, and notes each."""

    def __init__(self, bus: str, path: Path) -> None:
        self._bus = bus
        self._path = path
        self._scenarios: dict[str, str] = {}
        self._reports: list[pytest.TestReport] = []
        self._rows = 0

    @pytest.hookimpl(trylast=True)  # after what -k has left
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        told = {
            item: whose(item).scenario
            for item in items
            if isinstance(item, pytest.Function) and whose(item).bus == self._bus
        }
        assert len(set(told.values())) == len(told), "two tests are the same scenario"
        self._scenarios = {item.nodeid: scenario for item, scenario in told.items()}
        noted = {each.get("scenario") for each in notes(self._path)}
        self._write(collected=sorted(told.values(), key=by_file))
        taken = [item for item, scenario in told.items() if scenario not in noted]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(taken)])
        items[:] = taken

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        from tests.integration.faults_table import ROWS

        self._reports = []
        self._rows = len(ROWS)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reports.append(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        from tests.integration.faults_table import ROWS

        if not any(report.when == "teardown" for report in self._reports):
            return  # it was interrupted, and is to be run again
        result, why = verdict(self._reports)
        self._write(
            scenario=self._scenarios[nodeid],
            result=result,
            why=why,
            seconds=round(sum(report.duration for report in self._reports), 2),
            counted=[dataclasses.asdict(row) for row in ROWS[self._rows :]],
        )

    def pytest_sessionfinish(self) -> None:
        from tests.brokers.record import started

        self._write(started=dict(started))

    def _write(self, **note: object) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(note) + "\n")


def notes(path: Path) -> list[dict[str, Any]]:
    """What was noted; without a last line that was cut off."""
    *lines, _ = path.read_text("utf-8").split("\n") if path.exists() else [""]
    return [json.loads(line) for line in lines]


def verdict(reports: list[pytest.TestReport]) -> tuple[str, str]:
    """How a test ended, by the reports of its phases, and why."""
    from tests.brokers.record import lacking

    for report in reports:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            return "failed", first_line(crash.message if crash else str(report.longrepr))
    for report in reports:
        if hasattr(report, "wasxfail"):
            return "failed", f"as is known: {report.wasxfail}"
        if report.skipped:
            assert isinstance(report.longrepr, tuple)
            why = report.longrepr[2].removeprefix("Skipped: ")
            return ("not run" if why in lacking else "not applicable"), why
    return "passed", ""


def first_line(text: str) -> str:
    """As much of it as a table has room for."""
    return text.strip().partition("\n")[0][:200]
