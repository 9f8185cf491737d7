"""`benchmarks/run.py costs`: what it measures, tells and writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.harness.fleet.brokers import BROKERS
from benchmarks.harness.transports.subjects import LIBRARIES, OURS
from tests.brokers.record import missing
from tests.deadlines import DEADLINE
from tests.repo.bench import ROOT, bench, copy_of_benchmarks, ours, row

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess


def cost(*arguments: str, **more: Any) -> CompletedProcess[str]:
    return bench("costs", *arguments, **more)


def made_up(path: Path) -> Path:
    burst = {"count": 1000, "each_s": [0.01, 0.005, 0.002]}
    bursts = [{"at_a_time": 1, **burst}, {"at_a_time": 20, **burst}]
    subject: dict[str, Any] = {"subject": "wsrooms-nats", "rooms": 1000, "bursts": bursts}
    subject |= {"p50_us": 250, "p99_us": 900, "subscribe_s": 0.2, "subscribe_cpu_s": 0.1}
    subject |= {"traced_bytes": 300_000, "resident_kb": 500, "broker_kb": 1000}
    costs = [
        subject | {"repetition": 0, "idle_share": 0.001, "restored_s": 0.2, "restored_cpu_s": 0.1},
        subject | {"repetition": 1, "idle_share": 0.003, "restored_s": 0.4, "restored_cpu_s": 0.1},
        subject | {"repetition": 0, "subject": "nats-py", "traced_bytes": 5_000_000},
    ]
    whole = {"when": "2026-01-01 12:00", "machine": "a machine", "versions": {"NATS": "2.0"}}
    path.write_text(json.dumps(whole | {"skipped": {"redis-py": "no Redis"}, "costs": costs}))
    return path


def test_a_report_shows_medians_of_transports_beside_their_libraries(tmp_path: Path) -> None:
    done = cost("--report", str(made_up(tmp_path / "costs.json")))
    assert done.returncode == 0, done.stderr
    assert "NATS 2.0. Medians of 2, interleaved." in done.stdout
    assert "Not measured: redis-py (no Redis)." in done.stdout
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "|" in line]
    assert rows[0] == ["wsrooms-nats", "nats-py"]
    assert [cells[1:] for cells in rows[2:]] == [
        ["250 / 900", "250 / 900"],
        ["10.0 / 10.0", "10.0 / 10.0"],
        ["5.0 / 5.0", "5.0 / 5.0"],
        ["2.0 / 2.0", "2.0 / 2.0"],
        ["0.20 (0.10)", "0.20 (0.10)"],
        ["300", "5,000"],
        ["512", "512"],
        ["1,024", "1,024"],
        ["2.00", "0.00"],
        ["0.30 (0.10)", "–"],
    ]


def test_write_renews_the_pages_of_the_brokers_that_were_measured(tmp_path: Path) -> None:
    copy_of_benchmarks(tmp_path)
    begin = "<!-- costs: begin (written by benchmarks/run.py) -->"
    pages = [tmp_path / "docs" / name for name in ("transports/figures.md", "transports/nats.md")]
    for page in pages:
        page.write_text(f"before\n\n{begin}\nold\n<!-- costs: end -->\n\nafter\n")
    done = cost("--report", str(made_up(tmp_path / "costs.json")), "--write", root=tmp_path)
    assert done.returncode == 0, done.stderr
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"before\n\n{begin}\n\n2026-01-01 12:00 on a machine")
        assert text.endswith("|\n\n<!-- costs: end -->\n\nafter\n")
        assert row(text, "memory of a subscription: Python objects, bytes")[1:] == ["300", "5,000"]
    # Nobody has measured the others.
    assert row((tmp_path / "docs/many.md").read_text(), "… at the broker, bytes")[1:] == [
        "–",
        "1,024",
        "–",
    ]


def test_the_pages_have_the_places_that_are_written() -> None:
    for name in ("transports/figures.md", *(f"transports/{kind}.md" for kind in OURS)):
        text = (ROOT / "docs" / name).read_text("utf-8")
        assert "<!-- costs: begin (written by benchmarks/run.py) -->" in text, name


@pytest.mark.parametrize("broker", BROKERS)
def test_a_transport_and_its_library_are_measured_in_everything(
    broker: str, tmp_path: Path
) -> None:
    if (reason := BROKERS[broker].why_not()) is not None:
        missing(reason)
    out = tmp_path / "costs.json"
    names = [OURS[broker], LIBRARIES[broker]]
    little = ("--reps", "1", "--rooms", "200", "--messages", "400", "--idle", "0.2")
    done = cost("--only", ",".join(names), *little, "--out", str(out), PYTHONPATH=ours(broker))
    assert done.returncode == 0, done.stdout + done.stderr
    found = {each["subject"]: each for each in json.loads(out.read_text())["costs"]}
    assert list(found) == names
    for each in found.values():
        assert [burst["count"] for burst in each["bursts"]] == [100, 400, 400]
        assert all(seconds > 0 for burst in each["bursts"] for seconds in burst["each_s"])
        assert 0 < each["p50_us"] <= each["p99_us"]
        assert each["subscriptions"] >= 200 * BROKERS[broker].knows_rooms
        assert each["traced_bytes"] > 0
    if BROKERS[broker].knows_rooms:
        assert 0 < found[OURS[broker]]["restored_s"] < DEADLINE
    else:
        assert found[OURS[broker]]["restored_s"] is None
    assert found[LIBRARIES[broker]]["restored_s"] is None


def test_a_subject_that_does_not_exist_is_told(tmp_path: Path) -> None:
    done = cost("--only", "wsrooms-carrier-pigeon", "--out", str(tmp_path / "costs.json"))
    assert done.returncode == 2
    assert "there is no subject 'wsrooms-carrier-pigeon'; there are wsrooms-redis" in done.stderr
