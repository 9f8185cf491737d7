"""What is measured of a fleet. Clients send to one instance, and those of another hear it."""

from __future__ import annotations

from benchmarks.harness.scenarios import Scenario

__all__ = [
    "QUICK",
    "SCENARIOS",
    "SPREAD",
    "SPREAD_MEMBERS",
    "SPREAD_RATE",
    "SPREAD_ROOMS",
    "STRANGERS",
    "TRANSPORTS",
    "WRITES",
]

ONE_ROOM = ("fan", "--members", "500", "--room-name", "/chat/general")
MANY_ROOMS = ("fan", "--rooms", "50", "--members", "1")

SPREAD_ROOMS, SPREAD_MEMBERS, SPREAD_RATE = 50, 8, 10
"""What is the same on one, two and four instances: rooms, members of each that hear, and messages
a second in each. Every room has as many members on each instance."""

SPREAD = ("fan", "--rooms", str(SPREAD_ROOMS), "--members", str(SPREAD_MEMBERS))

_ALL = (
    Scenario(
        name="cross1",
        title="One message at a time from one instance to 500 members on the other",
        load=(*ONE_ROOM, "--burst", "1"),
        goal=1,
    ),
    Scenario(
        name="cross20",
        title="Twenty messages at a time to 500",
        load=(*ONE_ROOM, "--burst", "20"),
        goal=8,
    ),
    Scenario(
        name="cross-rate20",
        title="20 messages a second to 500: latency",
        load=(*ONE_ROOM, "--rate", "20", "--drain", "3"),
        demand=10_000,
    ),
    Scenario(
        name="relay-rate",
        title="1,000 messages a second in 50 rooms, one member each on the other instance",
        load=(*MANY_ROOMS, "--rate", "20", "--drain", "3"),
        unit="messages",
        demand=1000,
    ),
    Scenario(
        name="relay1",
        title="50 such rooms, one message at a time in each",
        load=(*MANY_ROOMS, "--burst", "1"),
        unit="messages",
    ),
    Scenario(
        name="relay20",
        title="50 such rooms, twenty at a time in each",
        load=(*MANY_ROOMS, "--burst", "20"),
        unit="messages",
    ),
    Scenario(
        name="strangers",
        kind="stranger",
        title="A third instance, while the others talk in rooms that it does not host",
        load=(*MANY_ROOMS, "--rate", "200"),
        unit="messages",
        demand=10_000,
        once=True,
    ),
    Scenario(
        name="writes",
        kind="writes",
        title="System calls that send, of the first instance, for 1,000 messages at once",
        load=("fan", "--members", "1", "--burst", "1000"),
        unit="messages",
        once=True,
    ),
    Scenario(name="turns", kind="turns", title="Joins of rooms that nobody was in", once=True),
    Scenario(name="rooms", kind="rooms", title="Memory for each room", once=True),
    Scenario(name="restart", kind="restart", title="The broker is killed and started", once=True),
)

SCENARIOS = {scenario.name: scenario for scenario in _ALL}

_MORE = (
    Scenario(
        name="relay-rare",
        title="100 messages a second in 50 rooms, one member each on the other instance",
        load=(*MANY_ROOMS, "--rate", "2", "--drain", "3"),
        unit="messages",
        demand=100,
    ),
    *(
        Scenario(
            name=f"on{count}",
            kind="spread",
            title=f"50 rooms of 8 and a sender on {count} instances",
            demand=SPREAD_ROOMS * SPREAD_MEMBERS * SPREAD_RATE,
            instances=count,
            once=True,
        )
        for count in (1, 2, 4)
    ),
    Scenario(name="traffic", kind="traffic", title="Messages without WebSockets", once=True),
    Scenario(
        name="memory",
        kind="memory",
        title="Memory for each connection, and for each of its rooms",
        who=("memory",),
        once=True,
    ),
)

TRANSPORTS = {
    **{name: each for name, each in SCENARIOS.items() if name not in ("relay1", "writes", "turns")},
    **{scenario.name: scenario for scenario in _MORE},
}
"""What all of our transports are measured in; the last ones are for calculations too."""

STRANGERS = SCENARIOS["strangers"]
WRITES = SCENARIOS["writes"]

QUICK = [name for name in SCENARIOS if name not in ("relay1", "writes")]
"""What runs unless others are named."""
