"""What is measured: the kinds of load, and what each asks of a server."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LOADS", "QUICK", "SCENARIOS", "Scenario"]

ONE_ROOM = ("fan", "--members", "1000", "--room-name", "/chat/general")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of load.

    Attributes:
        name: As on the command line.
        title: As in the tables.
        load: The arguments of wsload; empty where something else measures.
        unit: What is counted.
        demand: What must be delivered a second where the load is fixed; less is overload.
        goal: Times ``websockets``, by the design of this library; None where it names none.
    """

    name: str
    title: str
    load: tuple[str, ...] = ()
    unit: str = "deliveries"
    demand: float = 0
    goal: float | None = None


_ALL = (
    Scenario(
        name="fan1",
        title="One message at a time to a room of 1,000",
        load=(*ONE_ROOM, "--burst", "1"),
        goal=1.2,
    ),
    Scenario(
        name="fan5", title="Five messages at a time to 1,000", load=(*ONE_ROOM, "--burst", "5")
    ),
    Scenario(
        name="fan20",
        title="Twenty messages at a time to 1,000",
        load=(*ONE_ROOM, "--burst", "20"),
        goal=15,
    ),
    Scenario(
        name="rate20",
        title="20 messages a second to 1,000: latency",
        load=(*ONE_ROOM, "--rate", "20", "--drain", "3"),
        demand=20_000,
    ),
    Scenario(
        name="rooms",
        title="200 rooms of 5, all of them busy",
        load=("fan", "--rooms", "200", "--members", "4"),
        goal=1.7,
    ),
    Scenario(
        name="rpc1",
        title="Request and reply, 50 clients, 1 in flight each",
        load=("rpc", "--conns", "50", "--inflight", "1"),
        unit="replies",
        goal=2,
    ),
    Scenario(
        name="rpc10",
        title="Request and reply, 50 clients, 10 in flight each",
        load=("rpc", "--conns", "50", "--inflight", "10"),
        unit="replies",
        goal=5,
    ),
    Scenario(name="idle", title="Connections that joined a room and are silent"),
    Scenario(name="syscalls", title="System calls for each delivery"),
)

SCENARIOS = {scenario.name: scenario for scenario in _ALL}

LOADS = [scenario.name for scenario in _ALL if scenario.load]
"""Those that wsload measures by itself."""

QUICK = ["fan1", "fan20", "rate20", "rooms", "rpc1", "rpc10"]
"""What runs unless others are named."""
