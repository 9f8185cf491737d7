"""``Cluster``: several instances of an app on one simulated bus, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from wsrooms.session import Session
from wsrooms.testing.clients.client import Client, open_client
from wsrooms.testing.clients.connecting import Connecting
from wsrooms.testing.clients.pipes import PipeTransport
from wsrooms.testing.clients.quiet import QUIET_TURNS, is_quiet
from wsrooms.testing.fleet.bus import SimulatedBus
from wsrooms.testing.fleet.recorder import ANNOUNCED, SAID, RecordedClient, recorded_routes
from wsrooms.testing.history.history import History
from wsrooms.testing.virtual import VirtualTimeLoop
from wsrooms.transports import Gap, TaggedTransport, WsBroadcastTransport

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Self

    from wsrooms.app import Door, WsApp
    from wsrooms.testing.history.records import Id

__all__ = ["Cluster"]

T = TypeVar("T")

SETTLE_TIMEOUT = 5.0
"""Seconds of the loop that handlers may run until the cluster has settled."""

VIRTUAL_TIMEOUT = 60.0
"""Likewise on virtual time, where what the bus takes counts too."""

LOOK_AGAIN = 0.001
"""Seconds until it looks again, where a handler waits for something."""

LOOK_AGAIN_LATER = 0.05
"""Likewise on virtual time."""

FAST_TURNS = 30
"""Turns in which it looks in each."""


class ClusterClient(RecordedClient):
    """A recorded client of a cluster.

    Attributes:
        client: What speaks to the instance.
    """

    client: Client

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it as a browser does."""
        self.ending()
        await self.client.close(code, reason)

    def abort(self) -> None:
        """Cut its socket without a word."""
        self.ending()
        self.client.abort()

    def cut(self) -> None:
        """Let nothing arrive any more, on either side, and tell neither."""
        self.ending()
        self.client.cut()

    @property
    def is_open(self) -> bool:
        """Whether it is connected, and has not begun to go."""
        return not self._ending and not self._ended

    def pause_reading(self) -> None:
        """Take nothing from the socket any more."""
        self.history.stalled(self.name)
        self.client.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self.history.resumed(self.name)
        self.client.resume_reading()


class _Replica:
    """One instance, and what was opened on it."""

    def __init__(self, app: WsApp, door: Door, stack: contextlib.AsyncExitStack) -> None:
        self.app = app
        self.door = door
        self.stack = stack
        self.recorded: dict[str, ClusterClient] = {}


