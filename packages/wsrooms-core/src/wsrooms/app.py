"""``WsApp``: declarations, options and the life of one running instance.

The app itself holds only what was declared. What runs is the business of its
``Life``, which makes an ``Instance`` at start and drops it at close, so an app
may start again, and its replicas share no state with it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from msgspec import UNSET

from wsrooms.errors import NotRunning, UnknownOption
from wsrooms.life import CLOSED_MEANWHILE, Life
from wsrooms.options import check_options, codec_of, options_by_name, owned_transport, replica_of
from wsrooms.routes import WsRoutes, check_hook, compile_plan
from wsrooms.running import run_app
from wsrooms.server.settings import ServerOptions, ServerSettings, WsAddress

if TYPE_CHECKING:
    import asyncio
    from typing import Unpack

    from wsrooms.handshake import Origins
    from wsrooms.instance import Instance, WsLimits, WsRoom, WsServer
    from wsrooms.receipt import Receipt
    from wsrooms.server.listener import Server
    from wsrooms.server.protocol import ServerConnection
    from wsrooms.transports import WsBroadcastTransport, WsHealth
    from wsrooms.wire import Params

__all__ = ["WsApp"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


class Door(NamedTuple):
    """How ``wsrooms.testing`` comes in.

    Attributes:
        instance: What runs.
        server: Its sockets.
        accept: Makes the protocol of one more.
    """

    instance: Instance
    server: Server
    accept: Callable[[], ServerConnection]


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

    @options_by_name
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
            shutdown_timeout: Seconds that handlers may still run at close, and then
                ``lifespan`` may take to be left.
            allowed_origins: Which web pages may connect: "same" those of the
                request's own host, "*" all, or a list of origins.
            limits: What one client may cost.
            message_parser: In place of JSON: a frame's str or bytes to a mapping
                with "event", "path", and perhaps "data" and "id".
            message_serializer: In place of JSON: a dict to a str (text frame) or
                bytes (binary frame).
            enc_hook: Makes encodable what msgspec does not know.
            logger: By default ``logging.getLogger("wsrooms")``.
            debug: Log frames, name functions that block the event loop, warn of what
                reached nobody, and let pages of any local port connect.

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
        check_options(self._options)
        self._logger = logging.getLogger("wsrooms") if logger is None else logger
        self._life = Life(self, self._options, codec_of(self._options), self._logger)
        self.server = self._life.server
        if broadcast_transport is not None:
            self._life.transport = owned_transport(broadcast_transport, self)

    # Declarations

    def on_gap(self, fn: F) -> F:
        """Call ``fn(gap)`` when messages of other instances were lost on the way here.

        Raises:
            InvalidHandler: ``fn`` does not take one parameter.
        """
        check_hook(fn, 1, "on_gap")
        self._life.gap_hooks.append(fn)
        return fn

    def on_error(self, fn: F) -> F:
        """Call ``fn(exception, route)`` for what handlers did not mean to raise.

        It is for reporting: the reply stays "Internal Error".

        Raises:
            InvalidHandler: ``fn`` does not take two parameters.
        """
        check_hook(fn, 2, "on_error")
        self._life.error_hooks.append(fn)
        return fn

    def routes(self) -> list[tuple[str, str, Callable[..., object]]]:
        """Every route as (event, path pattern, handler), in the order of declaration."""
        return compile_plan(self).routes

    def replica(self, **changed_options: Any) -> WsApp:
        """One more instance of this app: the same routes, hooks and options, its own state.

        What is declared here later, before the replica starts, counts there too.
        The transport is asked for its ``replica()``, so both are on one bus, also
        one in memory; an object that cannot make any has to be given anew. Of a
        subclass too this makes a plain ``WsApp``, which knows its options alone.

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
        if "broadcast_transport" not in changed_options:
            options["broadcast_transport"] = replica_of(
                options["broadcast_transport"], self._life.transport
            )
        twin = WsApp(**options)
        twin.include(self)
        twin._life.gap_hooks.include(self._life.gap_hooks)
        twin._life.error_hooks.include(self._life.error_hooks)
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
        return self._life.health()

    def stats(self) -> dict[str, int]:
        """Counters and gauges of this instance; after close the last ones.

        Before the first start every one is there and 0.

        ========================  ====================================================
        ``connections``           open, and accepted by on_connect
        ``connections_total``     upgraded since the start
        ``connections_rejected``  refused by on_connect, or gone before it had ended
        ``handshakes_failed``     sockets that asked for nothing we know, or too slowly
        ``http_responses``        answers to plain HTTP requests and to refused upgrades
        ``messages_in``           messages received, the dropped ones included
        ``messages_out``          frames given to sockets: pushes, replies, pings
        ``writes``                the writes that this took
        ``replies``               replies that carry a result
        ``errors``                messages that ended in an error, with or without an id
        ``handler_errors``        exceptions that no handler or hook meant to raise
        ``hook_errors``           of these, those of on_disconnect; and failures of
                                  on_error and on_gap
        ``handlers_blocked``      times that a function kept the event loop busy for over
                                  100 ms; counted with ``debug=True`` alone
        ``tasks_failed``          background tasks that died
        ``slow_clients``          connections closed because they took too little
        ``dropped_slow``          pushes dropped because a client took too little
        ``heartbeat_timeouts``    clients that answered no ping
        ``dropped``               inbound messages dropped, all reasons together
        ``dropped_json``          no JSON
        ``dropped_shape``         JSON of another shape than a message
        ``dropped_parser``        refused by ``message_parser``
        ``dropped_utf8``          text that is no UTF-8
        ``dropped_too_long``      over ``max_message_size``
        ``rooms``                 rooms with a member here
        ``memberships``           (room, member) pairs here
        ``joins_pending``         joins that wait for the transport
        ``joins_failed``          joins that it refused or did not confirm in time
        ``receipts_failed``       failures that nobody awaited
        ``published``             broadcasts handed to the transport
        ``received``              broadcasts of other instances
        ``outbox``                broadcasts that wait to be published
        ``outbox_bytes``          their size
        ``foreign``               payloads on our channels that are no messages
        ``echoes``                own broadcasts that the bus brought back
        ``duplicates``            messages that the bus brought twice
        ``gaps``                  times that messages of other instances were lost
        ``resent``                publishes repeated after a reconnect
        ``reconnects``            times that the transport connected again
        ========================  ====================================================

        A transport may add keys of its own.
        """
        return self._life.stats()

    def start_task(self, coro: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """A background task of the app: its death is logged with its name.

        ``close()`` cancels it and waits for it; what goes on for 2.5 s is cancelled once more.
        May be called from any thread.

        Raises:
            NotRunning: Before start or after close; ``coro`` is closed then.
            TypeError: ``coro`` is none.
        """
        given: object = coro  # a checker would take what follows for unreachable
        if not isinstance(given, Coroutine):  # which a compiled one, or a debugged one, is too
            what = getattr(given, "__qualname__", None) or type(given).__name__
            raise TypeError(
                f"start_task({what}): give a coroutine, which calling an async function makes"
            )
        instance = self._life.current()
        if instance is None:
            coro.close()
            raise NotRunning(f"task {name!r} needs a running app: start it in lifespan or later")
        return instance.thread.ask(lambda: instance.start_task(coro, name=name))

    # Life

    def run(
        self, host: str = "127.0.0.1", port: int = 8000, **options: Unpack[ServerOptions]
    ) -> None:
        """Serve until SIGINT or SIGTERM, or until :meth:`close`.

        A second signal ends the process at once.

        Uses uvloop where it is installed, and sets up logging where nobody has.

        Raises:
            SystemExit: It could not start, or an event loop is running here already
                (a notebook); one line says what to do.
        """
        run_app(
            self,
            host,
            port,
            options,
            self._logger,
            debug=bool(self._options["debug"]),
            until_closed=self._life.until_closed,
        )

    async def listen(
        self, port: int, host: str = "127.0.0.1", **options: Unpack[ServerOptions]
    ) -> WsAddress:
        """Start, if it is not running yet, and accept connections; returns where.

        Call it again to listen on one more address.

        Raises:
            ServerNotStarted: The address cannot be used.
            TransportError: The broker could not be reached.
            NotRunning: The app was closed meanwhile, or closes.
        """
        started_here = await self._life.start()
        listener = self._life.listener
        if listener is None:
            raise NotRunning(CLOSED_MEANWHILE)
        try:
            from wsrooms.server.sockets import listen_on

            factory = listener.factory(self._settings(options))
            listening, address = await listen_on(factory, host, port, options)
        except BaseException:
            if started_here and not listener.has_listened:
                await self.close()
            raise
        if listener.closing:
            listener.add(listening)
            listener.stop_accepting()
            raise NotRunning("the app was closed while it began to listen")
        self._life.stay()
        listener.add(listening)
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

    def _settings(self, options: ServerOptions) -> ServerSettings:
        return ServerSettings(
            allowed_origins=self._options["allowed_origins"],
            logger=self._logger,
            debug=self._options["debug"],
            path=options.get("path"),
            subprotocols=tuple(options.get("subprotocols") or ()),
            http_handler=options.get("http_handler"),
        )

    @contextlib.asynccontextmanager
    async def _visited(self, options: ServerOptions) -> AsyncIterator[Door]:
        """For ``wsrooms.testing``: run, and let clients in without a port."""
        async with self._life.visited() as (instance, listener):
            yield Door(instance, listener, listener.factory(self._settings(options)))

    async def close(self) -> None:
        """End every connection with 1001, let handlers finish, then stop; idempotent.

        Handlers have ``shutdown_timeout`` seconds; each accepted connection's
        on_disconnect runs; ``lifespan`` has as long to be left, and is cancelled
        then; the transport publishes what waits, and is closed. What has begun is
        finished even if this call is cancelled. A start that is under way is ended: who
        waits for it gets ``NotRunning``.
        """
        await self._life.close()
