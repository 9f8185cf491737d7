"""What ``WsApp(debug=True)`` adds to a running instance; without it nothing here is loaded.

Nothing outside asks whether it debugs: at start the instance is given other parts, or its
functions are wrapped, so that an app that does not debug pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from wsrooms.debug.blocking import LoopWatch, WatchedHooks
from wsrooms.debug.traffic import REMEMBERED, LoudRooms, LoudSession
from wsrooms.instance import Instance
from wsrooms.recent import Recent
from wsrooms.router import RouteMemo, WsRouter
from wsrooms.transports.logs import SeldomLog

if TYPE_CHECKING:
    import asyncio
    import logging

    from wsrooms.connection import WsConnection
    from wsrooms.routes import Handler, Plan
    from wsrooms.transports import WsBroadcastTransport

__all__ = ["Debugging"]

P = ParamSpec("P")
T = TypeVar("T")


class _Instance(Instance):
    """An instance whose background tasks are timed."""

    def __init__(self, watch: LoopWatch, **parts: Any) -> None:
        super().__init__(**parts)
        self._watch = watch
        watch.on_blocked = self._blocked

    def start_task(self, coro: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        return super().start_task(
            self._watch.steps(coro, f"the background task {name!r}"), name=name
        )

    def _blocked(self) -> None:
        self.counters.handlers_blocked += 1


class Debugging:
    """The parts of one instance that tell what happens."""

    def __init__(self, logger: logging.Logger) -> None:
        """Tell ``logger``."""
        self._watch = LoopWatch(SeldomLog(logger))
        self._once: Recent[Hashable] = Recent(REMEMBERED)

    def plan(self, plan: Plan) -> Plan:
        """The same declarations, each function timed."""
        router: WsRouter[Handler] = WsRouter()
        for event, pattern, handler in plan.memo.router.routes():
            router.add(event, pattern, self._watch.handler(handler, event, pattern))
        return replace(
            plan,
            memo=RouteMemo(router),
            on_connect=[self._watch.function(fn, "on_connect") for fn in plan.on_connect],
            on_disconnect=[self._watch.function(fn, "on_disconnect") for fn in plan.on_disconnect],
            around=[self._watch.function(fn, "around_message") for fn in plan.around],
        )

    def options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The same options, what clients cause to be called timed."""
        timed = {
            name: self._watch.function(options[name], name)
            for name in ("message_parser", "message_serializer", "enc_hook")
            if options[name] is not None
        }
        return {**options, **timed}

    def hooks(
        self, hooks: Iterable[Callable[P, object]], kind: str
    ) -> Iterable[Callable[P, object]]:
        """The same hooks, timed."""
        return WatchedHooks(self._watch, hooks, kind)

    def rooms(self, transport: WsBroadcastTransport | None, **options: Any) -> LoudRooms:
        """Rooms that tell what is broadcast."""
        return LoudRooms(transport, **options)

    def instance(self, **parts: Any) -> Instance:
        """An instance that counts what blocks it."""
        return _Instance(self._watch, **parts)

    def session(
        self,
        instance: Instance,
        plan: Plan,
        connection: WsConnection,
        on_ready: Callable[[], None],
    ) -> LoudSession:
        """A session that tells what comes and goes."""
        return LoudSession(instance, plan, connection, on_ready, once=self._once)
