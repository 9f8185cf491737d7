"""The command line of the calculation: which fleet, and where the tables go."""

from __future__ import annotations

import argparse
import math
import sys
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


def main(arguments: list[str] | None = None) -> int:
    """Calculate; returns the exit status: 2 if nothing could be calculated."""
    options = _parser().parse_args(arguments)
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
        lines = [*checked(results, prices), "", assumed(fleet, machines)]
        print("\n".join([*lines, "", *sized(prices, fleet, machines, _workloads(options))]))
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
    option("--instances", type=at_least_one, default=fleet.instances, help="of one core each (100)")
    option("--clients", type=at_least_one, default=fleet.clients, help="on each of them (10000)")
    option("--brokers", type=at_least_one, default=1, help="joined to a cluster (1)")
    option("--rooms", type=at_least_one, help="in the whole fleet; else three examples are shown")
    option("--members", type=at_least_one, default=4, help="of each room (4)")
    option("--rate", type=above_zero, default=0.1, help="messages a second in each room (0.1)")
    payload = WORKLOADS[0].payload
    option("--payload", type=at_least_one, default=payload, help="bytes of a message (200)")
    option("--broker-cores", type=at_least_one, default=machines.broker_cores, help="(8)")
    option("--gbit", type=above_zero, default=machines.bits / 1e9, help="of each network card (1)")
    option("--instance-mb", type=above_zero, default=machines.instance_mb, help="memory (4096)")
    option("--broker-mb", type=above_zero, default=machines.broker_mb, help="memory (16384)")
    option("--write", action="store_true", help="renew the tables in docs/, as they are by default")
    return parser


def at_least_one(text: str) -> int:
    """A number of things that a fleet has."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than one")
    return number


def above_zero(text: str) -> float:
    """A measure of what is there, and is not endless."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


def _workloads(options: argparse.Namespace) -> tuple[Workload, ...]:
    if options.rooms is None:
        return WORKLOADS
    given = Workload(
        name="as given",
        rooms=options.rooms,
        members=options.members,
        rate=options.rate,
        payload=options.payload,
    )
    return (given,)
