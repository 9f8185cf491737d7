"""Scenarios in plain words: those of the suite have a sentence, the names of tests are one."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from tests.matrix.columns import INTEGRATION, ROOT
from tests.matrix.plugin import SUITE
from wsrooms.testing.conformance import Case, cases

__all__ = ["Area", "Group", "anchor", "groups", "sentence"]

FAULTS = "test_faults_"


@dataclass
class Area:
    """Scenarios about one thing.

    Attributes:
        title: What they are about.
        scenarios: By the names that the record has for them.
    """

    title: str
    scenarios: list[str] = field(default_factory=list[str])


@dataclass
class Group:
    """Areas that are tested in the same way."""

    title: str
    lead: str
    areas: list[Area] = field(default_factory=list[Area])


def groups(scenarios: Iterable[str]) -> list[Group]:
    """All of these, in order."""
    areas: dict[tuple[int, str], Area] = {}
    for scenario in scenarios:
        stem, _, name = scenario.partition("::")
        at = 0 if stem == SUITE else 2 if stem.startswith(FAULTS) else 1
        title = _title_of_case(name) if stem == SUITE else _title_of_file(stem)
        areas.setdefault((at, title), Area(title)).scenarios.append(scenario)
    made = [Group(title, lead) for title, lead in HEADS]
    for (at, _), area in areas.items():
        made[at].areas.append(area)
    return [group for group in made if group.areas]


HEADS = (
    (
        "The contract, case by case",
        "The [conformance suite](transports/contract.md#the-cases): transports alone, on the real\n"
        "broker. The number of a case leads to its sentence in the contract.",
    ),
    (
        "Fleets of three instances",
        "Three server processes on one broker, clients on real WebSockets, every message counted\n"
        "at each of them (`tests/integration`).",
    ),
    (
        "Faults",
        "The same fleets in steady traffic, while something happens to the broker, the network or\n"
        "an instance. What a fault did is counted:\n\n"
        "| | |\n|---|---|\n"
        "| sent | messages that the instances sent around the fault |\n"
        "| confirmed, refused, unknown | those that the broker confirmed, whose sender was told an "
        "error, and whose sender died |\n"
        "| due, delivered | confirmed messages times the members that were subscribed, and how "
        "many of those arrived |\n"
        "| told | deliveries that did not arrive, of which `on_gap` told |\n"
        "| silent | messages that did not arrive somewhere, of which nothing told |\n"
        "| twice | messages that somebody received twice |\n"
        "| again | messages that an instance wrote once more after a reconnect |\n"
        "| noticed | seconds until every instance concerned was down, where that was waited for |\n"
        "| healed | seconds from the end of the fault until messages of each instance that were "
        "sent after it had reached members on each |\n"
        "| answer | seconds that the slowest answer to a client took meanwhile |",
    ),
)


@cache
def _cases() -> dict[str, Case]:
    return {each.name: each for each in cases()}


def _title_of_case(name: str) -> str:
    if name not in _cases():
        return "Cases that are no more"
    module = sys.modules[_cases()[name]._function.__module__]
    _, _, about = (module.__doc__ or "").partition("\n")[0].partition(": ")
    return _capital(about.removesuffix("."))


@cache
def _title_of_file(stem: str) -> str:
    path = ROOT / INTEGRATION / f"{stem}.py"
    if not path.exists():
        return "Tests that are no more"
    told = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or stem
    return told.partition("\n")[0].removesuffix(".")


def number(scenario: str) -> str:
    """That of a case, which leads to the contract; "" for what is none."""
    stem, _, name = scenario.partition("::")
    if stem != SUITE or name not in _cases():
        return ""
    return f"[{_cases()[name].number}](transports/contract.md#{name})"


def sentence(scenario: str) -> str:
    """What it shows, in one sentence without its full stop, as Markdown."""
    stem, _, name = scenario.partition("::")
    if stem == SUITE and name in _cases():
        told = _cases()[name].sentence.partition("\n\n")[0].replace("\n", " ")
        return told.replace("``", "`").replace("|", "\\|").removesuffix(".")
    test, _, parameters = name.partition("[")
    words = test.removeprefix("test_").replace("_s_", "'s ").replace("_", " ")
    kind = f" ({parameters.removesuffix(']')})" if parameters else ""
    return _capital(words) + kind


def anchor(scenario: str) -> str:
    """Of its row on the page."""
    return re.sub(r"[^a-z0-9]+", "-", scenario.lower().replace("test_", "")).strip("-")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
