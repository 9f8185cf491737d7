"""What the reports of `make bench` say, and what they write into the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from tests.repo.bench import bench, copy_of_benchmarks, load, result_file, row

if TYPE_CHECKING:
    from pathlib import Path


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
    copy_of_benchmarks(tmp_path)
    page = tmp_path / "docs/performance.md"
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
    copy_of_benchmarks(tmp_path)
    page = tmp_path / "docs/performance.md"
    page.write_text("nothing here")
    file = result_file(tmp_path / "results.json", {"server": "limit", "load": load()})
    done = bench("--report", str(file), "--write", root=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("wsrooms: the page needs the lines")
    assert page.read_text() == "nothing here"
