"""Steady messages of every instance to members on every instance, and how long they take."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.deadlines import DEADLINE
from tests.integration.process import Process, ProcessFailed
from wsrooms.testing import Disconnected

if TYPE_CHECKING:
    from tests.integration.clients import Client, Member
    from tests.integration.fleet import Fleet
    from wsrooms.testing.history.records import Id

__all__ = ["ROOM", "Traffic"]

ROOM = "/steady"

EVERY = 0.05
"""Seconds between two turns in which an instance sends."""

EACH = 3
"""Messages of one turn to the room, and one to everybody."""

BURST = 300
"""Messages of each instance that are on their way when a fault comes."""

IN_BURST = "in a burst of "

ASKED_EVERY = 0.1
"""Seconds between two questions of a client."""


class Traffic:
    """What goes on all the time, whatever happens.

    The code of each instance sends a message now and again, each with a receipt that is
    awaited; members of the room are on every instance. Besides, a client of each asks
    something that its instance answers by itself.

    Attributes:
        local: Seconds that the slowest message took to members on its own instance.
        answer: Seconds that the slowest answer took.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.local = 0.0
        self.answer = 0.0
        self._measured = asyncio.Event()
        self._fleet = fleet
        self._members: list[Member] = []
        self._asking_ones: set[Client] = set()
        self._numbers = itertools.count(1)
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._askers: list[asyncio.Task[None]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._sent: dict[str, tuple[str, str | None, float]] = {}
        self._since = float("inf")
        self._lacking: set[tuple[str, Id]] = set()
        self._reached = asyncio.Event()
        self._unserved: set[tuple[Client | Member, str | None]] = set()
        self._unserved_since = 0.0
        self._served = asyncio.Event()
        self._not_flying: set[str] = set()
        self._flying = asyncio.Event()
        self._last = 0.0

    # Who takes part

    def listen(self, member: Member) -> None:
        """Measure what ``member`` receives; it is in the room, or will be."""
        self._members.append(member)
        member.on_received = partial(self._received, member)
        member.wire.gone.add_done_callback(lambda _: self._waits_no_more(member))

    def ask(self, client: Client) -> None:
        """Let ``client`` ask now and again, until it is gone."""
        self._askers.append(asyncio.create_task(self._asking(client), name="asking"))

    def send(self, process: Process) -> None:
        """Let ``process`` send now and again, until it is gone or this pauses."""
        sending = self._senders.get(process.name)
        if sending is None or sending.done():
            self._senders[process.name] = asyncio.create_task(
                self._sending(process), name=f"traffic of {process.name}"
            )

    def resume(self) -> None:
        """Let every process that runs send."""
        for process in self._fleet.processes:
            if process.runs:
                self.send(process)

    async def pause(self) -> None:
        """Send no more, and wait until it is known what became of each message."""
        await _cancelled(self._senders.values())
        self._senders.clear()
        while self._under_way:
            await asyncio.gather(*self._under_way)

    async def stop(self) -> None:
        """End all of it, whatever is under way."""
        tasks = [*self._senders.values(), *self._askers, *self._under_way]
        await _cancelled(tasks)

    # What goes on

    async def _sending(self, process: Process) -> None:
        while process.runs:
            self._begin(self._say(process, EACH))
            self._begin(self._announce(process))
            await asyncio.sleep(EVERY)

    async def burst(self, names: Iterable[str]) -> None:
        """Let every instance send a lot; returns while that is on its way.

        Something of each of the instances that are named has arrived elsewhere then.
        """
        running = [process for process in self._fleet.processes if process.runs]
        self._not_flying = {process.name for process in running} & set(names)
        self._flying.clear()
        for process in running:
            self._begin(self._say(process, BURST, mark=IN_BURST))
        if not self._not_flying:
            return
        async with asyncio.timeout(DEADLINE):
            await self._flying.wait()

    def _begin(self, saying: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(saying, name="messages")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _say(self, process: Process, count: int, *, mark: str = "traffic of ") -> None:
        ids = [self._next(process, ROOM, mark) for _ in range(count)]
        try:
            errors = await process.ask("say", sends=[(ROOM, id) for id in ids])
        except (AssertionError, OSError) as error:
            for id in ids:
                self._unanswered(id, error)
            return
        for id, told in zip(ids, errors, strict=True):
            self._ended(id, told)

    async def _announce(self, process: Process) -> None:
        id = self._next(process, None, "traffic of ")
        try:
            told = await process.ask("announce", message=id)
        except (AssertionError, OSError) as error:
            self._unanswered(id, error)
        else:
            self._ended(id, told)

    def _next(self, process: Process, room: str | None, mark: str) -> str:
        id = f"{mark}{process.name}:{next(self._numbers)}"
        by = f"the code of {process.name}"
        self._sent[id] = process.name, room, time.monotonic()
        self._fleet.history.send(id, room, instance=process.name, by=by)
        return id

    def _ended(self, id: str, error: str | None) -> None:
        if error is None:
            self._fleet.history.sent(id)
        else:
            self._fleet.history.send_failed(id, error)

    def _unanswered(self, id: str, error: Exception) -> None:
        if isinstance(error, ProcessFailed | OSError):
            self._fleet.history.send_unknown(id)
        else:  # it was asked after its app had closed
            self._fleet.history.send_failed(id, str(error))

    async def _asking(self, client: Client) -> None:
        self._asking_ones.add(client)
        try:
            while True:
                began = time.monotonic()
                await client.call("whoami", "/")
                self.answer = max(self.answer, time.monotonic() - began)
                self._measured.set()
                self._serves((client, None), began)
                await asyncio.sleep(ASKED_EVERY)
        except Disconnected:  # with its instance
            pass
        finally:
            self._asking_ones.discard(client)
            self._waits_no_more(client)

    # What arrives

    def _received(self, member: Member, id: str) -> None:
        found = self._sent.get(id)
        if found is None:
            return
        sender, room, at = found
        now = time.monotonic()
        if sender == member.instance:
            self.local = max(self.local, now - at)
            self._measured.set()
            self._serves((member, room), at)
        elif sender in self._not_flying and id.startswith(IN_BURST):
            self._not_flying.discard(sender)
            if not self._not_flying:
                self._flying.set()
        if (
            at >= self._since
            and not id.startswith(IN_BURST)
            and (sender, member.name) in self._lacking
        ):
            self._lacking.discard((sender, member.name))
            self._last = now
            if not self._lacking:
                self._reached.set()

    async def reaches_all(self, since: float, timeout: float) -> float:
        """Wait until something of each instance has reached each member.

        Args:
            since: Only what was sent from then on counts, by the machine's clock.
            timeout: Seconds for that, from now on.

        Returns:
            The seconds that it took, from ``since``.
        """
        self._since = since
        self._last = since
        self._lacking = {
            (process.name, member.name)
            for process in self._fleet.processes
            if process.runs
            for member in self._members
            if member.is_open
        }
        self._reached.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._reached.wait()
        except TimeoutError:
            lacking = sorted(self._lacking, key=str)
            raise TimeoutError(f"nothing has come within {timeout} s on: {lacking}") from None
        finally:
            self._since = float("inf")
        return self._last - since

    async def served(self) -> float:
        """Wait until who needs no broker for it has had what is sent or asked from now on.

        That is each member, of a message of its own instance to the room and of one to
        everybody, and each client that asks; none that has gone with its instance.

        Returns:
            The seconds that it took.
        """
        self._unserved_since = began = time.monotonic()
        members = [member for member in self._members if member.is_open]
        self._unserved = {(member, room) for member in members for room in (ROOM, None)}
        self._unserved.update((client, None) for client in self._asking_ones)
        self._served.clear()
        try:
            async with asyncio.timeout(DEADLINE):
                await self._served.wait()
        except TimeoutError:
            waiting = len(self._unserved)
            raise TimeoutError(f"{waiting} wait for what their own instance has") from None
        return time.monotonic() - began

    def _serves(self, whom: tuple[Client | Member, str | None], since: float) -> None:
        if since >= self._unserved_since:
            self._unserved.discard(whom)
            self._served_if_none_waits()

    def _waits_no_more(self, who: Client | Member) -> None:
        self._unserved = {each for each in self._unserved if each[0] is not who}
        self._served_if_none_waits()

    def _served_if_none_waits(self) -> None:
        if not self._unserved:
            self._served.set()

    def measure_anew(self) -> None:
        """Forget how long things took."""
        self.local = self.answer = 0.0

    async def measured(self) -> None:
        """Wait until each of both has been measured: a fault may be over in no time."""
        async with asyncio.timeout(DEADLINE):
            while not (self.local and self.answer):
                self._measured.clear()
                await self._measured.wait()


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their ends; one that had failed fails here."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    for result in await asyncio.gather(*ending, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
