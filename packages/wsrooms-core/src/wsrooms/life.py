"""The life of an app: how its instance starts, and how all of it ends.

``WsApp`` holds what was declared; here is what runs. Each start makes an
``Instance`` with its rooms, its server and its lifespan, and close drops them,
so an app may start again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from wsrooms.context import Context, enter, note_join, peek
from wsrooms.errors import NotRunning, TransportError
from wsrooms.instance import Counters, Instance, WsLimits, WsServer
from wsrooms.lifespan import Lifespan, manager_of
from wsrooms.options import codec_of
from wsrooms.rooms import Rooms
from wsrooms.routes import compile_plan
from wsrooms.session import Session
from wsrooms.transports import WsHealth
from wsrooms.transports.calls import cancelled_by_us

if TYPE_CHECKING:
    import logging

    from wsrooms.debug import Debugging
    from wsrooms.loopthread import LoopThread
    from wsrooms.routes import WsRoutes
    from wsrooms.server.listener import Server
    from wsrooms.transports import Gap, WsBroadcastTransport
    from wsrooms.wire import Codec

__all__ = ["CLOSED_MEANWHILE", "Hooks", "Life"]

H = TypeVar("H")

CLOSE_TRANSPORT = 5.0
"""Seconds for the transport to publish what waits and to close."""

START_SERVER_CHANNEL = 5.0
"""Seconds within which the server-wide channel must be confirmed at start."""

START_GIVEN_UP = 20.0
"""Seconds for a start that was cancelled to clean up: its lifespan and its bus may take less."""

CLOSED_MEANWHILE = "the app was closed while it started"
CLOSING = "the app is closing: wait for close() before it starts again"

LAST_SECONDS = 2.0
"""Seconds for sockets to take the last bytes, once every session is over."""


class Hooks(Generic[H]):
    """Functions that only listen, in order."""

    def __init__(self) -> None:
        self._included: list[Hooks[H]] = []
        self._own: list[H] = []

    def append(self, hook: H) -> None:
        """Call ``hook`` too."""
        self._own.append(hook)

    def include(self, hooks: Hooks[H]) -> None:
        """Call all of ``hooks`` before these, also what is added there later."""
        self._included.append(hooks)

    def __iter__(self) -> Iterator[H]:
        for hooks in self._included:
            yield from hooks
        yield from self._own


class Life:
    """At most one running instance of an app, and the one way to it and out of it.

    Attributes:
        server: The face of whatever instance runs.
        gap_hooks: The app's ``on_gap`` functions.
        error_hooks: The app's ``on_error`` functions.
        codec: How the app speaks to its clients.
        transport: What joins its rooms with other instances; set by the app.
        instance: What runs; None before start and after close.
        stand_in: What a test has in its place while nothing runs.
        listener: What accepts connections for it.
    """

    def __init__(
        self,
        app: WsRoutes,
        options: Mapping[str, Any],
        codec: Codec,
        logger: logging.Logger,
    ) -> None:
        """Nothing runs yet; ``options`` are those of ``WsApp``, checked."""
        self._app = app
        self._options = options
        self.codec = codec
        self._limits = WsLimits() if options["limits"] is None else options["limits"]
        self._logger = logger
        self.server: WsServer = WsServer(self.current)
        self.gap_hooks: Hooks[Callable[[Gap], object]] = Hooks()
        self.error_hooks: Hooks[Callable[[BaseException, str], object]] = Hooks()
        self.transport: WsBroadcastTransport | None = None
        self.instance: Instance | None = None
        self.stand_in: Callable[[], Instance | None] = lambda: None
        self.listener: Server | None = None
        self._starting: asyncio.Task[None] | None = None
        self._closes = 0  # calls of close(), so that whoever waits for a start sees one
        self._waiting = 0  # how many wait for a start that is another's
        self._ending = 0  # how many end a start
        self._ended: asyncio.Event | None = None
        self._closing: asyncio.Task[None] | None = None
        self._lifespan: Lifespan | None = None
        self._visitors: int | None = None  # None: whoever started it closes it
        self._idle_since = time.monotonic()
        self._last_stats = Counters().stats(0, Rooms().stats())

    def current(self) -> Instance | None:
        """What handlers reach through the app, if there is anything.

        Raises:
            NotRunning: Nothing, but another app runs the handler that asks, such as a replica.
        """
        found = self.stand_in() if self.instance is None else self.instance
        if found is None:
            running = peek(None)
            if running is not None and running.instance.health().state != "closed":
                raise NotRunning(
                    "the app is not running, while another one runs what is called here, such as "
                    "a replica() of it in a Cluster: there use_ws_server() is the one that runs, "
                    "and so is the app that lifespan gets"
                )
        return found

    def health(self) -> WsHealth:
        """That of the instance; "starting" or "closed" where there is none."""
        if self.instance is not None:
            return self.instance.health()
        state: Literal["starting", "closed"] = "closed" if self._starting is None else "starting"
        return WsHealth(state, time.monotonic() - self._idle_since, None)

    def stats(self) -> dict[str, int]:
        """Those of the instance, or of the last one; zeros before the first."""
        if self.instance is None:
            return dict(self._last_stats)
        return self.instance.thread.ask(self.instance.stats)

    async def start(self) -> bool:
        """Start, or wait for the start that is under way; tells whether it was this call's.

        Raises:
            NotRunning: The app closes, or was closed meanwhile.
        """
        if self.instance is not None and self.instance.loop.is_closed():
            self._forget()  # its loop ended without close()
        if self._starting is not None and self._starting.get_loop().is_closed():
            self._starting = None
        if self._ending:
            raise NotRunning(CLOSING)
        closes = self._closes
        while self._starting is not None:
            self._waiting += 1
            try:
                await asyncio.wait([self._starting])
            finally:
                self._waiting -= 1
            if self._closes != closes:
                raise NotRunning(CLOSED_MEANWHILE)
        if self._closing is not None:
            raise NotRunning(CLOSING)
        if self.instance is not None:
            return False
        self._ended = asyncio.Event()
        self._idle_since = time.monotonic()
        # A task, so that close() can end it, whatever it waits for.
        starting = asyncio.get_running_loop().create_task(
            self._start_instance(), name="wsrooms start"
        )
        self._starting = starting
        starting.add_done_callback(self._start_ended)
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError as cancelled:
            if not cancelled_by_us(cancelled) and self._closes != closes:
                raise NotRunning(CLOSED_MEANWHILE) from None
            await self._give_up(starting)
            failed = starting.cancelled() or not starting.done() or starting.exception()
            if not failed and not self._waiting:
                await self.close()  # it ended well in this very moment
            raise
        if self._closes != closes:  # it ended well in spite of that
            await self.close()
            raise NotRunning(CLOSED_MEANWHILE)
        return True

    def _start_ended(self, starting: asyncio.Task[None]) -> None:
        if self._starting is starting:
            self._starting = None
            if starting.cancelled() or starting.exception() is not None:
                self._forget()

    async def _give_up(self, starting: asyncio.Task[None]) -> None:
        """Cancel a start, and wait until it has cleaned up."""
        if not starting.cancelling():  # a second one would cut its cleaning up short
            starting.cancel()
        _, alive = await asyncio.wait([starting], timeout=START_GIVEN_UP)
        if alive:
            self._logger.error("the start of the app does not end when it is cancelled")

    async def close(self) -> None:
        """End what runs or starts; what has begun is finished even if this call is cancelled."""
        self._closes += 1
        if self._starting is not None and not self._starting.get_loop().is_closed():
            self._ending += 1
            try:
                await self._give_up(self._starting)
            finally:
                self._ending -= 1
        instance = self.instance
        if instance is not None and instance.loop.is_closed():
            self._forget()  # nothing of it can run any more
            return
        if self._closing is None:
            if instance is None:
                return
            self._closing = instance.loop.create_task(
                self._close(instance, self.listener),
                name="wsrooms close",
                context=instance.base_context.copy(),
            )
        await asyncio.shield(self._closing)

    @contextlib.asynccontextmanager
    async def visited(self) -> AsyncIterator[tuple[Instance, Server]]:
        """Run at least as long as the block: for those who connect without a port.

        What does not run is started for the first of several visitors, and closed
        after the last; what runs already goes on running.
        """
        starts = self.listener is None and self._starting is None
        counts = starts or self._visitors is not None
        if counts:
            self._visitors = (self._visitors or 0) + 1
        try:
            if await self.start() and not counts:  # the start that it waited for has failed
                counts = True
                self._visitors = (self._visitors or 0) + 1
            if self.instance is None or self.instance.closing or self.listener is None:
                raise NotRunning(CLOSED_MEANWHILE)
            yield self.instance, self.listener
        finally:
            if counts and self._visitors is not None:
                self._visitors -= 1
                if not self._visitors:
                    self._visitors = None
                    if self.instance is not None and self._starting is None:
                        await self.close()  # else what starts is somebody else's

    def stay(self) -> None:
        """Whoever calls this will close it: the last visitor does not."""
        self._visitors = None

    async def until_closed(self) -> None:
        """Wait until what runs has ended, whoever ends it."""
        if self._ended is not None:
            await self._ended.wait()

    def make_instance(
        self,
        transport: WsBroadcastTransport | None,
        server: WsServer,
        codec: Codec,
        *,
        thread: LoopThread | None = None,
        debugging: Debugging | None = None,
    ) -> Instance:
        """An instance by the app's options, that nobody serves yet; ``thread`` is its home."""
        options = self._options
        gap_hooks: Iterable[Callable[[Gap], object]] = self.gap_hooks
        error_hooks: Iterable[Callable[[BaseException, str], object]] = self.error_hooks
        make_rooms: Callable[..., Rooms] = Rooms
        make_instance: Callable[..., Instance] = Instance
        if debugging is not None:
            gap_hooks = debugging.hooks(gap_hooks, "on_gap")
            error_hooks = debugging.hooks(error_hooks, "on_error")
            make_rooms, make_instance = debugging.rooms, debugging.instance
        rooms = make_rooms(
            transport,
            join_timeout=options["join_timeout"],
            rooms_per_member=self._limits.rooms_per_connection,
            room_name_bytes=self._limits.room_name_bytes,
            codec=codec,
            logger=self._logger,
        )
        rooms.on_pending = note_join
        instance = make_instance(
            server=server,
            codec=codec,
            rooms=rooms,
            limits=self._limits,
            logger=self._logger,
            max_message_size=options["max_message_size"],
            max_concurrent_messages=options["max_concurrent_messages"],
            debug=options["debug"],
            gap_hooks=gap_hooks,
            error_hooks=error_hooks,
            thread=thread,
        )
        instance.base_context.run(enter, Context(instance))
        return instance

    async def _start_instance(self) -> None:
        options = self._options
        plan, codec = compile_plan(self._app), self.codec
        make_session: Callable[..., Session] = Session
        debugging = None
        if options["debug"]:
            from wsrooms.debug import Debugging  # others need not load it

            debugging = Debugging(self._logger)
            plan, codec = debugging.plan(plan), codec_of(debugging.options(options))
            make_session = debugging.session
        instance = self.make_instance(self.transport, self.server, codec, debugging=debugging)
        rooms = instance.rooms
        keep_trying = options["start_without_broker"]
        try:
            if rooms.link is not None:
                await rooms.link.start(keep_trying=keep_trying)
            try:
                await rooms.serve_everybody(instance.connections.values, START_SERVER_CHANNEL)
            except TransportError:
                if not keep_trying:
                    raise
            self.instance = instance
            from wsrooms.server.listener import Server  # loads websockets, which only serving needs

            self.listener = Server(
                instance,
                lambda connection, on_ready: make_session(instance, plan, connection, on_ready),
                heartbeat_interval=options["heartbeat_interval"],
                heartbeat_timeout=options["heartbeat_timeout"],
            )
            if options["lifespan"] is not None:
                lifespan = Lifespan(manager_of(options["lifespan"], self._app), self._logger)
                await lifespan.enter(instance.base_context.copy())
                self._lifespan = lifespan
        except BaseException:
            stop = instance.loop.create_task(self._stop_bus(instance), name="wsrooms bus stop")
            while not stop.done():
                with contextlib.suppress(asyncio.CancelledError):  # it is under way already
                    await asyncio.wait([stop])
            stop.result()
            raise
        instance.started()

    async def _close(self, instance: Instance, server: Server | None) -> None:
        instance.stopping()
        connections = len(instance.connections)
        timeout = self._options["shutdown_timeout"]
        try:
            if server is not None:
                server.stop_accepting()
                server.close_all(1001, "server shutting down")
            await instance.end_sessions(timeout)
            if server is not None:
                await server.sockets_gone(LAST_SECONDS)
            await instance.tasks.cancel(CLOSE_TRANSPORT)
            if self._lifespan is not None:
                await self._lifespan.leave(timeout)
        finally:
            try:
                await self._stop_bus(instance)
            finally:
                self._forget()
                if server is not None and server.has_listened:
                    self._logger.info("closed; %d connections ended", connections)

    async def _stop_bus(self, instance: Instance) -> None:
        await instance.tasks.cancel(CLOSE_TRANSPORT)
        if instance.rooms.link is not None:
            await instance.rooms.link.close(CLOSE_TRANSPORT)
            await instance.tasks.cancel(CLOSE_TRANSPORT)  # those begun meanwhile

    def _forget(self) -> None:
        instance = self.instance
        self.instance = self.listener = self._lifespan = self._closing = None
        self._idle_since = time.monotonic()
        if self._ended is not None:
            self._ended.set()
            self._ended = None
        if instance is not None:
            self._last_stats = instance.stats()
