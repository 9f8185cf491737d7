"""A fleet of server processes on one broker, with clients whose every message is counted.

.. code-block:: python

    async with Fleet(nursery, broker.url(), folder) as fleet:
        ann, bob = await fleet.member(0), await fleet.member(1)
        await bob.join("red")
        await ann.say("red")
        await fleet.assert_ok()
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tests.deadlines import DEADLINE
from tests.integration.clients import LAST, Client, Member
from tests.integration.process import Process
from wsrooms.testing import History

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from tests.integration.nursery import Nursery

CONNECTING = 50
"""Clients that connect at the same time: what a listening socket's backlog takes with ease."""


class Fleet:
    """Server processes on one broker, and their clients; all end with the block.

    Attributes:
        processes: In order; one that has ended stays until it is started again.
        history: What members did and saw, and what instances told of losses.
        members: All that were connected.
        gaps: What instances told, by their name.
    """

    def __init__(
        self,
        nursery: Nursery,
        url: str,
        folder: Path,
        n: int = 3,
        *,
        options: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        name: str = "i",
    ) -> None:
        """Prepare; the processes start with the block.

        Args:
            nursery: Where they are made.
            url: Of the broker, as the instances see it.
            folder: For their logs.
            n: How many.
            options: Of their apps.
            limits: Of their apps.
            name: Their names are this and a number.
        """
        self.url = url
        self.processes: list[Process] = []
        self.history = History()
        self.members: list[Member] = []
        self.gaps: dict[str, list[tuple[str | None, str | None, int | None]]] = {}
        self._folder = folder
        self._n = n
        self._name = name
        self._given = {"nursery": nursery, "options": options, "limits": limits}
        self._clients: list[Client] = []
        self._names = itertools.count(1)
        self._messages = itertools.count(1)
        self._starts = itertools.count(1)

    async def __aenter__(self) -> Self:
        starting = [
            asyncio.ensure_future(self.launch(f"{self._name}{index}")) for index in range(self._n)
        ]
        await asyncio.wait(starting)
        self.processes = [each.result() for each in starting if each.exception() is None]
        if len(self.processes) < self._n:
            await self._end()
            for each in starting:
                each.result()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            for process in self.processes:
                if log := process.log_text():
                    error.add_note(f"the log of {process.name} ends with\n{log[-4000:]}")
        await self._end()

    async def _end(self) -> None:
        wires = [member.wire for member in self.members]
        wires += [client.wire for client in self._clients]
        for wire in wires:
            wire.abort()
        for wire in wires:
            await wire.gone
        async with contextlib.AsyncExitStack() as stack:
            for process in self.processes:
                stack.push_async_callback(process.kill)
            await asyncio.gather(*(process.stop() for process in self.processes))

    def assert_clean(self) -> None:
        """Every process that was not killed has ended in order, and complained of nothing."""
        for process in self.processes:
            if process.status != -signal.SIGKILL:
                process.assert_clean()

    # Instances

    async def launch(self, name: str, **changed: Any) -> Process:
        """Start one more process, which is recorded.

        ``changed`` are arguments of ``Process.start``: another ``nursery``, ``url``, options.
        The caller puts it in ``processes``, where it ends with the fleet.
        """

        def told(facts: dict[str, Any]) -> None:
            if facts["told"] == "gap":
                gap = facts["room"], facts["publisher"], facts["missing"]
                self.gaps.setdefault(name, []).append(gap)
                self.history.gap(name, *gap)

        log = self._folder / f"{name}-{next(self._starts)}.log"
        given: dict[str, Any] = {**self._given, "on_told": told, **changed}
        nursery, url = given.pop("nursery"), given.pop("url", self.url)
        process = await Process.start(nursery, name, url, log, **given)
        self.history.started(name, process.publisher)
        return process

    async def kill(self, index: int) -> None:
        """End a process with SIGKILL."""
        process = self.processes[index]
        self.history.crashed(process.name)
        await process.kill()
        await self._lose_clients_of(process)

    async def stop(self, index: int) -> None:
        """End a process in order."""
        process = self.processes[index]
        for member in self.members:
            if member.instance == process.name:
                member.ending()  # the server ends it, at a moment of its own
        await process.stop()
        self.history.crashed(process.name)
        await self._lose_clients_of(process)

    async def restart(self, index: int, **changed: Any) -> None:
        """Start a process again that has ended."""
        assert not self.processes[index].runs
        self.processes[index] = await self.launch(self.processes[index].name, **changed)

    async def _lose_clients_of(self, process: Process) -> None:
        async with asyncio.timeout(DEADLINE):
            for member in self.members:
                if member.instance == process.name:
                    await member.wire.gone

    async def ask(self, do: str, **arguments: Any) -> list[Any]:
        """Ask every instance the same; their answers, in order."""
        return await asyncio.gather(*(each.ask(do, **arguments) for each in self.processes))

    async def stats(self, name: str) -> list[int]:
        """A counter of every instance."""
        return [stats[name] for stats in await self.ask("stats")]

    # Clients

    async def client(self, index: int, path: str = "/") -> Client:
        """A client of instance ``index``, whose on_connect has ended."""
        client = await Client.connect(self.processes[index].port, path)
        self._clients.append(client)
        await client.call("whoami", "/")
        return client

    async def member(self, index: int, name: str | None = None, path: str = "/") -> Member:
        """A recorded client of instance ``index``."""
        process = self.processes[index]
        name = name or f"{process.name}-c{next(self._names)}"
        member = await Member.connect(self.history, name, process.name, process.port, path)
        self.members.append(member)
        return member

    async def crowd(self, size: int) -> list[list[Member]]:
        """``size`` recorded clients of each instance, by instance."""
        turn = asyncio.Semaphore(CONNECTING)

        async def connect(index: int) -> Member:
            async with turn:
                return await self.member(index)

        crowd = [[connect(index) for _ in range(size)] for index in range(len(self.processes))]
        return [await asyncio.gather(*some) for some in crowd]

    # What instances send by themselves

    async def say(self, index: int, rooms: Iterable[str], *, mark: str = "code of ") -> list[str]:
        """Let the code of an instance send a recorded message to each room; return their ids."""
        process = self.processes[index]
        by = f"the code of {process.name}"
        sends = [(room, f"{mark}{process.name}:{next(self._messages)}") for room in rooms]
        for room, id in sends:
            self.history.send(id, room, instance=process.name, by=by)
        errors = await process.ask("say", sends=sends)
        for (_, id), error in zip(sends, errors, strict=True):
            if error is None:
                self.history.sent(id)
            else:
                self.history.send_failed(id, error)
        return [id for _, id in sends]

    async def announce(self, index: int, *, mark: str = "code of ") -> str:
        """Let the code of an instance send a recorded message to everybody; return its id."""
        process = self.processes[index]
        id = f"{mark}{process.name}:{next(self._messages)}"
        self.history.send(id, None, instance=process.name, by=f"the code of {process.name}")
        error = await process.ask("announce", message=id)
        if error is None:
            self.history.sent(id)
        else:
            self.history.send_failed(id, error)
        return id

    # The verdict

    async def settle(self, timeout: float = DEADLINE) -> None:
        """Make sure that all that is on its way has arrived, or is lost.

        Every member gets its answers. Then every instance sends a message to each room
        that has a member, and one to everybody: where those have arrived, so has
        whatever was sent before. What has not come within ``timeout`` the verdict finds.
        """
        open_ = [member for member in self.members if member.is_open]
        async with asyncio.timeout(timeout):
            for member, receipt in [(member, member.hello()) for member in open_]:
                if member.is_open:
                    await receipt
        inside: dict[str, list[Member]] = {}
        for member in open_:
            for room in member.joined():
                inside.setdefault(room, []).append(member)
        for index, process in enumerate(self.processes):
            if not process.runs:
                continue
            for room, id in zip(inside, await self.say(index, inside, mark=LAST), strict=True):
                for member in inside[room]:
                    member.await_(id)
            id = await self.announce(index, mark=LAST)
            for member in open_:
                member.await_(id)
        with contextlib.suppress(TimeoutError):
            await self.arrived(timeout)
        self.history.settled()

    async def arrived(self, timeout: float = DEADLINE) -> None:
        """Wait until every member has received what it awaits.

        Raises:
            TimeoutError: Some has not; the text names what.
        """
        try:
            async with asyncio.timeout(timeout):
                for member in self.members:
                    await member.arrived()
        except TimeoutError:
            lacking = {m.name: sorted(m.awaited)[:5] for m in self.members if m.awaited}
            raise TimeoutError(f"not received within {timeout} s: {lacking}") from None

    async def assert_ok(self, *, settled: bool = False) -> None:
        """Settle; every member received what it should, once and in order, and nothing else.

        Args:
            settled: Whether the caller has made sure that nothing is on its way any more.
        """
        if settled:
            self.history.settled()
        else:
            await self.settle()
        await asyncio.to_thread(self.history.assert_ok)
