"""`benchmarks/run.py kafka`: what it measures, tells and writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.harness import costing
from benchmarks.harness.fleet.brokers import kafka as broker
from benchmarks.harness.kafka import cli, measure
from benchmarks.harness.machine import Cores
from tests.brokers.record import missing
from tests.repo.bench import ROOT, bench, copy_of_benchmarks, ours, row

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

BEGIN = "<!-- kafka: begin (written by benchmarks/run.py) -->"


def made_up(path: Path) -> Path:
    default, linger = "Kafka, as it is by itself", "linger=0.005"
    way: dict[str, Any] = {"rate": 200, "count": 800, "p50_us": 2000, "p90_us": 3000}
    way |= {"p99_us": 9000, "most_us": 20_000}
    other: dict[str, Any] = {"messages": 4000, "seconds": 4, "idle": 0.01, "broker_cpu_s": 1}
    whole: dict[str, Any] = {"when": "2026-01-01 12:00", "machine": "a machine"}
    whole |= {"versions": {"Apache Kafka": "4.1.1"}, "skipped": {"nats": "no NATS"}}
    whole |= {
        "repetitions": 3,
        "ways": [
            way | {"setting": default},
            way | {"setting": default, "p50_us": 4000},
            way | {"setting": default, "p50_us": 3000},
            way | {"setting": linger, "p50_us": 8000},
        ],
        "speeds": [
            {"setting": default, "messages": 10_000, "seconds": 0.5},
            {"setting": linger, "messages": 10_000, "seconds": 1},
        ],
        "idles": [
            {"partitions": 8, "fetch_max_wait": 0.5, "client": 0.004, "broker": 0.02},
            {"partitions": 8, "fetch_max_wait": 0, "client": 0, "broker": 0.01},
        ],
        "others": [
            other | {"subject": "wsrooms-kafka", "rate": 1000, "cpu_s": 0.44},
            other | {"subject": "aiokafka", "rate": 1000, "cpu_s": 0.02},
        ],
    }
    path.write_text(json.dumps(whole))
    return path


def test_a_report_shows_settings_idling_and_the_rooms_of_others(tmp_path: Path) -> None:
    done = bench("kafka", "--report", str(made_up(tmp_path / "kafka.json")))
    assert done.returncode == 0, done.stderr
    assert "a machine; Apache Kafka 4.1.1. Medians of 3." in done.stdout
    assert "Not measured: nats (no NATS)." in done.stdout
    default = row(done.stdout, "Kafka, as it is by itself")
    assert default[1:] == ["3.0 / 3.0 / 9.0", "20.0", "20"]
    assert row(done.stdout, "linger=0.005")[1:] == ["8.0 / 3.0 / 9.0", "20.0", "10"]
    assert row(done.stdout, "8")[1:] == ["0.4 + 2.0", "– + 1.0"]
    assert row(done.stdout, "wsrooms-kafka")[1:] == ["1.0", "11.0 (100.0 µs); 25"]
    # It took less than when all was quiet: nothing that a message could have cost.
    assert row(done.stdout, "aiokafka")[1:] == ["1.0", "0.5 (0.0 µs); 25"]


def test_write_renews_the_page_of_kafka(tmp_path: Path) -> None:
    copy_of_benchmarks(tmp_path)
    page = tmp_path / "docs/transports/kafka.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n<!-- kafka: end -->\n\nafter\n")
    file = str(made_up(tmp_path / "kafka.json"))
    done = bench("kafka", "--report", file, "--write", root=tmp_path)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n\n2026-01-01 12:00 on a machine")
    assert text.endswith("|\n\n<!-- kafka: end -->\n\nafter\n")


def test_the_page_has_the_place_that_is_written() -> None:
    text = (ROOT / "docs/transports/kafka.md").read_text("utf-8")
    assert BEGIN in text
    assert "<!-- kafka: end -->" in text


def test_everything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "_image", lambda: None)  # Kafka itself takes long to start
    if (reason := broker.KafkaServer.why_not()) is not None:
        missing(reason)
    default = "Kafka, as it is by itself"
    for name, few in (
        ("SETTINGS", {default: measure.SETTINGS[default]}),
        ("WAITS", (0.5,)),
        ("PARTITIONS", (8,)),
        ("FLOODS", (1000,)),
        ("OTHERS", {name: measure.OTHERS[name] for name in ("wsrooms-kafka", "aiokafka")}),
    ):
        monkeypatch.setattr(measure, name, few)
    monkeypatch.setattr(costing, "end_like_an_interrupt", lambda: None)
    monkeypatch.setenv("PYTHONPATH", ours("redis", "nats", "kafka"))
    out = tmp_path / "kafka.json"
    assert cli.main(["--secs", "0.2", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert [(way["rate"], way["count"]) for way in found["ways"]] == [(1, 2), (200, 40)]
    assert all(0 < way["p50_us"] <= way["p99_us"] <= way["most_us"] for way in found["ways"])
    assert [speed["messages"] for speed in found["speeds"]] == [1000]
    assert [idle["fetch_max_wait"] for idle in found["idles"]] == [0.5, 0]
    assert [bool(idle["client"]) for idle in found["idles"]] == [True, False]
    others = {each["subject"]: each for each in found["others"]}
    assert list(others) == ["wsrooms-kafka", "aiokafka"]
    for each in others.values():
        assert 0 < each["messages"] <= 200
        assert each["cpu_s"] > 0


def test_a_container_of_kafka_that_has_fallen_comes_back_and_one_that_is_stopped_is_gone() -> None:
    if broker._image() is None:
        missing(f"Docker does not have {broker.IMAGE}")
    with broker.KafkaServer(Cores(None, None), "test") as first:
        assert first.resident_kb() > 100_000, "this is not the process of Kafka"
        container = first._container
        first.fall()
        assert not first.accepts()
        again = first.anew()
        assert (again.port, again._container) == (first.port, container)
        assert again.accepts()
        assert again.pid != first.pid
        again.stop()
    assert container not in broker._docker("ps", "--all", "--format", "{{.Names}}")
