"""A fleet in steady traffic, to which faults happen, and what each of them does is counted.

.. code-block:: python

    async with Trial(nursery, broker, folder) as trial:
        async with trial.fault("the broker is killed"):
            await broker.server.restart()

When the block of a fault ends, the fault is over: then messages of every instance must
reach members on each within ``HEALED`` seconds, the traffic settles, and the history is judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from tests.deadlines import promised
from tests.integration.faults_table import ROWS, Row
from tests.integration.faults_traffic import ROOM, Traffic
from tests.integration.fleet import Fleet
from wsrooms.testing import HistoryViolated

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from tests.integration.buses import Broker
    from tests.integration.clients import Member
    from tests.integration.nursery import Nursery
    from tests.integration.process import Process
    from wsrooms.testing import TcpProxy, Violation
    from wsrooms.testing.history.records import Id

__all__ = ["AT_ONCE", "HEALED", "NOTICED", "QUICK", "SLACK", "Fault", "Trial"]

NOTICED = promised(4.5)
"""Seconds within which a silent broker is noticed, with the options that nobody changed."""

HEALED = promised(10.0)
"""Seconds within which the fleet is whole again."""

SLACK = promised(1.5)
"""Seconds by which a machine that is shared may be late."""

AT_ONCE = promised(2.0)
"""Seconds that count as none on such a machine, where nothing better can be compared."""

QUICK: dict[str, float] = {
    "ping_interval": promised(0.5),
    "connect_timeout": promised(0.5),
    "confirm_timeout": promised(1.0),
}
"""Options for faults whose noticing is not the subject."""

MEMBERS = 2
"""Of each instance."""


class Trial(Fleet):
    """A fleet in which each instance reaches the broker through a proxy of its own.

    Attributes:
        broker: The one behind the proxies.
        proxies: One for each instance, in order.
        traffic: What goes on all the time.
    """

    def __init__(
        self,
        nursery: Nursery,
        broker: Broker,
        folder: Path,
        *,
        given: Mapping[str, str | float] | None = None,
        login: tuple[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        n: int = 3,
    ) -> None:
        """Prepare; all starts with the block.

        Args:
            nursery: Where its processes are made.
            broker: That runs; where it does not, ``begin`` is for the caller to call.
            folder: For logs.
            given: Options of the transport.
            login: User and password at the broker.
            options: Of the apps.
            n: How many instances.
        """
        super().__init__(nursery, broker.url(), folder, n, options=options)
        self.broker = broker
        self.server = broker.server
        self.proxies: list[TcpProxy] = []
        self.traffic = Traffic(self)
        self._given = {**self._given}
        self._transport_options = {
            name: max(float(value), broker.at_least[name]) if name in broker.at_least else value
            for name, value in (given or {}).items()
        }
        self._login = login
        self._stack = contextlib.AsyncExitStack()
        self._begins = not (options or {}).get("start_without_broker")

    def url_of(self, index: int) -> str:
        """Of the broker, as instance ``index`` sees it."""
        given = urlsplit(self.url)
        user = "".join(f"{quote(self._login[0])}:{quote(self._login[1])}@" if self._login else "")
        options = [given.query, urlencode(self._transport_options)]
        query = "&".join(filter(None, options))
        where = f"{given.scheme}://{user}127.0.0.1:{self.proxies[index].port}"
        return f"{where}?{query}" if query else where

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            for index in range(self._n):
                proxy = await stack.enter_async_context(
                    self.broker.proxied(index, login=self._login is not None)
                )
                self.proxies.append(proxy)
            await super().__aenter__()
            stack.push_async_exit(super().__aexit__)
            stack.push_async_callback(self.traffic.stop)
            if self._begins:
                await self.begin()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)
        if error is None:
            self.assert_clean()

    async def launch(self, name: str, **changed: Any) -> Process:
        """As that of a fleet, behind the instance's own proxy."""
        index = int(name.removeprefix(self._name))
        return await super().launch(name, **{"url": self.url_of(index), **changed})

    async def terminate(self, index: int) -> None:
        """As ``stop``, by SIGTERM: the traffic goes on as long as there is anybody to ask."""
        process = self.processes[index]
        for member in self.members:
            if member.instance == process.name:
                member.ending()
        process.signal(signal.SIGTERM)
        await process.ended()
        self.history.crashed(process.name)
        await self._lose_clients_of(process)

    async def begin(self) -> None:
        """Put members into the room, on every instance, and let the traffic go."""
        for index in range(len(self.processes)):
            for _ in range(MEMBERS):
                await self.listener(index)
            self.traffic.ask(await self.client(index))
        self.traffic.resume()
        await self.traffic.reaches_all(time.monotonic(), HEALED)

    async def listener(self, index: int) -> Member:
        """A member of instance ``index`` that is in the room, and measured."""
        member = await self.member(index)
        self.traffic.listen(member)
        await member.join(ROOM)
        return member

    @contextlib.asynccontextmanager
    async def fault(
        self,
        name: str,
        *,
        broken: Iterable[int] | None = None,
        outage: bool = True,
        load: bool = True,
    ) -> AsyncIterator[Fault]:
        """Count what happens from here until all is well again; a row of the table.

        Args:
            name: Of the fault, in the table.
            broken: Instances whose link breaks; None: all.
            outage: Whether any link breaks at all: else no gap may say so.
            load: Whether messages are on their way all the time; else none until it is over.

        Raises:
            HistoryViolated: A promise was broken. The row is there all the same.
        """
        indexes = list(range(len(self.processes)) if broken is None else broken)
        fault = Fault(self, name, indexes, load=load)
        await fault.begin()
        if load:
            await self.traffic.burst(self.processes[index].name for index in indexes)
        else:
            await self.traffic.pause()
        self.traffic.measure_anew()
        if outage:
            for index in indexes:
                self.history.outage(self.processes[index].name, name)
        fault.began = time.monotonic()
        yield fault
        if load:
            await self.traffic.measured()
        fault.end()
        self.traffic.resume()
        fault.row.healed = await self.traffic.reaches_all(fault.over_at, HEALED)
        await self.traffic.pause()
        await self.settle()
        await fault.end_of_counters()
        await fault.judge()
        self.traffic.resume()

    async def all_up(self) -> None:
        """Wait until the health of every instance says so."""
        await asyncio.gather(*(each.until("up", timeout=HEALED) for each in self.processes))


