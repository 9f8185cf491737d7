"""The command line: what is measured, and what is made of the figures."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import datetime
from pathlib import Path

import msgspec

from benchmarks.harness import contenders, scenarios
from benchmarks.harness.campaign import Campaign
from benchmarks.harness.contenders import CONTENDERS, Contender, python_packages, why_not
from benchmarks.harness.figures import faults
from benchmarks.harness.machine import (
    CannotMeasure,
    build,
    choose_cores,
    describe,
    program_version,
    raise_open_files,
    versions,
)
from benchmarks.harness.measure import Bench
from benchmarks.harness.publish import publish
from benchmarks.harness.report import summary
from benchmarks.harness.results import MADE, Results, Run, Settings
from benchmarks.harness.scenarios import SCENARIOS

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Measure or report; returns the exit status: 1 for faults, 2 if nothing could be done."""
    options = _parser().parse_args(arguments)
    if options.list:
        for what, names in (("servers", CONTENDERS), ("scenarios", SCENARIOS)):
            print(f"{what}: {', '.join(names)}")
        return 0
    try:
        results = _measure(options) if options.report is None else _read(options.report)
        print("\n".join(["", *summary(results)]))
        if options.write:
            print(f"wrote {', '.join(path.name for path in publish(results))}")
    except (CannotMeasure, ValueError, OSError) as error:
        print(f"wsrooms: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    wrong = faults(results)
    for line in wrong:
        print(f"FAULT {line}", file=sys.stderr)
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py",
        description="Measures wsrooms beside its peers and beside what C can do. "
        "docs/performance.md explains the method.",
    )
    option = parser.add_argument
    option("--only", metavar="A,B", default=",".join(contenders.QUICK), help="servers, or all")
    option("--scen", metavar="A,B", default=",".join(scenarios.QUICK), help="scenarios, or all")
    option("--reps", type=int, default=3, help="repetitions (3)")
    option("--secs", type=float, default=0.7, help="seconds of one window (0.7)")
    option("--warm", type=float, default=0.3, help="seconds of load before it (0.3)")
    option("--attempts", type=int, default=1, help="tries for a window that is not disturbed (1)")
    option("--idle-conns", type=int, default=5000, help="connections of the scenario idle (5000)")
    option("--crowd", type=int, default=10_000, help="connections of memory, joins, disconnect")
    option("--out", type=Path, default=MADE / "latest.json", help="the result file")
    option("--append", action="store_true", help="add to the result file instead of a new one")
    option("--report", metavar="FILE", type=Path, help="measure nothing, show this result file")
    option("--write", action="store_true", help="renew docs/performance.md and what belongs to it")
    option("--list", action="store_true", help="name all servers and scenarios")
    return parser


def _read(path: Path) -> Results:
    try:
        return Results.read(path)
    except msgspec.MsgspecError as error:
        raise CannotMeasure(f"{path} is no result file: {error}") from error


def _chosen(names: str, known: list[str], what: str) -> list[str]:
    wanted = known if names == "all" else names.split(",")
    for name in wanted:
        if name not in known:
            raise CannotMeasure(f"there is no {what} {name!r}; there are {', '.join(known)}")
    return wanted


def _measure(options: argparse.Namespace) -> Results:
    names = _chosen(options.only, list(CONTENDERS), "server")
    wanted = [SCENARIOS[name] for name in _chosen(options.scen, list(SCENARIOS), "scenario")]
    build()
    cores, unpinned = choose_cores()
    if unpinned is not None:
        print(f"wsrooms: {unpinned}")
    skipped = {name: reason for name in names if (reason := why_not(CONTENDERS[name]))}
    for name, reason in skipped.items():
        print(f"wsrooms: {name} is skipped: {reason}")
    servers = [CONTENDERS[name] for name in names if name not in skipped]
    results = Results(
        when=f"{datetime.now():%Y-%m-%d %H:%M}",
        machine=describe(),
        versions=versions(_peer_versions(servers)),
        settings=Settings(
            repetitions=options.reps,
            seconds=options.secs,
            warm=options.warm,
            pinned=cores.server is not None,
        ),
        skipped=skipped,
        runs=[],
    )
    if options.append and options.out.exists():
        results = _continued(_read(options.out), results)
    sockets = raise_open_files() - 100
    bench = Bench(
        cores=cores,
        seconds=options.secs,
        warm=options.warm,
        idle_connections=min(options.idle_conns, sockets),
        crowd=min(options.crowd, sockets - 1000),
        sockets=sockets,
    )
    if not any(bench.can(server, scenario) for server in servers for scenario in wanted):
        raise CannotMeasure("none of these servers is measured in these scenarios")
    began = time.monotonic()
    campaign = Campaign(bench, servers, wanted, options.reps, options.attempts)
    try:
        for run in campaign.runs():
            results.runs.append(run)
            print(f"{time.monotonic() - began:6.1f} s  {_line(run)}", flush=True)
    finally:
        results.save(options.out)
        print(f"wsrooms: every figure is in {options.out}")
    return results


def _continued(former: Results, new: Results) -> Results:
    """``former``, to which the runs of ``new`` can be added: of the same code and machine."""
    for what, then, now in (
        ("commit", former.versions.get("commit"), new.versions.get("commit")),
        ("machine", former.machine, new.machine),
    ):
        if then != now:
            raise CannotMeasure(f"the result file is of another {what} ({then}, now {now})")
    former.versions.update(new.versions)
    former.skipped.update(new.skipped)
    return former


def _line(run: Run) -> str:
    """One measurement, for the eyes of who waits."""
    cell = f"{run.repetition + 1}  {run.scenario:12}  {run.server:24}"
    if run.levels is not None:
        latencies = (f"{level.share:.0%} {level.load.p99_us / 1e3:.2f}" for level in run.levels)
        return f"{cell} p99 in ms at {', '.join(latencies)}{_faults(run)}"
    if run.load is not None:
        load = run.load
        disturbed = f"  foreign {load.foreign:.0%}" if load.foreign > 0.05 else ""
        return (
            f"{cell} {load.rate:11,.0f}/s  {load.user_us:6.2f} + {load.system_us:5.2f} µs  "
            f"p50 {load.p50_us / 1e3:.2f} ms{disturbed}{_faults(run)}"
        )
    return f"{cell} {_told(run)}"


def _faults(run: Run) -> str:
    kinds = [kind for load in run.windows() for kind in load.faults]
    return f"  FAULTS {', '.join(kinds)}" if kinds else ""


def _told(run: Run) -> str:
    if run.idle is not None:
        return f"{run.idle.kb_each:.1f} KB each"
    if run.calls is not None:
        return f"{run.calls.burst1['total']:.3f} and {run.calls.burst20['total']:.3f} calls"
    if run.memory is not None:
        memory = run.memory
        return f"{memory.open_kb_each:.1f} KB each, {memory.membership_bytes:.0f} B a membership"
    if run.joins is not None:
        return ", ".join(f"{name} {each.rate:,.0f}/s" for name, each in run.joins.items())
    if run.disconnect is not None:
        steps = (f"{step.others}: {step.cpu_us:.1f}" for step in run.disconnect.steps)
        return f"µs beside {', '.join(steps)}"
    if run.instructions is not None:
        each = (f"{name} {count:,.0f}" for name, count in run.instructions.each.items())
        return ", ".join(each)
    return f"failed: {run.error}"


def _peer_versions(servers: list[Contender]) -> dict[str, str]:
    found: dict[str, str] = {}
    for server in servers:
        found.update({name: python_packages()[name] for name in server.python})
        if server.node:
            found["Node"] = program_version("node").removeprefix("v")
    return found
