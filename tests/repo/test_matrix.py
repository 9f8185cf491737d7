"""The matrix: what makes its record too old, incomplete or false is found, with the remedy."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers.record import BUILT_WITHOUT, lacking
from tests.matrix import checking, page, promises
from tests.matrix.columns import COLUMNS, ROOT, digest, source_digest
from tests.matrix.plugin import Taker, notes, verdict
from tests.matrix.record import Entry, Run, read, scenarios, write
from tests.matrix.running import Head, Unfinished, collected, gathered

if TYPE_CHECKING:
    from pathlib import Path

MEMORY, REDIS, *_ = COLUMNS
PASSED, SKIPPED, FAILED = "suite::payloads", "suite::wrong_password", "suite::handler_raises"
KILLED = "test_faults_broker::test_a_broker_that_is_killed_and_started_again_loses_nothing_unsaid"

SOURCE = '''
"""A module."""
WORDS = 1
"""What they are."""

class A:
    """A class."""

    def go(self) -> int:
        # Because.
        return WORDS
'''
BARE = "WORDS = 1\nclass A:\n    def go(self) -> int: return (WORDS)\n"


def run_of(entries: dict[str, Entry], column: Any = MEMORY, **more: Any) -> Run:
    run = Run(
        server="redis:7 in Docker",
        version="7.0.15",
        clients={"redis": "7.0"},
        python="3.11.7",
        machine="a machine",
        date="2026-01-01 12:00",
        commit="abc1234",
        seconds=61,
        beside=2,
        code=digest(column.code),
        entries=entries,
    )
    return dataclasses.replace(run, **more)


def row(**more: float) -> dict[str, Any]:
    names = ("sent", "confirmed", "refused", "unknown", "due", "delivered", "duplicated")
    counted = dict.fromkeys((*names, "reported", "silent", "resent"), 0)
    return {"fault": "SIGKILL", **counted, **more}


@pytest.fixture(scope="module")
def wanted() -> dict[str, list[str]]:
    """What pytest collects."""
    return collected()


def test_what_python_does_not_run_changes_no_digest() -> None:
    assert source_digest(SOURCE) == source_digest(BARE)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [("= 1", "= 2"), ("-> int", "-> float"), ("(WORDS)", "'(WORDS)'"), ("def", "async def")],
)
def test_what_python_runs_changes_it(was: str, becomes: str) -> None:
    changed = BARE.replace(was, becomes)
    assert changed != BARE
    assert source_digest(changed) != source_digest(BARE)


def test_a_digest_is_of_all_files_but_the_version_of_the_release(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.py").write_text(SOURCE)
    (tmp_path / "_version.py").write_text("__version__ = '1'\n")
    first = digest([tmp_path])
    (tmp_path / "_version.py").write_text("__version__ = '2'\n")
    assert digest([tmp_path]) == first
    (tmp_path / "deep/a.py").rename(tmp_path / "deep/b.py")
    assert digest([tmp_path]) != first


def test_each_column_rests_on_the_seam_and_on_its_own_package() -> None:
    for column in COLUMNS:
        for folder in column.code:
            assert list(folder.rglob("*.py")), folder
    packages = {folder.parent.name for column in COLUMNS for folder in column.code}
    assert packages == {"wsrooms", "wsrooms-kafka", "wsrooms-nats", "wsrooms-redis"}


def test_pytest_collects_the_suite_for_each_transport_and_fleets_for_each_broker(
    wanted: dict[str, list[str]],
) -> None:
    suite = wanted["memory"]
    assert len(suite) > 50
    for name in ("redis", "valkey", "nats", "kafka"):
        assert set(suite) < set(wanted[name])
        assert KILLED in wanted[name]
    assert wanted["redis"] == wanted["valkey"]
    for name in ("nats", "kafka"):
        own = [each for each in wanted[name] if each.startswith(f"test_faults_{name}::")]
        assert own
        assert not set(own) & set(wanted["redis"])


def test_a_complete_column_that_passed_is_right() -> None:
    run = run_of({PASSED: Entry("passed"), SKIPPED: Entry("not applicable", "no logins")})
    assert list(checking.of_column(MEMORY, run, [PASSED, SKIPPED])) == []
    without = Entry("not run", f"valkey/valkey:9 in Docker {BUILT_WITHOUT} TLS")
    run = run_of({PASSED: Entry("passed"), SKIPPED: without})
    assert list(checking.of_column(MEMORY, run, [PASSED, SKIPPED])) == []


def test_a_column_on_another_server_than_its_own_is_wrong() -> None:
    for server, wrong in (("redis:7 in Docker", False), ("redis 8.0 on PATH", True)):
        run = run_of({PASSED: Entry("passed")}, REDIS, server=server)
        told = "".join(checking.of_column(REDIS, run, [PASSED]))
        assert ("not on redis:7 in Docker" in told) == wrong, told


@pytest.mark.parametrize(
    ("entries", "more", "told"),
    [
        ({PASSED: Entry("passed")}, {}, f"not in matrix.json: {SKIPPED}"),
        (
            {PASSED: Entry("passed"), SKIPPED: Entry("passed"), "suite::old": Entry("passed")},
            {},
            "only in matrix.json: suite::old",
        ),
        (
            {PASSED: Entry("passed"), SKIPPED: Entry("passed")},
            {"code": "another"},
            "the transport's code has changed since 2026-01-01",
        ),
        (
            {PASSED: Entry("passed"), SKIPPED: Entry("passed")},
            {"commit": "abc1234, changed"},
            "ran on what no commit has (abc1234, changed)",
        ),
        (
            {PASSED: Entry("failed", "3 != 4"), SKIPPED: Entry("passed")},
            {},
            f"failed: {PASSED} (3 != 4)",
        ),
        (
            {PASSED: Entry("passed"), SKIPPED: Entry("not run", "there is no kafka here")},
            {},
            f"not run: {SKIPPED} (there is no kafka here)",
        ),
    ],
    ids=["missing", "gone", "older than the code", "of no commit", "failed", "without a server"],
)
def test_what_is_wrong_with_a_column_is_told_with_the_remedy(
    entries: dict[str, Entry], more: dict[str, Any], told: str
) -> None:
    [problem] = checking.of_column(MEMORY, run_of(entries, **more), [PASSED, SKIPPED])
    assert problem.startswith(f"memory: {told}")
    assert problem.endswith("make matrix ARGS='--only memory'")


def test_a_column_that_is_missing_is_told() -> None:
    [problem] = checking.of_column(REDIS, None, [PASSED])
    assert problem == "redis: matrix.json has no such column: make matrix ARGS='--only redis'"


def test_the_record_is_read_as_it_was_written_and_one_column_alone_may_change(
    tmp_path: Path,
) -> None:
    path = tmp_path / "matrix.json"
    counted = (row(sent=5, healed=1.23456),)
    runs = {
        "memory": run_of({PASSED: Entry("passed"), SKIPPED: Entry("not applicable", "why")}),
        "redis": run_of({KILLED: Entry("passed", counted=counted)}, REDIS),
    }
    write(runs, path)
    rounded = ({**counted[0], "healed": 1.23},)
    assert read(path) == {**runs, "redis": run_of({KILLED: Entry("passed", "", rounded)}, REDIS)}
    before = path.read_text("utf-8").splitlines()
    assert sum(PASSED in line for line in before) == 1  # a line for each scenario

    write({**read(path), "redis": run_of({KILLED: Entry("failed", "x")}, REDIS)}, path)
    changed = set(before) ^ set(path.read_text("utf-8").splitlines())
    assert all(KILLED in line for line in changed)
    assert len(changed) == 2


def report(when: str, outcome: str, longrepr: Any = None, **more: Any) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid="t",
        location=("t", 0, "t"),
        keywords={},
        outcome=outcome,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - one of three words
        longrepr=longrepr,
        when=when,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - likewise
        **more,
    )


SKIP = ("a.py", 1, "Skipped: it has no log")


@pytest.mark.parametrize(
    ("reports", "result"),
    [
        ([report("setup", "passed"), report("call", "passed")], ("passed", "")),
        ([report("setup", "passed"), report("call", "failed", "E\nmore")], ("failed", "E")),
        (
            [report("call", "passed"), report("teardown", "failed", "a task was left")],
            ("failed", "a task was left"),
        ),
        ([report("setup", "skipped", SKIP)], ("not applicable", "it has no log")),
        ([report("call", "skipped", "", wasxfail="a bug")], ("failed", "as is known: a bug")),
    ],
    ids=["passed", "failed", "failed at its end", "skipped", "expected to fail"],
)
def test_a_scenario_has_passed_only_if_each_phase_of_its_test_has(
    reports: list[pytest.TestReport], result: tuple[str, str]
) -> None:
    assert verdict(reports) == result


def test_what_was_skipped_for_want_of_a_server_was_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(lacking, "it has no log", 1)
    assert verdict([report("setup", "skipped", SKIP)]) == ("not run", "it has no log")


def test_a_run_that_was_interrupted_goes_on_behind_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    done = {"scenario": "suite::handler_raises", "result": "passed"}
    path.write_text(json.dumps({"head": {}}) + "\n" + json.dumps(done) + "\n" + '{"scena')
    assert notes(path) == [{"head": {}}, done]
    path.write_text("".join(json.dumps(each) + "\n" for each in notes(path)))

    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.matrix.plugin", "-k", "handler"),
            *("-p", "no:cacheprovider", "--matrix-bus=memory", f"--matrix-notes={path}"),
            MEMORY.suite,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert "3 passed" in ended.stdout
    kept = notes(path)
    [both] = [each["collected"] for each in kept if "collected" in each]
    assert both == [
        "suite::unsubscribed_handler_is_not_called",
        "suite::subscribe_twice_replaces_the_handler",
        "suite::handler_raises",
        "suite::handler_calls_the_transport",
    ]
    results = [each["scenario"] for each in kept if "scenario" in each]
    assert results == [done["scenario"], *(each for each in both if each != done["scenario"])]


def test_a_test_that_was_interrupted_in_its_midst_is_not_noted(tmp_path: Path) -> None:
    taker = Taker("memory", tmp_path / "notes.jsonl")
    taker._scenarios = {"t": PASSED}
    for reports, noted in ((["setup"], []), (["setup", "call", "teardown"], [PASSED])):
        taker.pytest_runtest_logstart("t")
        for when in reports:
            taker.pytest_runtest_logreport(report(when, "passed", duration=1.0))
        taker.pytest_runtest_logfinish("t")
        assert [each["scenario"] for each in notes(tmp_path / "notes.jsonl")] == noted


def test_a_run_has_all_its_scenarios_or_is_none() -> None:
    head = dataclasses.asdict(Head("redis:7", "7", {}, "3", "a machine", "", "", 2, "c", "e"))
    ended = [
        {"scenario": name, "result": "passed", "why": "", "seconds": 2.3, "counted": rows}
        for name, rows in ((KILLED, [{**row(), "broker": "redis:7 in Docker"}]), (PASSED, []))
    ]
    kept: list[dict[str, Any]] = [
        {"head": head},
        {"collected": [PASSED, KILLED]},
        *ended,
        {"started": {"a": 1, "b": 2}},
    ]
    run = gathered(kept)
    assert list(run.entries) == [PASSED, KILLED]
    assert run.rows == [row()]
    assert run.seconds == 5
    assert run.server == "a, b"
    with pytest.raises(Unfinished, match="1 of 2 scenarios are left"):
        gathered([each for each in kept if each.get("scenario") != PASSED])
    for nothing in (kept[:1], [kept[0], {"collected": []}]):
        with pytest.raises(Unfinished, match="found no scenario"):
            gathered(nothing)


def test_a_run_goes_on_only_with_the_same_code_on_the_same_server() -> None:
    head = Head("a server", "1", {}, "3.11", "a machine", "today", "abc", 2, "code", "everything")
    before = {**dataclasses.asdict(head), "date": "yesterday", "commit": "the same by another name"}
    assert head.goes_on(before)
    assert not head.goes_on(None)
    for name in ("server", "version", "clients", "python", "machine", "code", "everything"):
        assert not head.goes_on({**before, name: "other"}), name


def test_the_page_says_on_which_machine_each_column_was_run() -> None:
    def told(**machines: str) -> str:
        known = {column.name: column for column in COLUMNS}
        runs = {
            name: run_of({}, known[name], machine=machine, beside=2 if name == "nats" else 1)
            for name, machine in machines.items()
        }
        [line] = [line for line in page.drawn(runs).splitlines() if line.startswith("On ")]
        return line

    assert told(redis="A, 2 cores", kafka="A, 2 cores") == "On one machine: A, 2 cores."
    assert told(redis="A", nats="A") == "On one machine: A, up to 2 columns at a time."
    both = "On 2 machines, up to 2 columns at a time: Redis 7, Kafka 7 on A, 2 cores; NATS 7 on B."
    assert told(redis="A, 2 cores", nats="B", kafka="A, 2 cores") == both
    three = "On 3 machines: Redis 7 on A; Valkey 7 on B; Kafka 7 on C."
    assert told(redis="A", valkey="B", kafka="C") == three


def test_the_page_shows_results_reasons_and_what_was_counted() -> None:
    entries = {
        PASSED: Entry("passed"),
        SKIPPED: Entry("not applicable", "no logins"),
        FAILED: Entry("failed", "3 != 4"),
        KILLED: Entry("passed", "", (row(sent=1500, due=9000, delivered=8990, noticed=1.5),)),
    }
    drawn = page.drawn({"redis": run_of(entries, REDIS)})
    lines = drawn.splitlines()
    [skipped] = [line for line in lines if 'id="suite-wrong-password"' in line]
    assert "A wrong password is `AuthenticationFailed` at start" in skipped
    assert skipped.endswith("| – (1) |")
    assert "1. no logins" in lines
    [failed] = [line for line in lines if 'id="suite-handler-raises"' in line]
    assert failed.endswith("| **failed** (1) |")
    assert "A broker that is killed and started again loses nothing unsaid | passed |" in drawn
    for each in (
        "| **passed** | 2 |",
        "| messages sent around them | 1,500 |",
        "| slowest to be noticed | 1.50 s |",
        "| took | 1 min 1 s |",
        "|  | Redis 7 |",
    ):
        assert each in lines
    assert "    | SIGKILL | Redis 7 | 1,500 | 0 | 0 | 0 | 9,000 | 8,990 |" in drawn


def test_each_promise_of_the_transports_is_shown_by_scenarios_that_there_are(
    wanted: dict[str, list[str]],
) -> None:
    known = {scenario for each in wanted.values() for scenario in each}
    there = promises.PAGE.read_text("utf-8")
    assert len(promises.rows(there)) > 20
    assert list(promises.problems(there, known)) == []


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("[joins, longer](#shown-joins-longer)", "joins, longer", "let 'joins, longer' lead to"),
        ("[just joined]", "[joined just now]", "no scenario shows 'joined just now'"),
        ("[just joined]", "[joined just now]", "has no row 'just joined'"),
    ],
)
def test_a_row_of_the_guarantees_that_leads_to_no_scenario_is_told(
    was: str, becomes: str, told: str, wanted: dict[str, list[str]]
) -> None:
    known = {scenario for each in wanted.values() for scenario in each}
    there = promises.PAGE.read_text("utf-8")
    assert was in there
    found = list(promises.problems(there.replace(was, becomes), known))
    assert any(told in each for each in found), found


def test_a_scenario_that_is_gone_and_was_to_show_a_promise_is_told(
    wanted: dict[str, list[str]],
) -> None:
    known = {scenario for each in wanted.values() for scenario in each} - {KILLED}
    found = list(promises.problems(promises.PAGE.read_text("utf-8"), known))
    assert found
    assert all(f"there is no scenario {KILLED}" in each for each in found)


def test_the_guarantees_count_what_passed_of_what_applies() -> None:
    name = "suite::gap_is_reported_once_with_its_size"
    entries = {
        name: Entry("passed"),
        "suite::duplicate_is_dropped_and_counted": Entry("failed", "x"),
        PASSED: Entry("passed"),
    }
    drawn = promises.drawn(promises.PAGE.read_text("utf-8"), {"redis": run_of(entries, REDIS)})
    [line] = [each for each in drawn.splitlines() if 'id="shown-the-bus-delivers-out-of' in each]
    assert "| 1 of 2 |" in line
    assert "(matrix.md#suite-gap-is-reported-once-with-its-size)" in line


def test_pages_that_are_not_drawn_from_the_record_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {"redis": run_of({PASSED: Entry("passed")}, REDIS)}
    known = scenarios(runs)
    for module in (page, promises):
        copy = tmp_path / module.PAGE.name
        if module.PAGE.exists():
            shutil.copy(module.PAGE, copy)
        monkeypatch.setattr(module, "PAGE", copy)

    def told() -> list[str]:
        found = checking.of_pages(runs, known)
        return [each for each in found if each.endswith("make matrix ARGS=--draw")]

    there = promises.PAGE.read_text("utf-8")
    page.PAGE.write_text(page.drawn(runs), "utf-8")
    promises.PAGE.write_text(promises.drawn(there, runs), "utf-8")
    assert told() == []
    page.PAGE.write_text(page.drawn(runs) + "By hand.\n", "utf-8")
    promises.PAGE.write_text(promises.drawn(there, {}), "utf-8")
    assert [each.partition(" is not")[0] for each in told()] == [
        "matrix.md",
        "the table of guarantees.md",
    ]


def test_a_run_of_some_scenarios_tells_and_keeps_nothing() -> None:
    record = ROOT / "docs/matrix.json"
    before = record.read_bytes() if record.exists() else None
    ended = subprocess.run(
        [sys.executable, "-m", "tests.matrix", "--only", "memory", "-k", "payloads or password"],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "memory: 1 passed, 3 not applicable, in " in ended.stdout
    assert (record.read_bytes() if record.exists() else None) == before