class Fault:
    """One fault, from the moment before it happens.

    Attributes:
        row: What is counted.
        began: When, by the machine's clock.
        over_at: When it was over.
    """

    def __init__(self, trial: Trial, name: str, broken: list[int], *, load: bool) -> None:
        self.row = Row(name, trial.broker.name)
        self.began = 0.0
        self.over_at = 0.0
        self._trial = trial
        self._broken = broken
        self._load = load
        self._first = len(trial.history)
        self._told = self._vague_gaps()
        self._stats: dict[str | None, dict[str, int]] = {}

    async def begin(self) -> None:
        """Note what the counters of the instances say."""
        self._stats = await self._counters()

    async def _counters(self) -> dict[str | None, dict[str, int]]:
        return {
            process.publisher: await process.ask("stats")
            for process in self._trial.processes
            if process.runs
        }

    @property
    def _processes(self) -> list[Process]:
        return [self._trial.processes[index] for index in self._broken]

    async def noticed(self, within: float = NOTICED) -> float:
        """Wait until each broken instance says that it is down; the seconds that it took.

        The fault must last until this returns: there is a member of each instance then that has
        heard from it, and a client that had its answer, since all were down.
        """
        late = within + SLACK
        moments = await asyncio.gather(
            *(process.until("down", timeout=late) for process in self._processes)
        )
        self.row.noticed = max(moments) - self.began
        assert self.row.noticed <= late, f"noticed after {self.row.noticed:.2f} s"
        if self._load:
            await self._trial.traffic.served()
        return self.row.noticed

    def assert_served(self) -> None:
        """Members next to the sender, and whoever asked something, were served all the time.

        How soon is a matter of the machine, which has more to do in a burst than otherwise, so
        this only finds who has waited for longer than any fleet takes to heal. That nobody waits
        for the broker is shown where it is away until that is shown: by :meth:`noticed`.
        """
        assert self.row.local is not None
        assert self.row.answer is not None
        late = 2 * HEALED
        assert 0 < self.row.local < late, f"a member next to it waited {self.row.local:.2f} s"
        assert 0 < self.row.answer < late, f"an answer took {self.row.answer:.2f} s"

    def assert_told_once(self) -> None:
        """Each instance whose link was lost said so once, and no other did.

        Where a log is kept nobody did, and nothing was lost.
        """
        told = self._vague_gaps()
        new = {name: count - self._told.get(name, 0) for name, count in told.items()}
        if self._trial.broker.keeps_log:
            assert not any(new.values()), new
            self.assert_nothing_lost()
            return
        broken = {process.name for process in self._processes}
        assert {name for name, count in new.items() if count} == broken, new
        assert all(new[name] == 1 for name in broken), new

    def _vague_gaps(self) -> dict[str, int]:
        return {name: gaps.count((None, None, None)) for name, gaps in self._trial.gaps.items()}

    def assert_nothing_lost(self) -> None:
        """Whatever the broker had confirmed has arrived."""
        row = self.row
        assert row.confirmed
        assert row.delivered == row.due, f"{row.due - row.delivered} of {row.due} were lost"

    def end(self) -> None:
        """The fault is over now, if it was not before: from here on healing is timed."""
        if not self.over_at:
            self.over_at = time.monotonic()

    async def end_of_counters(self) -> None:
        """Take what the instances counted meanwhile."""
        for publisher, now in (await self._counters()).items():
            before = self._stats.get(publisher, {})
            self.row.resent += now["resent"] - before.get("resent", 0)
            self.row.dropped += now["duplicates"] - before.get("duplicates", 0)

    async def judge(self) -> None:
        """Count, add the row to the table, and let the history speak."""
        row, trial = self.row, self._trial
        row.local, row.answer = trial.traffic.local, trial.traffic.answer
        history = trial.history
        violations: list[Violation] = await asyncio.to_thread(history.check)
        self._count(violations)
        ROWS.append(row)
        if violations:
            raise HistoryViolated(violations, len(history))

    def _count(self, violations: list[Violation]) -> None:
        row, trial = self.row, self._trial
        open_ = {member.name for member in trial.members if member.is_open}
        since: dict[tuple[Id | None, str | None], int] = {}  # when who began to hear what
        sends: dict[Id, tuple[int, str | None]] = {}
        ends: dict[str, set[Id]] = {"sent": set(), "send_failed": set(), "send_unknown": set()}
        got: set[tuple[Id, Id | None]] = set()
        for at, record in enumerate(trial.history):
            if record.kind in ("connected", "joined") and record.client in open_:
                since.setdefault((record.client, record.room), at)
            if at < self._first or record.message is None:
                continue
            if record.kind == "send" and record.room in (None, ROOM):
                sends[record.message] = at, record.room
            elif record.kind in ends:
                ends[record.kind].add(record.message)
            elif record.kind == "received":
                got.add((record.message, record.client))
        confirmed = ends["sent"] & sends.keys()
        due = {
            (id, client)
            for id in confirmed
            for (client, room), began in since.items()
            if sends[id][1] == room and sends[id][0] > began
        }
        lost = [violation for violation in violations if violation.rule == "lost"]
        row.sent = len(sends)
        row.confirmed = len(confirmed)
        row.refused = len(ends["send_failed"] & sends.keys())
        row.unknown = len(ends["send_unknown"] & sends.keys())
        row.due = len(due)
        row.delivered = len(due & got)
        row.duplicated = sum(violation.rule == "duplicate" for violation in violations)
        row.silent = len(
            {record.message for each in lost for _, record in each.records if record.kind == "send"}
        )
        row.reported = row.due - row.delivered - row.silent
        row.other = len(violations) - row.duplicated - len(lost)
        accounted = row.confirmed + row.refused + row.unknown
        assert accounted == row.sent, f"of {row.sent} messages {accounted} have an end"
