"""One run of the simulation: a fleet, its clients and its bus, and everything that goes wrong.

The core is the real one: server protocol on pipes in memory, sessions, rooms, link and
``tagged()``. Time is virtual, and all chance comes from the seed, so a run can be repeated
to the letter. What clients do and see is written into a history, which is judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.simulation.app import LOBBY, ROOMS, Options, make_app
from tests.simulation.linked import LinkedCluster
from tests.simulation.moments import cut_while_it_speaks, join_over_a_slow_bus
from wsrooms import Receipt, WsRoomsError
from wsrooms.testing import Cluster
from wsrooms.testing.fleet.recorder import SAID

if TYPE_CHECKING:
    from wsrooms.testing.fleet.cluster import ClusterClient
    from wsrooms.testing.history.records import Id

__all__ = ["STEPS", "Storm"]

PROBES = "ws:probe:"

STEPS = 80
"""Things that happen in one run, if nobody says otherwise."""

CLIENTS = 9
"""The most that are connected at a time."""

PAUSES = (0.0, 0.0, 0.0, 0.001, 0.01, 0.05, 0.2, 0.5)
"""Seconds between two of them."""

GARBAGE = (
    "",
    "{",
    "[]",
    '{"event": 1, "path": "/"}',
    '{"event": "x"}',
    b"\xff\xfe",
    '{"event":"x","path":"/","id":{}}',
)


class Storm:
    """What happens in one run, step by step."""

    def __init__(self, seed: int, steps: int) -> None:
        self.random = random.Random(seed)
        self.steps = steps
        self.options = Options.drawn(self.random)
        self.instances = self.random.choice((2, 2, 3))
        self.app = make_app(self.options, self._say)
        # Every other fleet has plain transports, the rest what the brokers' are made of.
        self.linked = bool(seed % 2)
        fleet = LinkedCluster if self.linked else Cluster
        self.cluster = fleet(self.app, n=self.instances, seed=seed)
        self.history = self.cluster.history
        self.clients: list[ClusterClient] = []
        self.garbage = 0
        self.planned = 0
        self._names = itertools.count(1)
        self._ids = itertools.count(1)
        self._connecting: dict[asyncio.Task[None], None] = {}
        self._behind = 0.0
        self._lossy: set[Id] = set()
        self._actions = [
            action for action, weight in self._weights().items() for _ in range(weight)
        ]

    def _weights(self) -> dict[Callable[[], Coroutine[Any, Any, None]], int]:
        return {
            self._connect: 8,
            self._join: 18,
            self._leave: 5,
            self._flap: 5,
            self._say_something: 16,
            self._burst: 4,
            self._announce: 3,
            self._code_says: 4,
            self._code_excludes: 2,
            self._talk_nonsense: 2,
            self._handler_fails: 2,
            self._handler_is_slow: 2,
            self._stop_reading: 3,
            self._read_again: 2,
            self._close: 3,
            self._abort: 2,
            self._fall_silent: 2,
            self._cut: 4,
            partial(cut_while_it_speaks, self): 3,
            partial(join_over_a_slow_bus, self): 3,
            self._heal: 8,
            self._kill_broker: 1,
            self._slow_bus: 3,
            self._bad_bus: 4,
            self._bad_answers: 3,
            self._end_instance: 1,
            self._start_instance: 2,
            self._idle: 2,
            self._settle: 2,
            self._lapse: 2,
        }

    # A slow machine

    def clock(self) -> float:
        """What the core takes for the time of the processor: it passes by leaps."""
        if self.random.random() < 0.02:
            self._behind += self.random.choice((0.001, 0.004, 0.02))
        return asyncio.get_running_loop().time() + self._behind

    # The run

    async def blow(self) -> None:
        """Let all of it happen; the cluster runs."""
        self.cluster.bus.remembers = self.options.remembers
        self.cluster.bus.answers = self.options.answers  # type: ignore[assignment]  # one of these
        for _ in range(self.steps):
            await self.random.choice(self._actions)()
            await asyncio.sleep(self.random.choice(PAUSES))

    async def calm(self) -> None:
        """Heal everything, and let everybody hear one more message of everybody."""
        bus = self.cluster.bus
        bus.heal()
        while self._connecting:
            await asyncio.wait(list(self._connecting))
        for client in self.clients:
            if self.options.slow_client == "close":
                client.resume_reading()
            else:  # what was dropped for it will never come
                client.client.resume_reading()
        await asyncio.sleep(self.options.join_timeout + 10.0)
        for index in range(self.instances):
            await self._start(index)
        await self.cluster.settle()
        for index in range(self.instances):
            for room in (*ROOMS, LOBBY):
                await self.cluster.say(index, room)
            await self.cluster.announce(index)
        await self.cluster.settle()

    async def go(self) -> None:
        """Let every client close."""
        for client in self.clients:
            await client.close()
        # Whoever has vanished is found out by its silence.
        await asyncio.sleep(2 * self.options.heartbeat_interval + 5.0)
        self.clients.clear()
        await self.cluster.settle()

    def channels(self) -> dict[str, int]:
        """What the broker has subscribed, but for the channels of probes."""
        channels = self.cluster.bus.channels()
        return {name: count for name, count in channels.items() if not name.startswith(PROBES)}

    # Clients

    def _somebody(self) -> ClusterClient | None:
        self.clients = [client for client in self.clients if client.is_open]
        return self.random.choice(self.clients) if self.clients else None

    def _room(self) -> str:
        return self.random.choice(ROOMS)

    def _running(self) -> list[int]:
        return [index for index in range(self.instances) if self.cluster.runs(index)]

    async def _connect(self) -> None:
        running = self._running()
        if (self._somebody() is not None and len(self.clients) >= CLIENTS) or not running:
            return
        index, lobby = self.random.choice(running), self.random.random() < 0.4
        latency = self.random.choice((0.0, 0.0, 0.02, 0.2))
        # Where pushes to slow clients are dropped, nobody expects anything of some clients,
        # and the others are never slow.
        small = self.options.slow_client == "close" or self.random.random() < 0.3
        task = asyncio.ensure_future(self._come(index, latency, lobby=lobby, small=small))
        self._connecting[task] = None
        task.add_done_callback(lambda done: self._connecting.pop(done, None))

    async def _come(self, index: int, latency: float, *, lobby: bool, small: bool) -> None:
        try:
            client = await self.cluster.connect_recorded(
                index,
                "/?lobby=1" if lobby else "/",
                name=f"c{next(self._names)}",
                rooms=(LOBBY,) if lobby else (),
                socket_bytes=2000 if small else 262_144,
                latency=latency,
            )
        except (WsRoomsError, TimeoutError, ValueError):
            return  # refused, or the instance went
        if small:
            client.client._pipe.server.set_write_buffer_limits(high=2000)
            if self.options.slow_client != "close":
                self.history.lossy(client.name)
                self._lossy.add(client.name)
        self.clients.append(client)
        running = self._running()
        if lobby and running:  # whoever is connected is in the lobby, and hears this
            app = self.cluster.apps[self.random.choice(running)]
            self._say(app.server, LOBBY, lambda id: app.room(LOBBY).broadcast(SAID, id))

    async def _join(self) -> None:
        client = self._somebody()
        if client is None:
            return
        room = self._room()
        if self.random.random() < 0.25:
            self.history.join(client.name, room)
            client._call("join", room, event="impatient")
            return
        joined = client.join(room, waiting=self.random.random() < 0.5)
        if self.random.random() < 0.5:
            await self._a_while(joined)

    async def _leave(self) -> None:
        client = self._somebody()
        if client is not None:
            left = client.leave(self._room())
            if self.random.random() < 0.3:
                await self._a_while(left)

    async def _flap(self) -> None:
        client = self._somebody()
        if client is None:
            return
        room = self._room()
        for _ in range(self.random.randrange(1, 4)):
            client.leave(room)
            client.join(room, waiting=self.random.random() < 0.3)
        if self.random.random() < 0.3:
            client.leave(room)

    async def _say_something(self) -> None:
        client = self._somebody()
        if client is not None:
            room = LOBBY if self.random.random() < 0.1 else self._room()
            said = client.say(room)
            if self.random.random() < 0.5:
                await self._a_while(said)

    async def _burst(self) -> None:
        client = self._somebody()
        if client is not None:
            rooms = [self._room() for _ in range(self.random.choice((1, 2)))]
            for number in range(self.random.choice((5, 20, 60))):
                client.tell(rooms[number % len(rooms)])

    async def _announce(self) -> None:
        client = self._somebody()
        if client is not None:
            client.announce()

    async def _talk_nonsense(self) -> None:
        client = self._somebody()
        if client is not None:
            self.garbage += 1
            client.client.send_raw(self.random.choice(GARBAGE))

    async def _handler_fails(self) -> None:
        client = self._somebody()
        if client is not None:
            room, name = self._room(), client.name
            self.planned += 1
            self.history.join(name, room)  # it joins all the same
            answer = client._call("hello", room, event="join_and_fail")
            answer._when_done(lambda _: self.history.join_unknown(name, room))

    async def _handler_is_slow(self) -> None:
        client = self._somebody()
        if client is not None:
            client._call("hello", None, event="slow")

    async def _stop_reading(self) -> None:
        client = self._somebody()
        if client is None or (self.options.slow_client != "close" and not self._may_lose(client)):
            return
        client.pause_reading()
        if client.rooms and self.random.random() < 0.6:  # more than its socket and buffer hold
            app = self.cluster.apps[int(str(client.instance)[1:])]
            room = self.random.choice(sorted(client.rooms))
            for _ in range(80):
                self._say(app.server, room, lambda id: app.room(room).broadcast(SAID, id))

    async def _read_again(self) -> None:
        client = self._somebody()
        if client is not None and self.options.slow_client == "close":
            client.resume_reading()

    def _may_lose(self, client: ClusterClient) -> bool:
        return client.name in self._lossy

    async def _close(self) -> None:
        client = self._somebody()
        if client is not None:
            task = asyncio.ensure_future(client.close(self.random.choice((1000, 1001, 4000))))
            if self.random.random() < 0.5:
                await asyncio.wait([task])
            else:
                self._connecting[task] = None
                task.add_done_callback(lambda done: self._connecting.pop(done, None))

    async def _abort(self) -> None:
        client = self._somebody()
        if client is not None:
            client.abort()

    async def _fall_silent(self) -> None:
        client = self._somebody()
        if client is not None:
            client.cut()

    async def _a_while(self, receipt: Receipt) -> None:
        try:
            async with asyncio.timeout(self.random.choice((0.05, 1.0, 4.0))):
                await receipt
        except (WsRoomsError, TimeoutError):
            pass

    # Instances

    async def _code_says(self) -> None:
        running = self._running()
        if running:
            app = self.cluster.apps[self.random.choice(running)]
            room = self._room()
            self._say(app.server, room, lambda id: app.room(room).broadcast(SAID, id))

    async def _code_excludes(self) -> None:
        """A client that is anywhere does not get what the code of one instance sends."""
        running, client = self._running(), self._somebody()
        if running and client is not None:
            app, room = self.cluster.apps[self.random.choice(running)], self._room()
            there = client.client.connection_id

            def send(id: str) -> Receipt:
                return app.room(room).broadcast(SAID, id, exclude=there)

            self._say(app.server, room, send, exclude=str(client.name))

    def _say(
        self,
        server: object,
        room: str,
        send: Callable[[str], Receipt],
        *,
        exclude: str | None = None,
    ) -> None:
        names = [f"i{index}" for index, app in enumerate(self.cluster.apps) if app.server is server]
        if not names:  # it is just starting
            return
        (name,) = names
        id = f"{name}-{next(self._ids)}"
        by = f"the code of {name}"
        self.history.send(id, room, instance=name, by=by, exclude=exclude)

        def done(receipt: Receipt) -> None:
            error = receipt._take_error()
            if error is None:
                self.history.sent(id)
            else:
                self.history.send_failed(id, str(error))

        send(id)._when_done(done)

    async def _end_instance(self) -> None:
        running = self._running()
        if len(running) < 2:
            return
        index = self.random.choice(running)
        if self.random.random() < 0.5:
            await self.cluster.crash(index)
        else:
            await self.cluster.stop(index)

    async def _start_instance(self) -> None:
        for index in range(self.instances):
            await self._start(index)

    async def _start(self, index: int) -> None:
        if not self.cluster.runs(index):
            try:
                await self.cluster.restart(index)
            except WsRoomsError:
                return  # the bus is down; another time

    # The bus

    def _which(self) -> int:
        return self.random.randrange(self.instances)

    async def _cut(self) -> None:
        self.cluster.bus.cut(self._which(), told=self.random.random() < 0.6)

    async def _heal(self) -> None:
        if self.random.random() < 0.6:
            self.cluster.bus.heal()
        else:
            self.cluster.bus.heal(self._which())

    async def _kill_broker(self) -> None:
        self.cluster.bus.crash(told=self.random.random() < 0.7)
        if self.random.random() < 0.5:
            await asyncio.sleep(self.random.choice((0.0, 0.5, 6.0, 20.0)))
            self.cluster.bus.restart()

    async def _slow_bus(self) -> None:
        self.cluster.bus.delay(
            self.random.choice((0.0, 0.005, 0.2, 1.0)),
            jitter=self.random.choice((0.0, 0.05, 1.0)),
            which=self.random.choice((None, self._which())),
            direction=self.random.choice(("up", "down", "both")),
        )

    async def _bad_bus(self) -> None:
        bus = self.cluster.bus
        fault = self.random.choice((bus.lose, bus.duplicate, bus.reorder))
        if self.random.random() < 0.6:
            fault(self.random.randrange(1, 4), to=self._which())
        else:
            fault(chance=0.1)

    async def _bad_answers(self) -> None:
        bus = self.cluster.bus
        match self.random.randrange(3):
            case 0:
                bus.refuse(self.random.randrange(1, 3), to=self._which())
            case 1:
                bus.never_confirm(self.random.randrange(1, 3), to=self._which())
            case _:
                bus.confirm_late(self.random.choice((0.0, 0.1, 2.0, 10.0)))

    async def _settle(self) -> None:
        with contextlib.suppress(TimeoutError):  # the bus is slow, or some handler is
            await self.cluster.settle(5.0)

    async def _lapse(self) -> None:
        """An instance has no member in a room for a while, in which others speak there."""
        client = self._somebody()
        running = self._running()
        if client is None or len(running) < 2:
            return
        room, name = self._room(), client.instance
        other = self.cluster.apps[self.random.choice(running)]
        for each in self.clients:
            if each.is_open and each.instance == name:
                each.leave(room)
        for step in range(3):
            await self._settle()
            for _ in range(2):
                self._say(other.server, room, lambda id: other.room(room).broadcast(SAID, id))
            if step == 1 and client.is_open:
                client.join(room)

    async def _idle(self) -> None:
        await asyncio.sleep(self.random.choice((1.0, 3.0, 12.0)))
