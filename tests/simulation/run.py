"""Runs one seed of the simulation, and says what came of it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
from dataclasses import dataclass, field

from tests.simulation.app import Planned
from tests.simulation.linked import LinkedCluster
from tests.simulation.storm import STEPS, Storm
from wsrooms import WsRoomsError
from wsrooms.testing import History, run
from wsrooms.transports import SERVER_CHANNEL

__all__ = ["Outcome", "simulate"]

GAUGES = ("connections", "rooms", "memberships", "joins_pending", "outbox", "outbox_bytes")
"""What must be 0 once every client has gone and all is well."""

NEVER = ("hook_errors", "tasks_failed", "echoes", "foreign")


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        seed: Its seed.
        steps: How many things happened.
        failures: A text for each promise that was broken; none if all were kept.
        digest: The same for two runs that were the same.
        records: How long its history is.
        history: The history.
        seconds: How much virtual time it took.
    """

    seed: int
    steps: int
    failures: list[str] = field(default_factory=list)
    digest: str = ""
    records: int = 0
    history: History = field(default_factory=History)
    seconds: float = 0.0


class _Unexpected(logging.Handler):
    """Notes errors that the library logs and that nobody has planned."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, WsRoomsError | Planned):
            self.found.append(f"logged: {record.getMessage()}: {error!r}")


def simulate(seed: int, steps: int = STEPS) -> Outcome:
    """Run one seed; what goes wrong is in the outcome, not raised."""
    outcome = Outcome(seed, steps)
    logger = logging.getLogger("wsrooms")
    unexpected = _Unexpected()
    logger.addHandler(unexpected)
    before, logger.propagate = logger.propagate, False
    try:
        run(_blow(outcome), seed=seed)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this seed's failure
        outcome.failures.append(f"raised: {error!r}" + "".join(getattr(error, "__notes__", ())))
    finally:
        logger.removeHandler(unexpected)
        logger.propagate = before
    outcome.failures += unexpected.found
    outcome.records = len(outcome.history)
    return outcome


async def _blow(outcome: Outcome) -> None:
    storm = Storm(outcome.seed, outcome.steps)
    outcome.history = storm.history
    loop = asyncio.get_running_loop()
    loop.wsrooms_clock = storm.clock  # type: ignore[attr-defined]  # the loop is a VirtualTimeLoop
    async with storm.cluster:
        await storm.blow()
        await storm.calm()
        outcome.failures += [each.report() for each in storm.history.check(settled=False)]
        await storm.go()
        outcome.failures += _left_over(storm)
        if isinstance(storm.cluster, LinkedCluster):
            outcome.failures += storm.cluster.broken + storm.cluster.unexplained()
        stats = [app.stats() for app in storm.cluster.apps]
    if channels := storm.channels():
        outcome.failures.append(f"left over: subscriptions after the end: {channels}")
    for _ in range(5):
        await asyncio.sleep(0)
    if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        outcome.failures.append(f"left over: tasks after the end: {tasks}")
    outcome.seconds = loop.time()
    text = io.StringIO()
    storm.history.dump(text)
    told = json.dumps([text.getvalue(), stats, sorted(outcome.failures)])
    outcome.digest = hashlib.sha256(told.encode()).hexdigest()[:16]


def _left_over(storm: Storm) -> list[str]:
    """What is there, and should not be, after every client has gone."""
    found: list[str] = []
    for index, app in enumerate(storm.cluster.apps):
        instance = app._life.instance
        assert instance is not None
        stats = app.stats()
        name = f"i{index}"
        found += [f"left over: {name} has {key} {stats[key]}" for key in GAUGES if stats[key]]
        found += [f"{key} is {stats[key]} on {name}" for key in NEVER if stats[key]]
        if instance.sessions:
            found.append(f"left over: sessions on {name}: {len(instance.sessions)}")
        link = instance.rooms.link
        assert link is not None
        if list(link._channels) != [SERVER_CHANNEL]:
            found.append(f"left over: channels on {name}: {list(link._channels)}")
        if stats["dropped"] > storm.garbage:
            found.append(f"{name} dropped {stats['dropped']} messages of {storm.garbage}")
        if stats["handler_errors"] > storm.planned:
            found.append(f"{name} had {stats['handler_errors']} errors of {storm.planned}")
        gaps = _gaps_since_start(storm.history, name)
        if stats["gaps"] != gaps:
            found.append(f"{name} counted {stats['gaps']} gaps and told of {gaps}")
    if (channels := storm.channels()) != {SERVER_CHANNEL: storm.instances}:
        found.append(f"left over: subscriptions: {channels}")
    return found


def _gaps_since_start(history: History, name: str) -> int:
    gaps = 0
    for record in history:
        if record.instance == name:
            if record.kind == "started":
                gaps = 0
            gaps += record.kind == "gap"
    return gaps
