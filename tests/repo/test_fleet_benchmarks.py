"""Fleets in `make bench`: what their reports say, and that each kind of scenario measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.fleet.brokers import ALL, BROKERS
from benchmarks.harness.fleet.contenders import FLEETS, TRANSPORTS
from benchmarks.harness.machine import children_of
from tests.brokers.record import missing
from tests.deadlines import DEADLINE, promised
from tests.repo.bench import (
    ROOT,
    bench,
    copy_of_benchmarks,
    load,
    needs_compiler,
    ours,
    result_file,
    row,
)


def fleet_load(**figures: Any) -> dict[str, Any]:
    return {**load(), "each_s": [0.8, 0.15, 0.05], **figures}


def test_a_report_of_fleets_compares_with_the_best_setting_of_each_repetition(
    tmp_path: Path,
) -> None:
    rates = {
        "wsrooms-redis-asyncio": (1_000_000, 3_000_000, 4_000_000),
        "socket.io-classic": (100_000, 100_000, 400_000),
        "socket.io-sharded": (200_000, 50_000, 100_000),
    }
    runs = [
        {"server": server, "repetition": number, "scenario": "cross20", "load": fleet_load(count=n)}
        for server, counts in rates.items()
        for number, n in enumerate(counts)
    ]
    done = bench("--report", str(result_file(tmp_path / "fleet.json", *runs, what="fleet")))
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "wsrooms-redis-asyncio")[1] == "1,500 (500…2,000)"
    rates_and_cpu = ["**10.00 ×**", "(5.00…30.00)", "10.00 ×"]
    assert row(done.stdout, "cross20")[1:] == [
        "wsrooms-redis-asyncio",
        "socket.io",
        *rates_and_cpu,
        "8 ×",
    ]


def test_a_report_of_fleets_compares_brokers_on_the_same_loop(tmp_path: Path) -> None:
    counts = {
        "wsrooms-redis-asyncio": 2_000_000,
        "wsrooms-nats-asyncio": 3_000_000,
        "wsrooms-redis-uvloop": 4_000_000,
        "wsrooms-nats-uvloop": 2_000_000,
        "wsrooms-kafka-asyncio": 500_000,
    }
    runs = [
        {"server": server, "scenario": "relay20", "load": fleet_load(count=count)}
        for server, count in counts.items()
    ]
    done = bench("--report", str(result_file(tmp_path / "fleet.json", *runs, what="fleet")))
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if "over Redis" in line]
    assert sorted((cells[1], cells[3], *cells[5:]) for cells in rows) == [
        ("wsrooms-kafka-asyncio", "**0.25 ×**", "0.25 ×", "– |"),
        ("wsrooms-nats-asyncio", "**1.50 ×**", "1.50 ×", "1 × |"),
        ("wsrooms-nats-uvloop", "**0.50 ×**", "0.50 ×", "1 × |"),
    ]


def test_a_report_of_fleets_fails_for_our_faults_only(tmp_path: Path) -> None:
    peer: dict[str, Any] = {"server": "python-socketio", "scenario": "cross20"}
    peer["load"] = fleet_load(out_of_order=7)
    file = result_file(tmp_path / "fleet.json", peer, what="fleet")
    done = bench("--report", str(file))
    assert (done.returncode, done.stderr) == (0, "FAULT python-socketio cross20: 7 out_of_order\n")
    assert row(done.stdout, "python-socketio")[-1] == "cross20: out of order (1 ×)"
    ours = peer | {"server": "wsrooms-redis-uvloop"}
    done = bench("--report", str(result_file(tmp_path / "fleet.json", peer, ours, what="fleet")))
    assert done.returncode == 1


def test_a_report_of_fleets_shows_costs_joins_memory_and_restarts(tmp_path: Path) -> None:
    own = {"server": "wsrooms-redis-asyncio"}
    turns = {"clients": 50, "count": 1000, "seconds": 0.5, "cpu_s": 0.06, "broker_cpu_s": 0.01}
    rooms = {"rooms": 1000, "base_kb": 1000, "full_kb": 2000}
    rooms |= {"broker_base_kb": 500, "broker_full_kb": 600}
    stranger = {"messages": 10_000, "seconds": 2, "cpu_s": 0.05, "idle_share": 0.02}
    restart: dict[str, Any] = {"rooms": 1000, "outage_s": 1, "twice": 0, "closed": 2}
    restart |= {"said": 640, "lost": 12}
    restart |= {"channels": 1003, "channels_after": 3}
    restart |= {"channels_s": None, "heard_s": 0.5, "heard": 7, "cpu_s": 0.25}
    untold = restart | {"channels": 0, "channels_after": 0, "channels_s": 0}
    file = result_file(
        tmp_path / "fleet.json",
        own | {"scenario": "relay1", "load": fleet_load()},
        own | {"scenario": "turns", "turns": [turns | {"p50_us": 400, "p99_us": 900}]},
        own | {"scenario": "rooms", "rooms": rooms},
        own | {"scenario": "strangers", "stranger": stranger},
        own | {"scenario": "writes", "writes": {"sendto": 12.4, "write": 1}},
        own | {"scenario": "restart", "restart": restart},
        own | {"server": "broadcaster", "scenario": "restart", "error": "it has gone"},
        own | {"server": "wsrooms-kafka-uvloop", "scenario": "restart", "restart": untold},
        what="fleet",
    )
    done = bench("--report", str(file))
    assert done.stderr == "FAULT broadcaster restart: it has gone\n"
    sections = dict(part.split("\n", 1) for part in done.stdout.split("\n## ")[1:])
    ours = {title: row(text, "wsrooms-redis-asyncio")[1:] for title, text in sections.items()}
    assert ours["CPU for each message"] == ["50,000", "8.0 + 1.5 + 0.5", "0.9 / 2.0"]
    assert ours["Joins"] == ["2,000", "0.40 / 0.90", "60 + 10"]
    assert ours["Memory for each room"] == ["1,024", "102", "2"]
    assert ours["Rooms of others, and many messages at once"] == ["2.00", "5,000", "1.00", "13"]
    restarts = "A broker that is killed and started"
    assert ours[restarts] == ["never", "3 of 1,003", "0.50", "7", "12 of 640", "2", "0.25"]
    assert row(sections[restarts], "broadcaster")[1] == "failed: it has gone"
    # Kafka is not told which rooms there are.
    assert row(sections[restarts], "wsrooms-kafka-uvloop")[1:4] == ["–", "–", "0.50"]


def test_write_of_fleets_leaves_the_other_figures_alone(tmp_path: Path) -> None:
    copy_of_benchmarks(tmp_path)
    page = tmp_path / "docs/performance-fleets.md"
    before = page.read_text()
    run = {"server": "wsrooms-redis-asyncio", "scenario": "cross20", "load": fleet_load()}
    file = result_file(tmp_path / "fleet.json", run, what="fleet")
    done = bench("--report", str(file), "--write", root=tmp_path)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    head, tail = (
        before.split("<!-- fleets: begin", 1)[0],
        before.split("<!-- fleets: end -->", 1)[1],
    )
    assert text.startswith(head)
    assert text.endswith(tail)
    assert row(text.removeprefix(head), "wsrooms-redis-asyncio")[1] == "50 (50…50)"
    details = (tmp_path / "benchmarks/FLEETS.md").read_text()
    assert row(details, "wsrooms-redis-asyncio")[2:5] == ["8.0", "1.5", "0.5"]


@needs_compiler
def test_a_fleet_is_measured_in_every_kind_of_scenario(tmp_path: Path) -> None:
    scenarios = "cross20,relay1,strangers,turns,rooms,restart"
    runs = measured("fleet", "wsrooms-redis-asyncio", scenarios, tmp_path)
    for name in ("cross20", "relay1"):
        assert_load(runs[name]["load"], programs=3)
    assert runs["strangers"]["stranger"]["messages"] > 0
    assert [turns["count"] for turns in runs["turns"]["turns"]] == [500, 5000]
    assert runs["rooms"]["rooms"]["rooms"] == 200
    assert_as_before(runs["restart"]["restart"])


@needs_compiler
def test_a_fleet_over_nats_is_measured_and_is_as_before_when_its_broker_is_back(
    tmp_path: Path,
) -> None:
    runs = measured("fleet", "wsrooms-nats-asyncio", "relay1,restart", tmp_path)
    assert_load(runs["relay1"]["load"], programs=3)
    assert_as_before(runs["restart"]["restart"])


@needs_compiler
def test_a_fleet_over_kafka_is_measured(tmp_path: Path) -> None:
    # No restart: Tansu, which stands for Kafka here, loses its log, and does not tell who reads on.
    runs = measured("fleet", "wsrooms-kafka-asyncio", "relay1", tmp_path)
    assert_load(runs["relay1"]["load"], programs=3)


@needs_compiler
def test_one_instance_alone_is_measured_beside_the_brokers(tmp_path: Path) -> None:
    pytest.importorskip("uvloop", reason="the servers run on uvloop")
    runs = measured("transports", "memory", "on1,on2,memory", tmp_path)
    assert sorted(runs) == ["memory", "on1"]  # one instance is no two
    assert_load(runs["on1"]["load"], programs=1)
    assert runs["memory"]["memory"]["connections"] == 200


@needs_compiler
def test_a_transport_is_measured_spread_over_instances_and_without_websockets(
    tmp_path: Path,
) -> None:
    pytest.importorskip("uvloop", reason="the servers run on uvloop")
    runs = measured("transports", "valkey", "on2,traffic", tmp_path)
    for window in ("load", "most"):
        assert_load(runs["on2"][window], programs=3)
    traffic = runs["traffic"]["traffic"]
    assert traffic["connections"] == 2
    floods = traffic["floods"]
    assert [(flood["rate"], flood["hearing"]) for flood in floods] == [
        *((100, 1), (1000, 1), (10_000, 1)),
        *((100, 3), (1000, 3), (10_000, 3)),
    ]
    for flood in floods:
        for way in ("bytes_in", "bytes_out"):
            # Of the last ones TCP may not know yet that they have arrived.
            assert flood[way] > 0.5 * flood["messages"] * traffic["payload"]
        assert 0 < flood["messages"] <= flood["rate"] * flood["seconds"]
        assert min(flood["broker_cpu_s"], flood["talker_cpu_s"], flood["hearer_cpu_s"]) > 0
        assert (flood["stranger_cpu_s"] is None) == (flood["hearing"] == 1)


def measured(what: str, who: str, scenarios: str, folder: Path) -> dict[str, Any]:
    """A campaign with windows in which a busy machine does something, too; its runs by scenario."""
    there = TRANSPORTS if what == "transports" else FLEETS
    broker = ALL[there[who].broker]
    if (reason := broker.why_not()) is not None:
        missing(reason)
    out = folder / "found.json"
    window = ("--reps", "1", "--secs", f"{promised(1.0):g}", "--warm", "0.1", "--rooms", "200")
    words = (what, "--only", who, "--scen", scenarios, *window, "--out", str(out))
    scheme = () if broker.scheme == "memory" else (broker.scheme,)
    done = bench(*words, PYTHONPATH=ours(*scheme))
    assert done.returncode == 0, done.stdout + done.stderr
    return {run["scenario"]: run for run in json.loads(out.read_text())["runs"]}


def assert_load(load: dict[str, Any], *, programs: int) -> None:
    assert load["count"] > 0
    assert len(load["each_s"]) == programs
    assert all(seconds > 0 for seconds in load["each_s"])


def assert_as_before(restart: dict[str, Any]) -> None:
    assert (restart["heard"], restart["twice"], restart["lost"]) == (200, 0, 0)
    assert restart["said"] > 100
    assert restart["channels_after"] == restart["channels"] >= 200
    assert 0 < restart["heard_s"] < DEADLINE


@needs_compiler
def test_who_ends_a_campaign_ends_all_that_it_started(tmp_path: Path) -> None:
    if (reason := BROKERS["redis"].why_not()) is not None:
        missing(reason)
    command = [sys.executable, str(ROOT / "benchmarks/run.py"), "fleet", "--reps", "9"]
    command += ["--only", "wsrooms-redis-asyncio", "--scen", "relay1", "--secs", "0.1"]
    campaign = subprocess.Popen(
        [*command, "--out", str(tmp_path / "fleet.json")],
        env=os.environ | {"PYTHONPATH": ours("redis")},
        stdout=subprocess.PIPE,
        text=True,
    )
    with campaign:
        assert campaign.stdout is not None
        for line in campaign.stdout:
            if "relay1" in line:
                break
        until = time.monotonic() + DEADLINE
        # A broker and two instances, which are made anew for each repetition.
        while len(started := children_of(campaign.pid)) < 3:
            assert time.monotonic() < until, started
            time.sleep(0.005)
        campaign.terminate()
        campaign.stdout.read()
    assert campaign.returncode == 130
    assert not [pid for pid in started if is_alive(pid)]


def test_what_was_being_started_when_the_interrupt_came_is_ended_too() -> None:
    program = (
        "import subprocess, sys\n"
        "from benchmarks.harness.machine import end_of_an_interrupt\n"
        "print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid, flush=True)\n"
        "sys.exit(end_of_an_interrupt())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 130, done.stderr
    assert not is_alive(int(done.stdout))


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
