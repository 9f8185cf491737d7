"""One running instance of an app: its connections, its rooms, its figures.

Made when the app starts and dropped when it has closed, so that an app may run
again, and two apps share nothing. ``WsServer`` and ``WsRoom`` are its faces.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast

from msgspec import UNSET

from wsrooms.background import BackgroundTasks
from wsrooms.broadcast import Broadcast, checked_params
from wsrooms.errors import NotRunning
from wsrooms.loopthread import LoopThread
from wsrooms.transports.protocols import Gap, TransportState, WsHealth
from wsrooms.turns import Turns
from wsrooms.wire import Codec, Params, check_room, shown

if TYPE_CHECKING:
    from wsrooms.connection import WsConnection
    from wsrooms.receipt import Receipt
    from wsrooms.rooms import Rooms

__all__ = ["Counters", "Instance", "WsLimits", "WsRoom", "WsServer"]

T = TypeVar("T")

GIVEN_UP = 2.0
"""Seconds for what was cancelled to end: handlers, then on_disconnect."""


@dataclass(frozen=True, kw_only=True)
class WsLimits:
    """What one client may cost.

    Attributes:
        outbox_bytes: Bytes that may wait for a client whose socket takes nothing.
        outbox_messages: Likewise, in messages.
        slow_client: What happens past that: "close" ends the connection with
            4008, "drop_oldest" and "drop_newest" drop pushes. Replies are never dropped.
        waiting_messages: Messages received and not yet handled; past it the
            socket is not read.
        rooms_per_connection: The most rooms a connection may be in.
        room_name_bytes: The longest room name, in bytes of UTF-8.
    """

    outbox_bytes: int = 1_048_576
    outbox_messages: int = 10_000
    slow_client: Literal["close", "drop_oldest", "drop_newest"] = "close"
    waiting_messages: int = 16
    rooms_per_connection: int = 1000
    room_name_bytes: int = 1024


DROP_REASONS = ("json", "parser", "shape", "too_long", "utf8")
"""Why an inbound message is dropped; each has its counter from the start."""


@dataclass(slots=True)
class Counters:
    """What has happened since the instance started."""

    connections_total: int = 0
    connections_rejected: int = 0
    handshakes_failed: int = 0
    http_responses: int = 0
    messages_in: int = 0
    messages_out: int = 0
    writes: int = 0
    replies: int = 0
    errors: int = 0
    handler_errors: int = 0
    hook_errors: int = 0
    handlers_blocked: int = 0
    tasks_failed: int = 0
    slow_clients: int = 0
    dropped_slow: int = 0
    heartbeat_timeouts: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DROP_REASONS, 0))

    def answered(self, *, is_http: bool) -> None:
        """Count a first request that did not become a connection."""
        if is_http:
            self.http_responses += 1
        else:
            self.handshakes_failed += 1

    def drop(self, reason: str) -> None:
        """Count an inbound message that was dropped."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def stats(self, connections: int, rooms: Mapping[str, int]) -> dict[str, int]:
        """With the gauges, all that ``WsApp.stats`` tells."""
        return {
            "connections": connections,
            "connections_total": self.connections_total,
            "connections_rejected": self.connections_rejected,
            "handshakes_failed": self.handshakes_failed,
            "http_responses": self.http_responses,
            "messages_in": self.messages_in,
            "messages_out": self.messages_out,
            "writes": self.writes,
            "replies": self.replies,
            "errors": self.errors,
            "handler_errors": self.handler_errors + rooms.get("handler_errors", 0),
            "hook_errors": self.hook_errors,
            "handlers_blocked": self.handlers_blocked,
            "tasks_failed": self.tasks_failed,
            "slow_clients": self.slow_clients,
            "dropped_slow": self.dropped_slow,
            "heartbeat_timeouts": self.heartbeat_timeouts,
            "dropped": sum(self.dropped.values()),
            **{f"dropped_{reason}": count for reason, count in sorted(self.dropped.items())},
            **{name: count for name, count in rooms.items() if name != "handler_errors"},
        }


class Endable(Protocol):
    """A session, as the instance sees it."""

    @property
    def busy(self) -> bool:
        """Whether a message or a hook is being handled, or waits for that."""
        ...

    def give_up(self) -> None:
        """Cancel what runs and come to an end."""
        ...


