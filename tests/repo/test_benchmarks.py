"""`make bench`: what it measures is checked, what it cannot do is said, what it writes is right."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from wsrooms import WsApp, use_ws_message, use_ws_rooms

ROOT = Path(__file__).resolve().parents[2]

needs_compiler = pytest.mark.skipif(
    platform.system() != "Linux" or shutil.which("gcc") is None,
    reason="the load generator needs Linux and gcc",
)


def bench(*arguments: str, root: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / "benchmarks/run.py"), *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )


def load(**figures: float) -> dict[str, float]:
    whole = {"connections": 50, "connect_s": 0.1, "wall_s": 2, "count": 100_000}
    times = {"user_s": 0.4, "system_s": 0.6, "load_cpu": 0.5, "core_busy": 0.5, "core_stolen": 0}
    latencies = {"p50_us": 900, "p99_us": 2000, "p999_us": 3000, "max_us": 4000}
    kinds = ("missing", "out_of_order", "wrong_room", "to_sender", "closed")
    return {**whole, **times, **latencies, **dict.fromkeys(kinds, 0), **figures}


def result_file(path: Path, *runs: dict[str, Any]) -> Path:
    document = {
        "when": "2026-01-01 12:00",
        "machine": "a machine",
        "versions": {"Python": "3.11.7"},
        "settings": {"repetitions": 1, "seconds": 2, "warm": 0.1, "pinned": True},
        "skipped": {"ws-node": "node is not on PATH"},
        "runs": [{"scenario": "fan20", "repetition": 0, **run} for run in runs],
    }
    path.write_text(json.dumps(document))
    return path


def row(table: str, first: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_report_shows_rates_and_their_ratio_to_websockets(tmp_path: Path) -> None:
    file = result_file(
        tmp_path / "results.json",
        {"server": "wsrooms-asyncio", "load": load(count=1_600_000)},
        {"server": "wsrooms-asyncio", "load": load(count=2_400_000)},
        {"server": "websockets-asyncio", "load": load(count=100_000)},
    )
    done = bench("--report", str(file))
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "wsrooms-asyncio")[1] == "1,000 (800…1,200)"
    assert row(done.stdout, "websockets-asyncio")[1] == "50 (50…50)"
    assert row(done.stdout, "fan20")[1] == "**20.00 ×** (24.00 ×)"
    assert "4,100,000 deliveries checked: 0 faults" in done.stdout


def test_a_report_of_a_faulty_run_says_so_and_fails(tmp_path: Path) -> None:
    file = result_file(
        tmp_path / "results.json",
        {"server": "wsrooms-asyncio", "load": load(missing=3, to_sender=1)},
        {"server": "limit", "error": "it did not start"},
    )
    done = bench("--report", str(file))
    assert done.returncode == 1
    assert "2 faults" in done.stdout
    assert done.stderr.splitlines() == [
        "FAULT wsrooms-asyncio fan20: 3 missing, 1 to_sender",
        "FAULT limit fan20: it did not start",
    ]


def test_write_renews_what_is_between_the_markers_the_chart_and_the_details(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=_made)
    page = tmp_path / "docs/performance.md"
    page.parent.mkdir()
    shutil.copy(ROOT / "docs/performance.md", page)
    before = page.read_text()
    file = result_file(
        tmp_path / "results.json",
        {"server": "wsrooms-asyncio", "load": load(count=2_000_000)},
        {"server": "limit<&>", "load": load()},
    )
    for _ in range(2):  # the second time over what the first has written
        done = bench("--report", str(file), "--write", root=tmp_path)
        assert done.returncode == 0, done.stderr
    text = page.read_text()
    head, rest = before.split("<!-- measured: begin", 1)
    tail = rest.split("<!-- measured: end -->", 1)[1]
    assert text.startswith(head)
    assert text.endswith(tail)
    assert row(text, "wsrooms-asyncio")[1] == "1,000 (1,000…1,000)"
    details = (tmp_path / "benchmarks/RESULTS.md").read_text()
    assert row(details, "wsrooms-asyncio")[1] == "1,000,000 (1,000,000…1,000,000)"
    assert "- ws-node: node is not on PATH" in details
    chart = ElementTree.parse(tmp_path / "docs/assets/performance.svg")
    words = {text.text for text in chart.iter("{http://www.w3.org/2000/svg}text")}
    assert {"wsrooms-asyncio", "limit<&>", "1,000,000"} <= words


def test_a_page_without_its_markers_is_refused_and_left_alone(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=_made)
    page = tmp_path / "docs/performance.md"
    page.parent.mkdir()
    page.write_text("nothing here")
    file = result_file(tmp_path / "results.json", {"server": "limit", "load": load()})
    done = bench("--report", str(file), "--write", root=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("wsrooms: the page needs the lines")
    assert page.read_text() == "nothing here"


def test_an_unknown_server_is_named_with_those_that_exist() -> None:
    done = bench("--only", "wsroms")
    assert done.returncode == 2
    assert "there is no server 'wsroms'; there are limit, " in done.stderr


@pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere Linux is what is missing")
def test_without_a_compiler_one_line_says_what_to_install(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=_made)
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
    window = ("--reps", "1", "--secs", "0.5", "--warm", "0.1", "--out", str(out))
    who = ("--only", "wsrooms-asyncio,limit", "--scen", "fan20,rooms,rpc10")
    source = str(ROOT / "packages/wsrooms-core/src")
    path = os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])
    done = bench(*who, *window, PATH=str(programs), PYTHONPATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "taskset is not on PATH" in done.stdout
    assert "0 faults" in done.stdout
    measured = json.loads(out.read_text())["runs"]
    assert len(measured) == 6
    assert all(run["load"]["count"] > 0 for run in measured)


@needs_compiler
async def test_the_load_generator_sees_what_a_wrong_server_does(tmp_path: Path) -> None:
    wsload = tmp_path / "wsload"
    source = str(ROOT / "benchmarks/native/wsload.c")
    gcc = await asyncio.create_subprocess_exec("gcc", "-O1", "-o", str(wsload), source, "-lm")
    assert await gcc.wait() == 0
    ws = WsApp()

    @ws.on_message("join", "/*")
    def join() -> bool:
        use_ws_rooms().join()
        return True

    @ws.on_message("message", "/*")
    def message() -> None:
        data: str = use_ws_message().data
        if int(data[7:17]) % 5:  # the sequence number: every fifth is lost
            use_ws_rooms().broadcast("message", data, exclude_self=False)

    async with ws.serving() as address:
        load = await asyncio.create_subprocess_exec(
            *(str(wsload), "fan", "--port", str(address.port), "--rooms", "2", "--members", "3"),
            *("--rate", "100", "--warm", "0", "--secs", "0.5", "--drain", "0.1"),
            *("--join", '{"event":"join","path":"%ROOM%","id":0}'),
            *("--msg", '{"event":"message","path":"%ROOM%","data":"%DATA%"}'),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(20):
            told = json.loads((await load.communicate())[0])
    assert told["to_sender"] > 0
    assert told["out_of_order"] > 0
    assert told["wrong_room"] == 0
    assert told["closed"] == 0


def _made(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in ("results", "__pycache__", "node_modules")]