class Cluster:
    """Instances of an app on a bus that a test can break, with clients without ports.

    .. code-block:: python

        async with Cluster(app, n=2) as cluster:
            ann = await cluster.connect(0)
            bob = await cluster.connect(1)
            await ann.call("join", "/chat/general")
            cluster.bus.cut(1)
            ...

    Each instance is a replica of the app with its own hooks, lifespan and state, as in
    production. The bus takes no real time: what is to take time on it passes with
    :meth:`advance`, :meth:`settle` and :meth:`until`. On a ``VirtualTimeLoop`` the bus goes
    by the loop's clock. All chance comes from one seed, which an exception inside the
    block gets as a note.

    Attributes:
        apps: The instances that run, or have run last, in order.
        bus: What joins them.
        history: What recorded clients did and saw, and what the test broke.
        seed: What chance comes from.
    """

    def __init__(self, app: WsApp, n: int = 2, *, seed: int | None = None) -> None:
        """Prepare ``n`` instances of ``app``; they start with the block.

        Args:
            app: Its routes, hooks and options count; it is not started itself.
            n: How many instances.
            seed: For what is left to chance; None draws one.
        """
        if n < 1:
            raise ValueError(f"a cluster has at least one instance, not {n}")
        self.seed: int = random.randrange(2**32) if seed is None else seed
        self.history: History = History()
        self.bus: SimulatedBus
        self._app = app
        self._n = n
        self._replicas: list[_Replica | None] = [None] * n
        self._apps: list[WsApp] = []
        self._names = itertools.count(1)
        self._messages = itertools.count(1)

    @property
    def apps(self) -> tuple[WsApp, ...]:
        """The instances; one that has crashed stays here until it is started again."""
        return tuple(self._apps)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.history.clock = loop.time
        virtual = isinstance(loop, VirtualTimeLoop)
        self.bus = SimulatedBus(seed=self.seed, clock="loop" if virtual else "own")
        self.bus.on_outage = self.history.outage
        self.bus.on_dropped = self.history.dropped
        try:
            for index in range(self._n):
                await self._start(index)
        except BaseException:
            await self._close_all()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(
                f"the cluster's seed was {self.seed}: "
                f"Cluster(app, n={self._n}, seed={self.seed}) makes the same choices"
            )
        await self._close_all()

    async def _close_all(self) -> None:
        async with contextlib.AsyncExitStack() as all_of_them:
            for index in range(self._n):
                all_of_them.push_async_callback(self.stop, index)

    # Instances

    async def _start(self, index: int) -> None:
        name = f"i{index}"
        transport = self._make_transport(name)
        app = self._app.replica(broadcast_transport=transport)
        app.include(recorded_routes())
        app.on_gap(lambda gap: self._gap(name, gap))
        async with contextlib.AsyncExitStack() as stack:
            door = await self.until(stack.enter_async_context(app._visited({})))
            self._replicas[index] = _Replica(app, door, stack.pop_all())
        self._apps[index : index + 1] = [app]
        self.history.started(name, publisher=self._publisher_of(transport))

    def _make_transport(self, name: str) -> WsBroadcastTransport:
        """An instance's transport, which the bus knows by ``name``."""
        return TaggedTransport(self.bus.transport(name))

    def _publisher_of(self, transport: WsBroadcastTransport) -> str:
        """What others call the instance; it has started."""
        assert isinstance(transport, TaggedTransport)
        return transport._instance

    def _gap(self, name: str, gap: Gap) -> None:
        self.history.gap(name, gap.room, gap.publisher, gap.missing)

    def runs(self, index: int) -> bool:
        """Whether an instance runs."""
        return self._replicas[index] is not None

    def _running(self, index: int) -> _Replica:
        try:
            replica = self._replicas[index]
        except IndexError:
            last = len(self._replicas) - 1
            raise IndexError(f"there is no instance {index}: the last one is {last}") from None
        if replica is None:
            raise ValueError(f"instance {index} does not run")
        return replica

    async def stop(self, index: int) -> None:
        """Close an instance as a deployment does, with 1001; harmless if it has ended."""
        replica, self._replicas[index] = self._replicas[index], None
        if replica is None:
            return
        await self.until(replica.app.close())
        await self._forget(replica, "its instance was closed")
        self.history.crashed(f"i{index}")

    async def crash(self, index: int) -> None:
        """End an instance as a kill does: its links break, its hooks and handlers do no more.

        What it had published and the broker had not taken is lost. Only its ``lifespan`` is
        left, so that the process of the test stays clean.
        """
        replica = self._running(index)
        self._replicas[index] = None
        self.bus.transports[index]._kill()
        self.history.crashed(f"i{index}")
        for session in list(replica.door.instance.sessions):
            if isinstance(session, Session):
                plan = session._plan
                session._plan = dataclasses.replace(plan, on_disconnect=[])
                session.give_up()
        for socket in replica.door.server.sockets():
            if isinstance(socket, PipeTransport):
                socket.reset()
        await self._forget(replica, "its instance crashed")

    async def _forget(self, replica: _Replica, note: str) -> None:
        await self.until(replica.stack.aclose())
        for client in replica.recorded.values():
            client.ended(note)

    async def restart(self, index: int) -> None:
        """Start an instance that has crashed or was stopped, with nothing of its old state."""
        if self._replicas[index] is not None:
            raise ValueError(f"instance {index} runs")
        await self._start(index)

    # Clients

    def connect(
        self, index: int = 0, path: str = "/", headers: Mapping[str, str] | None = None
    ) -> Connecting[Client]:
        """A client of instance ``index``; await it, or use it in ``async with``.

        It is closed with the cluster, or with its own block.
        """

        def opening() -> Coroutine[Any, Any, Client]:
            replica = self._running(index)
            return self._open(index, replica, open_client(replica.app, path, headers))

        return Connecting(opening)

    async def _open(
        self, index: int, replica: _Replica, opening: AbstractAsyncContextManager[Client]
    ) -> Client:
        async with contextlib.AsyncExitStack() as stack:
            client = await self.until(stack.enter_async_context(opening))
            if self._replicas[index] is not replica:
                raise ValueError(f"instance {index} ended meanwhile")
            replica.stack.push_async_exit(stack.pop_all())
        return client

    def connect_recorded(
        self,
        index: int = 0,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        *,
        name: str | None = None,
        rooms: tuple[str, ...] = (),
        socket_bytes: int = 262_144,
        latency: float | Callable[[], float] = 0.0,
    ) -> Connecting[ClusterClient]:
        """A client whose calls and receipts are written into the history; as :meth:`connect`.

        Args:
            index: The instance.
            path: Of the handshake.
            headers: Of the handshake.
            name: Its id in the history; "c" and a number by default.
            rooms: What the app's own on_connect joins.
            socket_bytes: What its socket holds in each direction.
            latency: Seconds that bytes travel.
        """
        socket = {"socket_bytes": socket_bytes, "latency": latency}
        return Connecting(lambda: self._open_recorded(index, path, headers, name, rooms, socket))

    async def _open_recorded(
        self,
        index: int,
        path: str,
        headers: Mapping[str, str] | None,
        name: str | None,
        rooms: tuple[str, ...],
        socket: Mapping[str, Any],
    ) -> ClusterClient:
        replica = self._running(index)
        name = f"c{next(self._names)}" if name is None else name

        def send(message: dict[str, Any]) -> object:
            more = {"data": message["data"]} if "data" in message else {}
            return recording.client.send(
                message["event"], message["path"], id=message["id"], **more
            )

        recording = ClusterClient(self.history, name, f"i{index}", send)
        self.history.connect(name, f"i{index}")
        for room in rooms:
            recording.rooms.add(room)
            self.history.join(name, room)
        context = open_client(
            replica.app,
            path,
            headers,
            on_receive=recording.take,
            **socket,
        )
        try:
            client = await self._open(index, replica, context)
        except BaseException as error:
            recording.ended(repr(error))
            raise
        recording.client = client
        client._line.on_end = recording.ended
        replica.recorded[name] = recording
        replica.stack.callback(recording.ending)
        self.history.connected(name)
        for room in rooms:
            self.history.joined(name, room)
        return recording

    # Messages that nobody's client sends

    async def say(self, index: int, room: str) -> None:
        """Let the code of an instance send a recorded message to ``room``."""
        app = self._running(index).app
        await self._sent(index, room, lambda id: app.room(room).broadcast(SAID, id))

    async def announce(self, index: int) -> None:
        """Let the code of an instance send a recorded message to everybody."""
        app = self._running(index).app
        await self._sent(index, None, lambda id: app.broadcast(ANNOUNCED, "/", id))

    async def _sent(self, index: int, room: str | None, send: Callable[[Id], Any]) -> None:
        id = f"i{index}:{next(self._messages)}"
        by = f"the code of i{index}"
        self.history.send(id, room, instance=f"i{index}", by=by)
        try:
            await self.until(send(id))
        except Exception as error:
            self.history.send_failed(id, repr(error))
            raise
        self.history.sent(id)

    # Time

    async def advance(self, seconds: float) -> None:
        """Let that much time pass on the bus, and everything be handled that happens meanwhile."""
        await self.bus.advance(seconds)
        async with asyncio.timeout(SETTLE_TIMEOUT):
            await self._quiet(until_idle=False)

    async def until(self, waited_for: Awaitable[T]) -> T:
        """Let time pass on the bus until ``waited_for`` is done; return its result."""
        if not self.bus._schedule.is_own:
            return await waited_for
        task = asyncio.ensure_future(_result_of(waited_for))
        schedule = self.bus._schedule
        try:
            await schedule.turn()
            while not task.done():
                if schedule.planned and self.bus.in_flight:
                    await schedule.next_moment()
                else:
                    await asyncio.wait([task], timeout=LOOK_AGAIN)
        except BaseException:
            task.cancel()
            await asyncio.wait([task])
            raise
        return task.result()

    async def settle(self, timeout: float | None = None) -> None:
        """Let time pass on the bus until nothing is in flight anywhere.

        Handlers are waited for, but not those that wait for a bus that is broken.

        Args:
            timeout: Seconds of the loop; by default 5, and a minute on virtual time.

        Raises:
            TimeoutError: Something was still in flight then, or a handler ran.
        """
        if timeout is None:
            timeout = SETTLE_TIMEOUT if self.bus._schedule.is_own else VIRTUAL_TIMEOUT
        async with asyncio.timeout(timeout):
            while True:
                await self.bus.settle()
                await self._quiet(until_idle=not self.bus.broken)
                if not self.bus.in_flight:
                    break
        self.history.settled()

    async def _quiet(self, *, until_idle: bool) -> None:
        quiet = turns = 0
        look_again = LOOK_AGAIN if self.bus._schedule.is_own else LOOK_AGAIN_LATER
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0 if quiet or turns < FAST_TURNS else look_again)
            turns += 1
            quiet = quiet + 1 if self._is_quiet(until_idle=until_idle) else 0

    def _is_quiet(self, *, until_idle: bool) -> bool:
        return not any(
            client.client._pipe.client.in_flight  # also of those that their instance has given up
            for replica in self._replicas
            if replica is not None
            for client in replica.recorded.values()
        ) and all(
            is_quiet(replica.door.instance, replica.door.server, idle=until_idle)
            for replica in self._replicas
            if replica is not None
        )

    # The verdict

    async def assert_ok(self) -> None:
        """Heal everything, let it settle, and judge what recorded clients saw.

        Every instance first sends a last message to every room that a recorded client has
        joined, and to everybody: only after it can the loss of the one before be seen.

        Raises:
            HistoryViolated: A promise was broken.
        """
        self.bus.heal()
        await self.settle()
        rooms = dict.fromkeys(
            room
            for replica in self._replicas
            if replica is not None
            for client in replica.recorded.values()
            for room in sorted(client.rooms)
        )
        for index, replica in enumerate(self._replicas):
            if replica is not None:
                for room in rooms:
                    await self.say(index, room)
                await self.announce(index)
        await self.settle()
        self.history.assert_ok()


async def _result_of(waited_for: Awaitable[T]) -> T:
    return await waited_for
