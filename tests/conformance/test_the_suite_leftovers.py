"""At the end of every case the suite finds what a transport has left, blocked or complained of."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.bench import Bench, Bus, Carrier, Good, Handler
from tests.deadlines import DEADLINE
from wsrooms.testing import run
from wsrooms.testing.conformance import ConformanceFailed, cases, watch

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt

(CASE,) = [case for case in cases() if case.name == "delivers_between_two_instances"]


async def found_with(carrier: type[Carrier]) -> str:
    """What the suite says of a transport that does its work."""
    kind = type(carrier.__name__, (Good,), {"carrier": carrier})
    with pytest.raises(ConformanceFailed) as failed:
        await CASE.run(Bench(kind))
    return failed.value.told


async def test_a_task_that_is_left_is_named() -> None:
    left: list[asyncio.Task[None]] = []

    class LeavesATask(Carrier):
        async def start(self) -> None:
            await super().start()
            left.append(asyncio.create_task(asyncio.Event().wait(), name="a reader"))  # type: ignore[arg-type]  # it returns True

    told = await found_with(LeavesATask)
    for task in left:
        task.cancel()
    assert told.count("a task is left") == 2
    assert "a reader" in told


async def test_a_socket_that_is_left_is_counted() -> None:
    left: list[socket.socket] = []

    class LeavesSockets(Carrier):
        async def start(self) -> None:
            await super().start()
            left.extend(socket.socketpair())

    told = await asyncio.wait_for(found_with(LeavesSockets), DEADLINE)
    for each in left:
        each.close()
    assert "4 socket(s) are left open" in told


async def test_a_socket_that_is_thrown_away_warns() -> None:
    class Forgets(Carrier):
        async def start(self) -> None:
            await super().start()
            self.ends = socket.socketpair()

    told = await found_with(Forgets)
    assert "ResourceWarning: unclosed" in told or "socket(s) are left open" in told


async def test_a_warning_is_told_with_its_place() -> None:
    class Warns(Carrier):
        async def close(self) -> None:
            warnings.warn("this is old", DeprecationWarning, stacklevel=1)
            await super().close()

    told = await found_with(Warns)
    assert "a warning: DeprecationWarning: this is old" in told
    assert f"{__file__}:" in told


async def test_a_coroutine_that_nobody_awaits_is_told() -> None:
    async def flush() -> None:
        """Never awaited."""

    class Forgets(Carrier):
        async def close(self) -> None:
            await super().close()
            flush()  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine] - the fault

    assert "was never awaited" in await found_with(Forgets)


async def test_what_is_logged_as_a_warning_or_an_error_is_told() -> None:
    class Complains(Carrier):
        async def close(self) -> None:
            logging.getLogger("a.client").warning("it is %s", "slow")
            try:
                raise LookupError("no such thing")
            except LookupError:
                logging.getLogger("wsrooms").exception("closing failed")
            await super().close()

    told = await found_with(Complains)
    assert "logged: a.client: WARNING: it is slow" in told
    assert "logged: wsrooms: ERROR: closing failed (LookupError('no such thing'))" in told


async def test_what_nobody_could_be_told_is_told() -> None:
    def fail() -> None:
        raise LookupError("in a callback")

    class FailsUnseen(Carrier):
        async def start(self) -> None:
            await super().start()
            asyncio.get_running_loop().call_soon(fail)

    told = await found_with(FailsUnseen)
    assert "an error that nobody could be told" in told
    assert "LookupError('in a callback')" in told


async def test_a_task_that_died_unseen_is_told() -> None:
    async def die() -> None:
        raise LookupError("a dead reader")

    class Dies(Carrier):
        async def start(self) -> None:
            await super().start()
            self.reader = asyncio.create_task(die())

    assert "LookupError('a dead reader')" in await found_with(Dies)


async def test_what_a_finaliser_raises_is_told() -> None:
    class Held:
        def __del__(self) -> None:
            raise LookupError("at its end")

    class Holds(Carrier):
        async def start(self) -> None:
            await super().start()
            self.held = [Held()]
            self.held.append(self.held)  # type: ignore[arg-type]  # collected as garbage only

        async def close(self) -> None:
            await super().close()
            self.held = []

    assert "LookupError('at its end')" in await found_with(Holds)


@pytest.mark.may_block("that is the fault")
async def test_work_that_keeps_the_loop_busy_is_told_with_its_place() -> None:
    # While coverage looks on, ten times as much is allowed as otherwise.
    works = 1.2 if watch._is_traced() else 0.4

    class Works(Carrier):
        def publish(self, channel: str, payload: str) -> Receipt:
            until = time.thread_time() + works
            while time.thread_time() < until:
                pass
            return super().publish(channel, payload)

    told = await found_with(Works)
    assert "the event loop was blocked for" in told
    assert "in publish" in told


@pytest.mark.may_block("that is the fault")
async def test_waiting_on_the_loop_is_told() -> None:
    class Waits(Carrier):
        def subscribe(self, channel: str, handler: Handler) -> Receipt:
            time.sleep(1.5)
            return super().subscribe(channel, handler)

    told = await found_with(Waits)
    assert "the event loop was blocked for" in told
    assert "time.sleep" in told


async def test_a_close_that_fails_is_told() -> None:
    class FailsToClose(Carrier):
        async def close(self) -> None:
            await super().close()
            raise LookupError("already closed")

    told = await found_with(FailsToClose)
    assert told.count("failed: LookupError('already closed')") == 2
    assert "closing i0 failed" in told


def test_a_close_that_never_ends_is_told() -> None:
    class NeverCloses(Carrier):
        async def close(self) -> None:
            await super().close()
            await asyncio.Event().wait()

    told = run(found_with(NeverCloses))
    assert "i0 did not close in 5 s" in told
    assert "i1 did not close in 5 s" in told


def test_a_rig_whose_machine_is_slow_is_given_that_much_longer() -> None:
    class TakesItsTime(Carrier):
        async def close(self) -> None:
            await asyncio.sleep(8.0)
            await super().close()

    assert "i0 did not close in 5 s" in run(found_with(TakesItsTime))
    rig = Bench(type("Slow", (Good,), {"carrier": TakesItsTime}))
    rig.slowdown = 2.0
    run(CASE.run(rig))


async def test_the_rig_is_repaired_and_all_is_closed_though_the_case_has_failed() -> None:
    closed: list[object] = []
    repaired: list[object] = []

    class Deaf(Carrier):
        def receive(self, channel: str, text: str) -> None:
            pass

        async def close(self) -> None:
            closed.append(self)
            await super().close()

    class Watched(Bench):
        async def repair(self) -> None:
            assert not closed, "closing needs a broker that runs"
            repaired.append(self)

    kind: Callable[[Bus], Any] = type("DeafOnes", (Good,), {"carrier": Deaf})
    with pytest.raises(AssertionError, match="should have received"):
        await CASE.run(Watched(kind))
    assert len(repaired) == 1
    assert len(closed) == 2
