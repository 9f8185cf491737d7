"""`make bench` and its profiles: what they measure, and what they say that they cannot."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import promised
from tests.repo.bench import (
    bench,
    column,
    copy_of_benchmarks,
    load,
    needs_compiler,
    ours,
    result_file,
    row,
)

if TYPE_CHECKING:
    from pathlib import Path

WINDOW = f"{promised(0.7):g}"
"""Seconds, of which somebody else may have the machine for a few tenths."""


@needs_compiler
def test_a_server_that_no_scenario_is_for_is_not_measured_in_silence() -> None:
    done = bench("--only", "limit", "--scen", "memory")
    assert done.returncode == 2
    assert done.stderr == "wsrooms: none of these servers is measured in these scenarios\n"


def test_an_unknown_server_is_named_with_those_that_exist() -> None:
    done = bench("--only", "wsroms")
    assert done.returncode == 2
    assert "there is no server 'wsroms'; there are limit, " in done.stderr


@pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere Linux is what is missing")
def test_without_a_compiler_one_line_says_what_to_install(tmp_path: Path) -> None:
    copy_of_benchmarks(tmp_path)
    done = bench(root=tmp_path, PATH=str(tmp_path))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "install gcc" in done.stderr


@needs_compiler
def test_a_short_run_without_taskset_measures_unpinned_and_without_faults(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("gcc", "as", "ld", "collect2"):
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    out = tmp_path / "results.json"
    window = ("--reps", "1", "--secs", WINDOW, "--warm", "0.1", "--out", str(out))
    who = ("--only", "wsrooms-asyncio,limit", "--scen", "fan20,rooms,rpc10")
    done = bench(*who, *window, PATH=str(programs), PYTHONPATH=ours())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "taskset is not on PATH" in done.stdout
    assert "0 faults" in done.stdout
    measured = json.loads(out.read_text())["runs"]
    assert len(measured) == 6
    assert all(run["load"]["count"] > 0 for run in measured)


@needs_compiler
def test_memory_joins_disconnects_and_latencies_are_measured_and_appended(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    window = ("--reps", "2", "--secs", WINDOW, "--warm", "0.1", "--crowd", "60", "--out", str(out))
    who = ("--only", "wsrooms-asyncio", "--append")
    for scenarios in ("memory,joins", "disconnect,load-rpc"):
        done = bench(*who, "--scen", scenarios, *window, PYTHONPATH=ours())
        assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())["runs"]
    # Once each, though repetitions were asked for.
    assert [run["scenario"] for run in found] == ["memory", "joins", "disconnect", "load-rpc"]
    runs = {run["scenario"]: run for run in found}
    memory = runs["memory"]["memory"]
    assert memory["connections"] == 60
    assert memory["memberships"] == 180
    assert memory["base_kb"] < memory["open_kb"] <= memory["joined_kb"]
    assert [each["count"] for each in runs["joins"]["joins"].values()] == [60, 60, 60]
    steps = runs["disconnect"]["disconnect"]["steps"]
    assert [(step["others"], step["rooms"]) for step in steps] == [
        *((6, 1), (60, 1), (120, 1)),
        *((6, 6), (60, 60), (120, 120)),
    ]
    assert all(step["cpu_us"] > 0 for step in steps)
    most, levels = runs["load-rpc"]["load"], runs["load-rpc"]["levels"]
    assert [level["share"] for level in levels] == [0.2, 0.4, 0.6, 0.8]
    assert 0 < levels[0]["load"]["count"] < most["count"] * 0.6


@needs_compiler
def test_what_is_appended_to_the_same_cell_is_another_repetition(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    window = ("--reps", "1", "--secs", WINDOW, "--warm", "0.1", "--out", str(out), "--append")
    for scenarios in ("rpc1", "rpc1,rpc10"):
        done = bench("--only", "limit", "--scen", scenarios, *window)
        assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    cells = [(run["scenario"], run["repetition"]) for run in found["runs"]]
    assert cells == [("rpc1", 0), ("rpc1", 1), ("rpc10", 0)]
    assert found["settings"]["repetitions"] == 2


@needs_compiler
def test_runs_of_other_code_are_not_appended_to_a_file(tmp_path: Path) -> None:
    run = {"server": "limit", "load": load()}
    file = result_file(tmp_path / "results.json", run, versions={"commit": "0000000"})
    before = file.read_text()
    done = bench("--append", "--only", "limit", "--scen", "rpc1", "--out", str(file))
    assert done.returncode == 2
    assert done.stderr.startswith("wsrooms: the result file is of another commit (0000000, now ")
    assert file.read_text() == before


@needs_compiler
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind counts the instructions")
def test_instructions_are_counted_again_and_again_the_same() -> None:
    counts: list[float] = []
    for _ in range(2):
        words = ("limit", "rpc1", "--secs", "0.1", "--views", "callgrind")
        done = bench(*words, program="profile.py")
        assert done.returncode == 0, done.stderr
        count, _, rest = done.stdout.splitlines()[2].partition(" ")
        assert rest.startswith("instructions for each of ")
        counts.append(float(count.replace(",", "")))
        shares = [float(cell[:-1]) for cell in column(done.stdout, 1) if cell.endswith("%")]
        assert sum(shares) == pytest.approx(100, abs=5)
    assert counts[0] > 1000
    assert counts[1] == pytest.approx(counts[0], rel=0.05)


@needs_compiler
def test_a_profile_tells_who_works_and_on_whose_behalf(tmp_path: Path) -> None:
    py_spy = tmp_path / "py-spy"
    stacks = "main;run;read 6\nmain;run;read;decode 3\nmain;run 1\n"
    py_spy.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\n"
        f"out = sys.argv[sys.argv.index('--output') + 1]\n"
        f"pathlib.Path(out).write_text({stacks!r})\n"
    )
    py_spy.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    words = ("limit", "rpc1", "--secs", "0.5", "--views", "py-spy")
    done = bench(*words, program="profile.py", PATH=path)
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "read")[1:] == ["60.0%", "90.0%"]
    assert row(done.stdout, "main")[1:] == ["0.0%", "100.0%"]
    assert done.stdout.index("| read |") < done.stdout.index("| decode |")


def test_a_profile_of_what_there_is_not_names_what_there_is() -> None:
    done = bench("limit", "rpc", program="profile.py")
    assert done.returncode == 2
    assert done.stderr.startswith("wsrooms: there is no 'rpc'; there are fan1, ")
