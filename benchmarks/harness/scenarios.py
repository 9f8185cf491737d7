"""What is measured: the kinds of load, and what each asks of a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["COUNTED", "LOADS", "QUICK", "SCENARIOS", "Kind", "Scenario"]

Kind = Literal[
    "load",
    "idle",
    "calls",
    "memory",
    "joins",
    "disconnect",
    "levels",
    "instructions",
    "turns",
    "rooms",
    "restart",
    "stranger",
    "writes",
    "spread",
    "traffic",
]
"""What measures a scenario; from "turns" on, a scenario of fleets."""

ONE_ROOM = ("fan", "--members", "1000", "--room-name", "/chat/general")


CLOSEST = (
    *("wsrooms-asyncio", "wsrooms-uvloop", "websockets-asyncio", "websockets-uvloop"),
    *("picows-uvloop", "socketify"),
)

PLAIN = (*CLOSEST, "starlette", "ws-node")
"""Who is measured with ten thousand connections: others would need minutes for each figure."""

OUR_KINDS = tuple(
    f"wsrooms-{loop}-{kind}"
    for loop in ("asyncio", "uvloop")
    for kind in ("raw", "async", "async-raw")
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of load.

    Attributes:
        name: As on the command line.
        title: As in the tables.
        kind: What measures it.
        load: The arguments of wsload, for the kind "load".
        of: The load that is varied, for the kind "levels".
        unit: What is counted.
        each: How many of these one message makes.
        demand: What must be delivered a second where the load is fixed; less is overload.
        goal: Times ``websockets``, by the design of this library; None where it names none.
        who: The only servers that it makes sense for; empty for all.
        once: Whether one repetition is enough.
        instances: Over how many the clients are spread, for the kind "spread".
    """

    name: str
    title: str
    kind: Kind = "load"
    load: tuple[str, ...] = ()
    of: str = ""
    unit: str = "deliveries"
    each: int = 1
    demand: float = 0
    goal: float | None = None
    who: tuple[str, ...] = ()
    once: bool = False
    instances: int = 1


_ALL = (
    Scenario(
        name="fan1",
        title="One message at a time to a room of 1,000",
        load=(*ONE_ROOM, "--burst", "1"),
        each=1000,
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
    Scenario(name="idle", kind="idle", title="Connections that joined a room and are silent"),
    Scenario(name="syscalls", kind="calls", title="System calls for each delivery", once=True),
    Scenario(
        name="memory",
        kind="memory",
        title="Memory for each connection, and for each of its rooms",
        who=PLAIN,
        once=True,
    ),
    Scenario(name="joins", kind="joins", title="Many joins at once", who=PLAIN, once=True),
    Scenario(
        name="disconnect",
        kind="disconnect",
        title="A disconnect, as the instance grows",
        who=CLOSEST,
        once=True,
    ),
    Scenario(
        name="load-fan",
        kind="levels",
        title="Latency of a message to a room of 1,000, by load",
        of="fan1",
        who=(*PLAIN, "limit-coalesce"),
        once=True,
    ),
    Scenario(
        name="load-rpc",
        kind="levels",
        title="Latency of a reply, 50 clients, by load",
        of="rpc1",
        unit="replies",
        who=(*PLAIN, "limit-coalesce"),
        once=True,
    ),
    Scenario(
        name="instructions",
        kind="instructions",
        title="Instructions outside the kernel for each delivery or reply",
        who=(*PLAIN, *OUR_KINDS, "limit-coalesce"),
        once=True,
    ),
)

SCENARIOS = {scenario.name: scenario for scenario in _ALL}

LOADS = [scenario.name for scenario in _ALL if scenario.load]
"""Those that wsload measures by itself."""

COUNTED = ["fan1", "fan20", "rooms", "rpc1", "rpc10"]
"""Those whose instructions are counted."""

QUICK = ["fan1", "fan20", "rate20", "rooms", "rpc1", "rpc10"]
"""What runs unless others are named."""
