"""The command line of the calculation: which fleet, and where the tables go."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from dataclasses import replace
from pathlib import Path

import msgspec

from benchmarks.harness.publish import RECORD, publish
from benchmarks.harness.results import Results
from benchmarks.harness.sizing.figures import Incomplete, all_prices
from benchmarks.harness.sizing.model import Fleet, Machines, Workload
from benchmarks.harness.sizing.report import WORKLOADS, assumed, checked, sized

__all__ = ["main"]

REPLICAS = 3
"""Of Kafka's topic, as wsrooms-kafka makes it where there are as many brokers."""


MOST = 1_000_000_000
"""Of anything: more than any fleet has, and few enough that nothing overflows."""

LEAST = 1e-6
"""Of what may be a fraction."""


def main(arguments: list[str] | None = None) -> int:
    """Calculate; returns the exit status: 2 if nothing could be calculated."""
    parser = _parser()
    options = parser.parse_args(arguments)
    workloads = _workloads(parser, options)
    try:
        results = Results.read(options.record)
        prices = all_prices(results)
        fleet = Fleet(
            instances=options.instances,
            clients=options.clients,
            brokers=options.brokers,
            replicas=min(REPLICAS, options.brokers),
        )
        machines = Machines(
            broker_cores=options.broker_cores,
            bits=options.gbit * 1e9,
            instance_mb=options.instance_mb,
            broker_mb=options.broker_mb,
        )
        lines = [*checked(results, prices), "", assumed(fleet, machines, workloads)]
        print("\n".join([*lines, "", *sized(prices, fleet, machines, workloads)]))
        if options.write:
            print(f"wrote {', '.join(path.name for path in publish(results))}")
    except (Incomplete, msgspec.MsgspecError, OSError, ValueError) as error:
        print(f"wsrooms: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py sizing",
        description="Calculates from what was measured what a fleet uses on each broker, and "
        "which limit comes first. docs/sizing.md explains it.",
    )
    fleet, machines = Fleet(instances=100, clients=10_000), Machines()
    option = parser.add_argument
    option("--record", metavar="FILE", type=Path, default=RECORD, help="the result file")
    option("--instances", type=_whole, default=fleet.instances, help="of one core each (100)")
    option("--clients", type=_whole, default=fleet.clients, help="on each of them (10000)")
    option("--brokers", type=_whole, default=1, help="joined to a cluster (1)")
    option("--rooms", type=_whole, help="in the whole fleet; else three examples are shown")
    option("--members", type=_whole, help="of each room (4)")
    option("--rate", type=_amount, help="messages a second in each room (0.1)")
    option("--payload", type=_whole, help=f"bytes of a message ({WORKLOADS[0].payload})")
    option("--broker-cores", type=_whole, default=machines.broker_cores, help="(8)")
    option("--gbit", type=_amount, default=machines.bits / 1e9, help="of each network card (1)")
    option("--instance-mb", type=_amount, default=machines.instance_mb, help="memory (4096)")
    option("--broker-mb", type=_amount, default=machines.broker_mb, help="memory (16384)")
    option("--write", action="store_true", help="renew the tables in docs/, as they are by default")
    return parser


def _whole(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,10}", text) and 1 <= int(text) <= MOST:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {MOST:,}")


def _amount(text: str) -> float:
    with contextlib.suppress(ValueError):
        if LEAST <= (amount := float(text)) <= MOST:
            return amount
    raise argparse.ArgumentTypeError(f"{text!r} is no number from {LEAST:f} to {MOST:,}")


def _workloads(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> tuple[Workload, ...]:
    about_rooms = {"members": options.members, "rate": options.rate, "payload": options.payload}
    given = {name: value for name, value in about_rooms.items() if value is not None}
    if options.rooms is None:
        if given:
            parser.error(f"--{next(iter(given))} is about the rooms of --rooms, which is missing")
        return WORKLOADS
    work = replace(Workload(name="as given", rooms=options.rooms, members=4, rate=0.1), **given)
    if work.members > (clients := options.instances * options.clients):
        parser.error(f"--members: a room has 1 to {clients:,} members, as there are clients")
    return (work,)
