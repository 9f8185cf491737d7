"""Case 57: what a transport counts, and what it tells."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from wsrooms.errors import OutboxFull
from wsrooms.testing.conformance.case import case
from wsrooms.testing.conformance.faults import disconnect, known, reconnect, settle
from wsrooms.transports import SupportsGaps, SupportsState, new_instance_id

if TYPE_CHECKING:
    from wsrooms.testing.conformance.instance import Instance
    from wsrooms.testing.conformance.trial import Trial
    from wsrooms.transports import Gap, TransportState

WAITING = 5
NO_PROBES = 3600.0
"""Seconds between two probes, so that none is counted meanwhile."""

COUNTERS = (
    "published",
    "publish_failed",
    "received",
    "own_skipped",
    "duplicates",
    "gaps",
    "missing",
    "foreign",
    "handler_errors",
    "subscriptions",
    "reconnects",
    "probes_lost",
    "outbox",
)
"""Those that are looked at: all that the contract names, but what was sent again."""


class Told(Exception):
    """What a callback raises."""


@case(57, needs=("proxy", "state", "stats", "publish_raw"), deadline=45.0)
async def metrics_and_state_callbacks(trial: Trial) -> None:
    """Each thing that happens moves its counters and no other; callbacks may raise."""
    trial.expect_logs()
    options = known(trial, probe_interval=NO_PROBES, outbox_messages=WAITING)
    a = await trial.instance(**options)
    b = await trial.instance(through_proxy=True, **options)
    moves = Moves(trial, b)
    listener = await b.listen(trial.channel())
    await moves.by("a subscribe", subscriptions=1)
    await a.say(listener.channel, "of another")
    await moves.by("a message", received=1)
    await b.say(listener.channel, "of its own")
    await moves.by("an own message", published=1, own_skipped=1)
    stranger = new_instance_id()
    publish = partial(trial.rig.publish_frame, listener.channel, stranger, 1)
    await publish(1, "the first of a stranger")
    await moves.by("a stranger's first message", received=1)
    await publish(1, "the first of a stranger")
    await moves.by("a duplicate", duplicates=1)
    await publish(5, "the fifth of a stranger")
    await moves.by("a message before which three are missing", received=1, gaps=1, missing=3)
    await trial.rig.publish_raw(listener.channel, b"no envelope")
    await moves.by("what is no envelope", foreign=1)
    listener.on_payload = _raise
    await a.say(listener.channel, "a handler fails")
    await moves.by("a handler that fails", received=1, handler_errors=1)
    listener.on_payload = None
    await _outage(trial, a, b, moves)
    await b.unsubscribe(listener.channel)
    await moves.by("an unsubscribe", subscriptions=-1)
    await _raising(trial, a)


class Moves:
    """Compares an instance's counters with what they were."""

    def __init__(self, trial: Trial, instance: Instance) -> None:
        self._trial = trial
        self._instance = instance
        self._before = instance.stats

    async def by(self, what: str, *, but: str = "", **expected: int) -> None:
        """Wait until ``what`` has moved the counters by ``expected``, and no other ``but`` one."""
        known = {name: step for name, step in expected.items() if name in self._before}
        wanted = {name: step for name, step in known.items() if step}

        def moved() -> dict[str, int]:
            now = self._instance.stats
            steps = {name: now[name] - self._before[name] for name in COUNTERS if name in now}
            return {name: step for name, step in steps.items() if step and name != but}

        if not await self._trial.comes(lambda: moved() == wanted, what):
            raise self._trial.failure(f"{what} moves {moved()}, not {wanted}")
        self._before = self._instance.stats


async def _outage(trial: Trial, a: Instance, b: Instance, moves: Moves) -> None:
    """Lose the link of ``b``, let its outbox be full, and bring it back."""
    channel = trial.channel()
    told = len(b.states)
    await disconnect(trial, b)
    await moves.by("a lost link")
    bounded = "outbox_messages" in trial.rig.options
    receipts = [b.publish(channel, f"meanwhile {number}") for number in range(WAITING + bounded)]
    await moves.by("publishes without a link", outbox=WAITING, publish_failed=int(bounded))
    if bounded:
        await trial.refused(OutboxFull, lambda: receipts[-1])
    await reconnect(trial, b)
    await trial.all_published(receipts[:WAITING])
    await moves.by(
        "a link that is back",
        but="own_skipped",  # its own come back, if they were not published too soon for that
        reconnects=1,
        gaps=0 if trial.rig.keeps_log else 1,
        outbox=-WAITING,
        published=WAITING,
    )
    states = [state for state, _ in b.states[told:]]
    states = [state for n, state in enumerate(states) if n == 0 or state != states[n - 1]]
    trial.check(states == ["down", "up"], f"it told of {b.states[told:]}")
    reasons = [error for state, error in b.states[told:] if state == "down"]
    trial.check(all(reasons), "it does not say why it is down")


async def _raising(trial: Trial, a: Instance) -> None:
    """Callbacks that raise are harmless."""
    c = await trial.instance(through_proxy=True)
    listener = await c.listen(trial.channel("raising"))
    called: list[str] = []

    def on_state(state: TransportState, error: str | None) -> None:
        called.append(state)
        c._state_told(state, error)
        raise Told(state)

    def on_gap(gap: Gap) -> None:
        called.append("gap")
        c._gap_told(gap)
        raise Told(gap)

    if isinstance(c.transport, SupportsState):
        c.transport.on_state(on_state)
    if isinstance(c.transport, SupportsGaps):
        c.transport.on_gap(on_gap)
    await trial.cut(c)
    await settle(trial, [a], [listener])
    expected = {"down", "up"} if trial.rig.keeps_log else {"down", "up", "gap"}
    trial.check(set(called) >= expected, f"called were only {called}")


def _raise(payload: str) -> None:
    raise Told(payload)