class Instance:
    """The state of a running app, on one loop.

    Attributes:
        server: What handlers get from ``use_ws_server()``.
        gap_hooks: The app's ``on_gap`` functions.
        error_hooks: The app's ``on_error`` functions.
        base_context: What handlers start from: each gets a copy, so nothing leaks
            into the next.
    """

    def __init__(
        self,
        *,
        server: WsServer,
        codec: Codec,
        rooms: Rooms,
        limits: WsLimits,
        logger: logging.Logger,
        max_message_size: int,
        max_concurrent_messages: int,
        debug: bool,
        gap_hooks: Iterable[Callable[[Gap], object]],
        error_hooks: Iterable[Callable[[BaseException, str], object]],
        thread: LoopThread | None = None,
    ) -> None:
        """Start empty, on the running loop, or on that of ``thread``."""
        self.server = server
        self.gap_hooks = gap_hooks
        self.error_hooks = error_hooks
        self.thread: LoopThread = (
            LoopThread(asyncio.get_running_loop()) if thread is None else thread
        )
        self.loop: asyncio.AbstractEventLoop = self.thread.loop
        self.codec = codec
        self.rooms = rooms
        self.limits = limits
        self.logger = logger
        self.max_message_size = max_message_size
        self.max_concurrent_messages = max_concurrent_messages
        self.debug = debug
        self.counters: Counters = Counters()
        self.connections: dict[str, WsConnection] = {}
        self.watchers: dict[str, Callable[[], None]] = {}
        """By a connection's id: called when it is accepted, and when it is forgotten."""
        self.tasks: BackgroundTasks = BackgroundTasks(self.loop, logger, self._task_failed)
        self.sessions: dict[Endable, None] = {}  # in order, so that a run can repeat
        self.base_context: Context = copy_context()
        self.turns: Turns = Turns(self.loop, self.base_context)
        self.closing: bool = False
        """Whether the app ends, so that handlers have until its deadline."""
        self._all_gone: asyncio.Event | None = None
        self._state: TransportState = "starting"
        self._error: str | None = None
        self._since = self.loop.time()
        self._bus: tuple[TransportState, str | None] = ("up", None)
        self.thread.on_unseen = lambda error: rooms.failed_unseen("a call from a thread", error)
        rooms.is_local = self.connections.__contains__
        rooms.on_gap = self._gap
        rooms.on_state = self._bus_changed

    # Health

    def started(self) -> None:
        """Everything runs: from now on the state is that of the bus."""
        self._set_state(*self._bus)

    def stopping(self) -> None:
        """The end has begun."""
        self.closing = True
        self._set_state("closed", None)

    def _bus_changed(self, state: TransportState, error: str | None) -> None:
        """The transport came up or went down."""
        if state != self._bus[0]:
            level = logging.INFO if state == "up" else logging.WARNING
            self.logger.log(level, "the bus is %s%s", state, f": {error}" if error else "")
        self._bus = state, error
        if self._state != "closed" and (self._state != "starting" or state != "up"):
            self._set_state(state, error)

    def _set_state(self, state: TransportState, error: str | None) -> None:
        if state != self._state:
            self._since = self.loop.time()
        self._state, self._error = state, error

    def health(self) -> WsHealth:
        """Whether this instance serves and hears the others."""
        return WsHealth(self._state, self.loop.time() - self._since, self._error)

    # Tasks and reports

    def start_task(self, coro: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """A task whose death is logged, and that the end cancels."""
        return self.tasks.start(coro, name=name)

    def report(self, error: BaseException, route: str, what: str = "it failed") -> None:
        """An exception that the program did not mean to raise: log it, tell ``on_error``."""
        self.counters.handler_errors += 1
        self.logger.error("%s: %s", shown(route), what, exc_info=error)
        for hook in self.error_hooks:
            self._tell("on_error", hook, error, route)

    def _gap(self, gap: Gap) -> None:
        """Messages of other instances were lost on the way here."""
        for hook in self.gap_hooks:
            # The transport calls from a context of its own.
            self.base_context.copy().run(self._tell, "on_gap", hook, gap)

    def _tell(self, kind: str, hook: Callable[..., object], *facts: object) -> None:
        """Run a hook that only listens, sync or async; it cannot fail anything."""
        try:
            result = hook(*facts)
        except Exception:
            self.counters.hook_errors += 1
            self.logger.exception("%s failed", kind)
        else:
            if inspect.isawaitable(result):
                self.start_task(_awaiting(result), name=kind)

    # Connections

    def accepted(self, connection: WsConnection) -> None:
        """Its on_connect has ended well: from now on others see it."""
        self.connections[connection.id] = connection
        connection._accept()
        self._tell_watcher(connection)

    def forgotten(self, connection: WsConnection) -> None:
        """It is over, its on_disconnect has run: nobody sees it any more."""
        self.connections.pop(connection.id, None)
        self._tell_watcher(connection)

    def _tell_watcher(self, connection: WsConnection) -> None:
        watcher = self.watchers.get(connection.id)
        if watcher is not None:
            watcher()

    def forget_session(self, session: Endable) -> None:
        """A connection is over and forgotten."""
        self.sessions.pop(session, None)
        if not self.sessions and self._all_gone is not None:
            self._all_gone.set()

    async def end_sessions(self, timeout: float) -> None:
        """Wait until every connection is forgotten; after ``timeout`` seconds push them."""
        if await self._sessions_over(timeout):
            return
        for session in list(self.sessions):
            session.give_up()
        if await self._sessions_over(GIVEN_UP):
            return
        for session in list(self.sessions):
            session.give_up()  # now it is on_disconnect that does not end
        if not await self._sessions_over(GIVEN_UP):
            self.logger.error("%d connections could not be ended in time", len(self.sessions))

    async def _sessions_over(self, timeout: float) -> bool:
        """Wait until every connection is forgotten; False if some are not in time."""
        if not self.sessions:
            return True
        self._all_gone = asyncio.Event()
        try:
            async with asyncio.timeout(timeout):
                await self._all_gone.wait()
        except TimeoutError:
            return False
        finally:
            self._all_gone = None
        return True

    def _task_failed(self) -> None:
        self.counters.tasks_failed += 1

    def stats(self) -> dict[str, int]:
        """Counters and gauges; ``WsApp.stats`` tells what each means."""
        return self.counters.stats(len(self.connections), self.rooms.stats())


async def _awaiting(result: Awaitable[object]) -> None:
    await result


class Running(Protocol):
    """Where the faces find the instance, for as long as there is one."""

    def __call__(self) -> Instance | None:
        """The running instance, or None."""
        ...


def _required(running: Running) -> Instance:
    instance = running()
    if instance is None:
        raise NotRunning(
            "the app is not running: use it between start and close, "
            "inside 'async with app.serving()' or after 'await app.listen()'"
        )
    return instance


class WsServer:
    """All clients: what ``use_ws_server()`` and ``app.server`` give.

    Queries answer for this instance; what is sent reaches the fleet unless
    ``local``. Usable from any thread; before start and after close every method
    raises ``NotRunning``.
    """

    __slots__ = ("_running",)

    def __init__(self, running: Running) -> None:
        self._running = running

    def connections(self) -> frozenset[WsConnection]:
        """Every connection of this instance: a snapshot."""
        instance = _required(self._running)
        return instance.thread.ask(lambda: frozenset(instance.connections.values()))

    def get_connection(self, id: str) -> WsConnection | None:
        """The connection with this id, if it is on this instance."""
        instance = _required(self._running)
        return instance.thread.ask(lambda: instance.connections.get(id))

    def room_connections(self, room: str) -> frozenset[WsConnection]:
        """Who is in ``room`` on this instance: a snapshot."""
        instance = _required(self._running)
        return instance.thread.ask(lambda: _members(instance, room))

    def room(self, name: str) -> WsRoom:
        """A room by its name, whether or not anybody is in it.

        Raises:
            InvalidRoom: It is no room's name.
        """
        check_room(name, _required(self._running).limits.room_name_bytes)
        return WsRoom(name, self._running)

    def broadcast(
        self,
        event: str,
        path: str,
        data: object = UNSET,
        *,
        params: Params | None = None,
        local: bool = False,
    ) -> Receipt:
        """Send to every client of every instance, the sender too.

        Args:
            event: The event of the push.
            path: The path of the push.
            data: What JSON can carry; left out where not given.
            params: Left out where empty.
            local: Only this instance's clients.

        Raises:
            TypeError: ``data`` has no JSON form.
            ValueError: Likewise.
            PayloadTooLarge: Over the transport's limit; nobody received it.
        """
        instance = _required(self._running)
        broadcast = Broadcast(instance.codec, event, path, data, checked_params(params))
        if instance.thread.inside:
            return instance.rooms.broadcast_all(broadcast, local=local)
        instance.rooms.check(broadcast, None, local=local)
        return instance.thread.post_receipt(
            lambda: instance.rooms.broadcast_all(broadcast, local=local)
        )


def _members(instance: Instance, room: str) -> frozenset[WsConnection]:
    members = cast("frozenset[WsConnection]", instance.rooms.connections(room))
    return frozenset(member for member in members if member.accepted)


class WsRoom:
    """One room: who is in it here, and a broadcast that reaches all of it.

    Attributes:
        name: The room's name.
    """

    __slots__ = ("_running", "name")

    name: str

    def __init__(self, name: str, running: Running) -> None:
        self.name = name
        self._running = running

    def __len__(self) -> int:
        return len(self.connections())

    def __bool__(self) -> bool:
        return True  # an empty room is a room: `if room` must not ask for members

    def connections(self) -> frozenset[WsConnection]:
        """Who is in it on this instance: a snapshot."""
        instance = _required(self._running)
        return instance.thread.ask(lambda: _members(instance, self.name))

    def broadcast(
        self,
        event: str,
        data: object = UNSET,
        *,
        params: Params | None = None,
        exclude: str | None = None,
        local: bool = False,
    ) -> Receipt:
        """Send to every member, on every instance; the push's path is the room.

        Args:
            event: The event of the push.
            data: What JSON can carry; left out where not given.
            params: Left out where empty.
            exclude: The id of a connection that does not receive it.
            local: Only members on this instance.

        Raises:
            TypeError: ``data`` has no JSON form.
            ValueError: Likewise.
            PayloadTooLarge: Over the transport's limit; nobody received it.
        """
        instance = _required(self._running)
        broadcast = Broadcast(instance.codec, event, self.name, data, checked_params(params))

        def send() -> Receipt:
            return instance.rooms.broadcast_in(self.name, broadcast, exclude=exclude, local=local)

        if instance.thread.inside:
            return send()
        instance.rooms.check(broadcast, exclude, local=local)
        return instance.thread.post_receipt(send)

    def __repr__(self) -> str:
        return f"<WsRoom {self.name!r}>"
