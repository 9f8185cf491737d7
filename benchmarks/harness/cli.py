"""The command line: what is measured, and what is made of the figures."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import get_args

import msgspec

from benchmarks.harness import contenders, scenarios
from benchmarks.harness.campaign import Campaign
from benchmarks.harness.choosing import chosen, skipped
from benchmarks.harness.contenders import CONTENDERS, Contender, python_packages
from benchmarks.harness.figures import faults
from benchmarks.harness.fleet import contenders as fleets
from benchmarks.harness.fleet import scenarios as fleet_scenarios
from benchmarks.harness.fleet.brokers import ALL
from benchmarks.harness.fleet.contenders import FLEETS, OURS, TRANSPORTS
from benchmarks.harness.fleet.measure import FleetBench
from benchmarks.harness.machine import (
    CannotMeasure,
    Cores,
    build,
    choose_cores,
    describe,
    end_like_an_interrupt,
    end_of_an_interrupt,
    program_version,
    raise_open_files,
    versions,
)
from benchmarks.harness.measure import Bench
from benchmarks.harness.publish import publish, summaries
from benchmarks.harness.results import MADE, Results, Run, Settings, What
from benchmarks.harness.scenarios import SCENARIOS, Scenario

__all__ = ["main"]

WHAT = (
    "one server alone, fleets of several instances over a broker beside those of other "
    "libraries, or all of our transports (server); see also: costs, kafka, sizing and many --help"
)


def main(arguments: list[str] | None = None) -> int:
    """Measure or report; returns the exit status: 1 for faults, 2 if nothing could be done."""
    options = _parser().parse_args(arguments)
    end_like_an_interrupt()
    if options.list:
        servers, known = _there_are(options)
        for what, names in (("servers", servers), ("scenarios", known)):
            print(f"{what}: {', '.join(names)}")
        return 0
    try:
        results = _measure(options) if options.report is None else _read(options.report)
        print("\n".join(["", *summaries(results)]))
        if options.write:
            print(f"wrote {', '.join(path.name for path in publish(results))}")
    except (CannotMeasure, ValueError, OSError) as error:
        print(f"wsrooms: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return end_of_an_interrupt()
    wrong = faults(results)
    for line in wrong:
        print(f"FAULT {line}", file=sys.stderr)
    # Several peers lose or reorder between instances: that is a finding, not a failed run.
    theirs = results.what == "fleet"
    return 1 if any(line.startswith(OURS) or not theirs for line in wrong) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py",
        description="Measures wsrooms beside its peers and beside what C can do. "
        "docs/performance.md explains the method.",
    )
    option = parser.add_argument
    option("what", nargs="?", choices=list(get_args(What)), default="server", help=WHAT)
    option("--only", metavar="A,B", help="servers, or all")
    option("--scen", metavar="A,B", help="scenarios, or all")
    option("--reps", type=int, default=3, help="repetitions (3)")
    option("--secs", type=float, default=0.7, help="seconds of one window (0.7)")
    option("--warm", type=float, default=0.3, help="seconds of load before it (0.3)")
    option("--attempts", type=int, default=1, help="tries for a window that is not disturbed (1)")
    option("--idle-conns", type=int, default=5000, help="connections of the scenario idle (5000)")
    option("--crowd", type=int, default=10_000, help="connections of memory, joins, disconnect")
    option("--rooms", type=int, default=10_000, help="fleet: rooms of rooms and restart (10000)")
    option("--out", type=Path, help="the result file (in results/)")
    option("--append", action="store_true", help="add to the result file instead of a new one")
    option("--report", metavar="FILE", type=Path, help="measure nothing, show this result file")
    option("--write", action="store_true", help="renew the pages of docs/ that show it")
    option("--list", action="store_true", help="name all servers and scenarios")
    return parser


def _read(path: Path) -> Results:
    try:
        return Results.read(path)
    except msgspec.MsgspecError as error:
        raise CannotMeasure(f"{path} is no result file: {error}") from error


def _there_are(options: argparse.Namespace) -> tuple[dict[str, Contender], dict[str, Scenario]]:
    """All servers and scenarios of the kind that is asked for."""
    if options.what == "fleet":
        return FLEETS, fleet_scenarios.SCENARIOS
    if options.what == "transports":
        return TRANSPORTS, fleet_scenarios.TRANSPORTS
    return CONTENDERS, SCENARIOS


def _measure(options: argparse.Namespace) -> Results:
    fleet = options.what != "server"
    there, known = _there_are(options)
    quick: dict[str, tuple[list[str], list[str]]] = {
        "server": (contenders.QUICK, scenarios.QUICK),
        "fleet": (fleets.QUICK, fleet_scenarios.QUICK),
        "transports": (list(there), list(known)),
    }
    why_not = fleets.why_not if fleet else contenders.why_not
    servers_, scenarios_ = (",".join(names) for names in quick[options.what])
    names = chosen(options.only or servers_, there, "server")
    wanted = [known[name] for name in chosen(options.scen or scenarios_, known, "scenario")]
    out = options.out or MADE / f"{'latest' if not fleet else options.what}.json"
    build()
    cores, unpinned = choose_cores()
    if unpinned is not None:
        print(f"wsrooms: {unpinned}")
    missing = skipped({name: there[name] for name in names}, why_not)
    servers = [there[name] for name in names if name not in missing]
    results = Results(
        when=f"{datetime.now():%Y-%m-%d %H:%M}",
        machine=describe(),
        versions=versions(_peer_versions(servers, fleet=fleet)),
        settings=Settings(
            repetitions=options.reps,
            seconds=options.secs,
            warm=options.warm,
            pinned=cores.server is not None,
        ),
        skipped=missing,
        runs=[],
        what=options.what,
    )
    if options.append and out.exists():
        results = _continued(_read(out), results)
    runs = _campaign(options, cores, servers, wanted)
    began = time.monotonic()
    # What is added to a cell that has figures is one more repetition, not the first again.
    there_are = Counter((run.server, run.scenario) for run in results.runs)
    try:
        for run in runs:
            run.repetition += there_are[run.server, run.scenario]
            results.runs.append(run)
            settings = results.settings
            settings.repetitions = max(settings.repetitions, run.repetition + 1)
            print(f"{time.monotonic() - began:6.1f} s  {_line(run)}", flush=True)
    finally:
        results.save(out)
        print(f"wsrooms: every figure is in {out}")
    return results


def _campaign(
    options: argparse.Namespace, cores: Cores, servers: list[Contender], wanted: list[Scenario]
) -> Iterator[Run]:
    """The measurements, to be made one by one.

    Raises:
        CannotMeasure: There would be none.
    """
    sockets = raise_open_files() - 100
    bench = Bench(
        cores=cores,
        seconds=options.secs,
        warm=options.warm,
        idle_connections=min(options.idle_conns, sockets),
        crowd=min(options.crowd, sockets - 1000),
        sockets=sockets,
    )
    fleets = FleetBench(cores=cores, seconds=options.secs, warm=options.warm, rooms=options.rooms)
    can = bench.can if options.what == "server" else fleets.can
    if not any(can(server, scenario) for server in servers for scenario in wanted):
        raise CannotMeasure("none of these servers is measured in these scenarios")
    if options.what == "server":
        return Campaign(bench, servers, wanted, options.reps, options.attempts).runs()
    return Campaign(fleets, servers, wanted, options.reps, options.attempts).runs()


def _continued(former: Results, new: Results) -> Results:
    """``former``, to which the runs of ``new`` can be added: of the same code and machine."""
    for what, then, now in (
        ("commit", former.versions.get("commit"), new.versions.get("commit")),
        ("machine", former.machine, new.machine),
        ("kind", former.what, new.what),
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
    if run.load is not None and run.stranger is None and run.writes is None:
        load = run.load
        disturbed = f"  foreign {load.foreign:.0%}" if load.foreign > 0.05 else ""
        return (
            f"{cell} {load.rate:11,.0f}/s  {load.user_us:6.2f} + {load.system_us:5.2f} µs  "
            f"p50 {load.p50_us / 1e3:.2f} ms{disturbed}{_faults(run)}"
        )
    return f"{cell} {_told(run)}{_faults(run)}"


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
    return _told_of_fleet(run)


def _told_of_fleet(run: Run) -> str:
    if run.turns is not None:
        each = (f"{turns.rate:,.0f}/s, p50 {turns.p50_us / 1e3:.2f} ms" for turns in run.turns)
        return "; ".join(each)
    if run.rooms is not None:
        return f"{run.rooms.bytes_each:,.0f} B each, broker {run.rooms.broker_bytes_each:,.0f} B"
    if run.stranger is not None:
        stranger = run.stranger
        rate = stranger.messages / stranger.seconds
        return f"{rate:,.0f} messages/s, {stranger.cpu_us:.2f} µs each"
    if run.writes is not None:
        return f"{sum(run.writes.values()):,.0f} sends for 1,000 messages"
    if run.traffic is not None:
        floods = run.traffic.floods
        each = (f"{1e6 * each.broker_cpu_s / each.messages:.1f}" for each in floods)
        return f"{', '.join(each)} µs of the broker for each"
    if run.restart is not None:
        restart = run.restart
        times = [restart.channels_s, restart.heard_s]
        told = ["never" if time is None else f"{time:.2f} s" for time in times]
        back = f"subscribed {told[0]}, heard {told[1]}"
        return f"{back}, {restart.heard:,} of {restart.rooms:,} rooms, {restart.twice} twice"
    return f"failed: {run.error}"


def _peer_versions(servers: list[Contender], *, fleet: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind in {server.broker: None for server in servers if fleet}:
        if kind != "memory":
            found.update([ALL[kind].version()])
    for server in servers:
        found.update({name: python_packages()[name] for name in server.python})
        if server.node:
            found["Node"] = program_version("node").removeprefix("v")
    return found
