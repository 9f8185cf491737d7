"""``WsApp``: declarations, options and the life of one running instance.

The app itself holds only what was declared. What runs is an ``Instance``, made
at start and dropped at close, so an app may start again, and its replicas share
nothing with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msgspec import UNSET

from wsrooms.context import Context, enter, note_join
from wsrooms.errors import ConfigurationError, NotRunning, UnknownOption
from wsrooms.instance import Instance, WsLimits, WsRoom, WsServer
from wsrooms.rooms import WsRoomManager
from wsrooms.routes import Plan, WsRoutes, check_hook, compile_plan
from wsrooms.running import run_app
from wsrooms.server import Server, ServerOptions, ServerSettings, WsAddress, listen_on
from wsrooms.session import Session
from wsrooms.transports import (
    Gap,
    SupportsReplica,
    TransportState,
    WsBroadcastTransport,
    WsHealth,
    transport_from_url,
)
from wsrooms.wire import Codec, CustomCodec, JsonCodec, Params

if TYPE_CHECKING:
    from typing import Unpack

    from wsrooms.connection import WsConnection
    from wsrooms.handshake import Origins
    from wsrooms.receipt import Receipt

__all__ = ["WsApp"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

CLOSE_TRANSPORT = 5.0
"""Seconds for the transport to publish what waits and to close."""

START_SERVER_CHANNEL = 5.0
"""Seconds within which the server-wide channel must be confirmed at start."""


class WsApp(WsRoutes):
    """An application: routes, rooms and the server that serves them.

    .. code-block:: python

        ws = WsApp()

        @ws.on_message("join", "/chat/:room")
        async def join():
            await use_ws_rooms().join()
            return {"joined": True}

        ws.run(port=8000)

    Attributes:
        server: All clients, for code without a context.
    """

    server: WsServer

    def __init__(
        self,
        *,
        broadcast_transport: str | WsBroadcastTransport | None = None,
        start_without_broker: bool = False,
        lifespan: Callable[[WsApp], AbstractAsyncContextManager[object]] | None = None,
        heartbeat_interval: float | None = 30.0,
        heartbeat_timeout: float = 5.0,
        max_message_size: int = 1_048_576,
        max_concurrent_messages: int = 1,
        join_timeout: float = 8.0,
        shutdown_timeout: float = 10.0,
        allowed_origins: Origins = "same",
        limits: WsLimits | None = None,
        message_parser: Callable[[str | bytes], Mapping[str, Any]] | None = None,
        message_serializer: Callable[[dict[str, Any]], str | bytes] | None = None,
        enc_hook: Callable[[Any], Any] | None = None,
        logger: logging.Logger | None = None,
        debug: bool = False,
    ) -> None:
        """Declare an app; nothing runs yet.

        Args:
            broadcast_transport: What joins the rooms of several instances: a URL
                such as ``redis://localhost``, or an object; None for one process.
            start_without_broker: Serve even if the broker cannot be reached at
                start: joins are refused with 503 until it can.
            lifespan: ``lifespan(app)`` gives an async context manager for pools
                and background tasks: entered when the transport is up and before
                the first client, left after the last one.
            heartbeat_interval: Seconds between pings; None or 0 for none.
            heartbeat_timeout: Seconds that a client has to answer one.
            max_message_size: Bytes; longer messages are dropped, and 16 times
                that closes the connection with 1009.
            max_concurrent_messages: How many messages of one connection may be
                handled at a time; 1 keeps their order.
            join_timeout: Seconds within which the transport must confirm a join.
            shutdown_timeout: Seconds that handlers may still run at close.
            allowed_origins: Which web pages may connect: "same" those of the
                request's own host, "*" all, or a list of origins.
            limits: What one client may cost.
            message_parser: In place of JSON: a frame's str or bytes to a mapping
                with "event", "path", and perhaps "data" and "id".
            message_serializer: In place of JSON: a dict to a str (text frame) or
                bytes (binary frame).
            enc_hook: Makes encodable what msgspec does not know.
            logger: By default ``logging.getLogger("wsrooms")``.
            debug: Let pages of any local port connect, and log more.

        Raises:
            ConfigurationError: An option cannot work.
        """
        super().__init__()
        self._options: dict[str, Any] = {
            "broadcast_transport": broadcast_transport,
            "start_without_broker": start_without_broker,
            "lifespan": lifespan,
            "heartbeat_interval": heartbeat_interval,
            "heartbeat_timeout": heartbeat_timeout,
            "max_message_size": max_message_size,
            "max_concurrent_messages": max_concurrent_messages,
            "join_timeout": join_timeout,
            "shutdown_timeout": shutdown_timeout,
            "allowed_origins": allowed_origins,
            "limits": limits,
            "message_parser": message_parser,
            "message_serializer": message_serializer,
            "enc_hook": enc_hook,
            "logger": logger,
            "debug": debug,
        }
        _check_options(self._options)
        self._limits = WsLimits() if limits is None else limits
        self._logger = logging.getLogger("wsrooms") if logger is None else logger
        self._codec: Codec = (
            JsonCodec(enc_hook)
            if message_parser is None and message_serializer is None
            else CustomCodec(message_parser, message_serializer, enc_hook)
        )
        self._gap_hooks: list[Callable[[Gap], object]] = []
        self._error_hooks: list[Callable[[BaseException, str], object]] = []
        self._instance: Instance | None = None
        self._listener: Server | None = None
        self._starting = False
        self._closing: asyncio.Future[None] | None = None
        self._lifespan: AsyncExitStack | None = None
        self.server = WsServer(lambda: self._instance)
        self._transport: WsBroadcastTransport | None = None
        if broadcast_transport is not None:
            self._transport = self._make_transport(broadcast_transport)

    # Declarations

    def on_gap(self, fn: F) -> F:
        """Call ``fn(gap)`` when messages of other instances were lost on the way here.

        Raises:
            InvalidHandler: ``fn`` does not take one parameter.
        """
        check_hook(fn, 1, "on_gap")
        self._gap_hooks.append(fn)
        return fn

    def on_error(self, fn: F) -> F:
        """Call ``fn(exception, route)`` for what handlers did not mean to raise.

        It is for reporting: the reply stays "Internal Error".

        Raises:
            InvalidHandler: ``fn`` does not take two parameters.
        """
        check_hook(fn, 2, "on_error")
        self._error_hooks.append(fn)
        return fn

    def routes(self) -> list[tuple[str, str, Callable[..., object]]]:
        """Every route as (event, path pattern, handler), in the order of declaration."""
        return compile_plan(self).routes

    def replica(self, **changed_options: Any) -> WsApp:
        """One more instance of this app: the same routes, hooks and options, its own state.

        A transport given as an object is asked for its ``replica()``; one that
        cannot make any has to be given anew.

        Args:
            changed_options: Options of ``WsApp`` that differ.

        Raises:
            UnknownOption: There is no such option.
            ConfigurationError: The transport object cannot be shared.
        """
        for option in changed_options:
            if option not in self._options:
                raise UnknownOption(option, self._options)
        options = {**self._options, **changed_options}
        transport = options["broadcast_transport"]
        if "broadcast_transport" not in changed_options and not (
            transport is None or isinstance(transport, str)
        ):
            if not isinstance(transport, SupportsReplica):
                raise ConfigurationError(
                    f"{type(transport).__name__} cannot be shared by two apps: give the replica "
                    "its own with replica(broadcast_transport=...)"
                )
            options["broadcast_transport"] = transport.replica()
        twin = WsApp(**options)
        twin.include(self)
        twin._gap_hooks.extend(self._gap_hooks)
        twin._error_hooks.extend(self._error_hooks)
        return twin

    # While it runs

    def broadcast(
        self,
        event: str,
        path: str,
        data: object = UNSET,
        *,
        params: Params | None = None,
        local: bool = False,
    ) -> Receipt:
        """Send to every client of every instance; see :meth:`WsServer.broadcast`."""
        return self.server.broadcast(event, path, data, params=params, local=local)

    def room(self, name: str) -> WsRoom:
        """A room by its name.

        Raises:
            NotRunning: Before start or after close.
            InvalidRoom: It is no room's name.
        """
        return self.server.room(name)

    def health(self) -> WsHealth:
        """Whether this instance serves and hears the others; "closed" while it does not run."""
        instance = self._instance
        return WsHealth("closed", 0.0, None) if instance is None else instance.health()

    def stats(self) -> dict[str, int]:
        """Counters and gauges of this instance; empty while it does not run."""
        instance = self._instance
        return {} if instance is None else instance.thread.ask(instance.stats)

    def start_task(self, coro: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """A background task of the app: its death is logged with its name.

        ``close()`` cancels it and waits for it.

        Raises:
            NotRunning: Before start or after close; ``coro`` is closed then.
        """
        instance = self._instance
        if instance is None:
            coro.close()
            raise NotRunning(f"task {name!r} needs a running app: start it in lifespan or later")
        return instance.start_task(coro, name=name)

    # Life

    def run(
        self, host: str = "127.0.0.1", port: int = 8000, **options: Unpack[ServerOptions]
    ) -> None:
        """Serve until SIGINT or SIGTERM; a second signal ends the process at once.

        Uses uvloop where it is installed, and sets up logging where nobody has.

        Raises:
            SystemExit: It could not start; one line says what to do.
            ConfigurationError: An event loop is running here already.
        """
        run_app(self, host, port, options, self._logger, debug=bool(self._options["debug"]))

    async def listen(
        self, port: int, host: str = "127.0.0.1", **options: Unpack[ServerOptions]
    ) -> WsAddress:
        """Start, if it is not running yet, and accept connections; returns where.

        Call it again to listen on one more address.

        Raises:
            ServerNotStarted: The address cannot be used.
            TransportError: The broker could not be reached.
        """
        started_here = self._instance is None
        if started_here:
            await self._start()
        assert self._listener is not None
        try:
            settings = ServerSettings(
                allowed_origins=self._options["allowed_origins"],
                logger=self._logger,
                debug=self._options["debug"],
                path=options.get("path"),
                subprotocols=tuple(options.get("subprotocols", ())),
                http_handler=options.get("http_handler"),
            )
            listening, address = await listen_on(
                self._listener.factory(settings), host, port, options
            )
        except BaseException:
            if started_here:
                await self.close()
            raise
        self._listener.add(listening)
        self._logger.info("listening on %s", address.url)
        return address

    @contextlib.asynccontextmanager
    async def serving(
        self, port: int = 0, host: str = "127.0.0.1", **options: Unpack[ServerOptions]
    ) -> AsyncIterator[WsAddress]:
        """Serve inside an ``async with`` block; port 0 takes a free one."""
        address = await self.listen(port, host, **options)
        try:
            yield address
        finally:
            await self.close()

    async def close(self) -> None:
        """End every connection with 1001, let handlers finish, then stop; idempotent.

        Handlers have ``shutdown_timeout`` seconds; each accepted connection's
        on_disconnect runs; the transport publishes what waits, and is closed.
        """
        if self._closing is not None:
            await asyncio.shield(self._closing)
            return
        if self._instance is None:
            return
        self._closing = asyncio.get_running_loop().create_future()
        try:
            await self._close(self._instance, self._listener)
        finally:
            self._instance = self._listener = None
            closing, self._closing = self._closing, None
            closing.set_result(None)

    async def _start(self) -> None:
        if self._starting or self._closing is not None:
            raise NotRunning("the app is starting or closing: wait until that has ended")
        self._starting = True
        try:
            await self._start_instance()
        finally:
            self._starting = False

    async def _start_instance(self) -> None:
        options = self._options
        plan = compile_plan(self)
        rooms = WsRoomManager(
            self._transport,
            join_timeout=options["join_timeout"],
            rooms_per_member=self._limits.rooms_per_connection,
            room_name_bytes=self._limits.room_name_bytes,
            codec=self._codec,
            logger=self._logger,
            on_gap=self._gap,
            on_state=self._state_changed,
        )
        rooms.on_pending = note_join
        instance = Instance(
            codec=self._codec,
            rooms=rooms,
            limits=self._limits,
            logger=self._logger,
            max_message_size=options["max_message_size"],
            max_concurrent_messages=options["max_concurrent_messages"],
            debug=options["debug"],
        )
        link = rooms.link
        if link is not None:
            try:
                await link.start(keep_trying=options["start_without_broker"])
                await rooms.serve_everybody(instance.connections.values, START_SERVER_CHANNEL)
            except BaseException:
                await link.close(CLOSE_TRANSPORT)
                raise
        else:
            await rooms.serve_everybody(instance.connections.values, START_SERVER_CHANNEL)
        self._instance = instance
        self._listener = Server(
            instance,
            self._session_factory(instance, plan),
            heartbeat_interval=options["heartbeat_interval"],
            heartbeat_timeout=options["heartbeat_timeout"],
        )
        if link is None or link.live:
            instance.set_state("up", None)
        try:
            await self._enter_lifespan(instance)
        except BaseException:
            self._instance = self._listener = None
            await self._stop_bus(instance)
            raise

    async def _enter_lifespan(self, instance: Instance) -> None:
        lifespan = self._options["lifespan"]
        if lifespan is None:
            return
        self._lifespan = AsyncExitStack()
        # In its own context, so that use_ws_server() works in it and in its tasks.
        context = copy_context()
        context.run(enter, Context(instance))
        await instance.loop.create_task(
            self._lifespan.enter_async_context(lifespan(self)), context=context
        )

    def _session_factory(
        self, instance: Instance, plan: Plan
    ) -> Callable[[WsConnection, Callable[[], None]], Session]:
        return lambda connection, on_ready: Session(
            instance, plan, connection, on_ready=on_ready, on_error=self._error_hooks
        )

    async def _close(self, instance: Instance, server: Server | None) -> None:
        instance.set_state("closed", None)
        connections = len(instance.connections)
        if server is not None:
            server.stop_accepting()
            server.close_all(1001, "server shutting down")
        if not await instance.sessions_over(self._options["shutdown_timeout"]):
            for session in list(instance.sessions):
                session.give_up()
            if not await instance.sessions_over(2.0):
                self._logger.error(
                    "%d connections could not be ended in time", len(instance.sessions)
                )
        if server is not None:
            await server.sockets_gone(2.0)
        await _cancel_all(instance.tasks)
        try:
            if self._lifespan is not None:
                lifespan, self._lifespan = self._lifespan, None
                await lifespan.aclose()
        finally:
            await self._stop_bus(instance)
            self._logger.info("closed; %d connections ended", connections)

    async def _stop_bus(self, instance: Instance) -> None:
        await _cancel_all(instance.tasks)
        if instance.rooms.link is not None:
            await instance.rooms.link.close(CLOSE_TRANSPORT)

    # What the bus tells

    def _state_changed(self, state: TransportState, error: str | None) -> None:
        instance = self._instance
        if instance is None or instance.health().state == "closed":
            return
        if state != instance.health().state:
            level = logging.INFO if state == "up" else logging.WARNING
            self._logger.log(level, "the bus is %s%s", state, f": {error}" if error else "")
        instance.set_state(state, error)

    def _gap(self, gap: Gap) -> None:
        for hook in self._gap_hooks:
            try:
                result = hook(gap)
            except Exception:
                self._logger.exception("on_gap failed")
                continue
            if asyncio.iscoroutine(result) and self._instance is not None:
                self._instance.start_task(result, name="on_gap")

    def _make_transport(self, given: str | WsBroadcastTransport) -> WsBroadcastTransport:
        if isinstance(given, str):
            return transport_from_url(given)
        missing = [
            name
            for name in ("publish", "subscribe", "unsubscribe")
            if not callable(getattr(given, name, None))
        ]
        if missing:
            raise ConfigurationError(
                f"{type(given).__name__} is no transport: it lacks {', '.join(missing)}"
            )
        owner = getattr(given, "_wsrooms_owner", None)
        if owner is not None and owner() is not None:
            raise ConfigurationError(
                "two apps cannot share a transport object: an instance would not hear the other; "
                "make one for each app, or use app.replica()"
            )
        with contextlib.suppress(AttributeError):  # a class with __slots__ cannot be marked
            cast("Any", given)._wsrooms_owner = weakref.ref(self)
        return given


def _check_options(options: dict[str, Any]) -> None:
    """Refuse what cannot work, naming the option."""
    for name in ("max_message_size", "max_concurrent_messages"):
        value = options[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigurationError(f"{name}={value!r}: give a whole number from 1 up")
    for name in ("join_timeout", "shutdown_timeout", "heartbeat_timeout"):
        if not options[name] > 0:
            raise ConfigurationError(f"{name}={options[name]!r}: give seconds above 0")
    interval = options["heartbeat_interval"]
    if interval is not None and interval < 0:
        raise ConfigurationError(f"heartbeat_interval={interval!r}: give seconds, or None for none")
    origins = options["allowed_origins"]
    if isinstance(origins, str) and origins not in ("same", "*"):
        raise ConfigurationError(
            f'allowed_origins={origins!r}: give "same", "*" or a list, such as [{origins!r}]'
        )


async def _cancel_all(tasks: set[asyncio.Task[Any]]) -> None:
    current = asyncio.current_task()
    others = [task for task in tasks if task is not current]
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=CLOSE_TRANSPORT)
