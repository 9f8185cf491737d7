"""One connection's life: on_connect, its messages in order, on_disconnect.

The session never meets a socket. ``server.py`` hands it whole messages and the
end; it routes them, runs handlers, answers, and says when it can take more.
Sync handlers run at once, without a task. Async ones run in tasks, of which there
are up to ``max_concurrent_messages`` at a time and none in between; the messages
that wait meanwhile are taken on by the same tasks, in order.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from sys import getrefcount
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from msgspec import Raw

from wsrooms.answers import FAILED, Answering
from wsrooms.context import Context, enter, in_context
from wsrooms.errors import ConnectionGone, TransportError, WsError
from wsrooms.message import WsMessage
from wsrooms.wire import Inbound, Malformed

if TYPE_CHECKING:
    import contextvars

    from wsrooms.connection import WsConnection
    from wsrooms.instance import Instance
    from wsrooms.routes import Handler, Plan

__all__ = ["LINGER", "Session"]

LINGER = 5.0
"""Seconds that handlers of a client that has left may still run, and then on_disconnect."""

GIVE_UP = 1.0
"""Seconds that a handler or hook may take to end once it is cancelled."""

REFUSED = 1008


class _Work(NamedTuple):
    """What is left of a message whose handler is async."""

    rest: Coroutine[Any, Any, None]
    context: contextvars.Context
    name: str


NOT_AWAITABLE = frozenset({type(None), bool, int, float, str, bytes, list, dict, Raw})
"""Types of results that are certainly not awaitable: to look for ``__await__`` costs more."""


class Session(Answering):
    """What happens on one connection."""

    __slots__ = (
        "_deadline",
        "_ended",
        "_opening",
        "_plan",
        "_running",
        "done",
    )

    def __init__(
        self,
        instance: Instance,
        plan: Plan,
        connection: WsConnection,
        on_ready: Callable[[], None],
    ) -> None:
        """Prepare; :meth:`open` begins.

        Args:
            instance: The running app.
            plan: Its declarations.
            connection: Whose life this is.
            on_ready: Called when a session that was full can take messages again.
        """
        super().__init__(instance, connection, on_ready)
        self._plan = plan
        self._running = 0
        self._opening = True
        self._ended = False
        self._deadline: asyncio.TimerHandle | None = None
        self.done: bool = False
        """Whether nothing more happens but on_disconnect."""

    # Opening

    def open(self) -> None:
        """Run on_connect; messages wait until it has ended well."""
        instance = self._instance
        instance.sessions[self] = None
        instance.counters.connections_total += 1
        if not self._plan.on_connect:
            self._accept()
            return
        context = instance.base_context.copy()
        context.run(self._run_on_connect)

    def _run_on_connect(self) -> None:
        current = Context(self._instance, self.connection)
        enter(current)
        hooks = iter(self._plan.on_connect)
        try:
            for hook in hooks:
                result = hook()
                if inspect.isawaitable(result):
                    self._start_task(self._open_async(result, hooks, current), "wsrooms on_connect")
                    return
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is the close code
            current.decide()
            self._reject(error)
            return
        if current.joins:
            self._start_task(self._open_async(None, hooks, current), "wsrooms on_connect")
        else:
            current.decide()
            self._accept()

    async def _open_async(
        self, result: Awaitable[object] | None, hooks: Any, current: Context
    ) -> None:
        try:
            if result is not None:
                await result
            for hook in hooks:
                outcome = hook()
                if inspect.isawaitable(outcome):
                    await outcome
            for receipt in current.decide() or ():
                if not (receipt.done and receipt._seen):
                    await receipt
        except (Exception, asyncio.CancelledError) as error:
            current.decide()
            self._reject(error)
            if _was_cancelled():
                raise
        else:
            self._accept()

    def _accept(self) -> None:
        self._opening = False
        if self.done:  # it ended well at last, long after its client was given up
            self._instance.rooms.leave_all(self.connection)
            return
        self._instance.accepted(self.connection)
        self._advance()

    def _reject(self, error: BaseException) -> None:
        self._opening = False
        self._instance.counters.connections_rejected += 1
        self._waiting = None
        code = FAILED
        reason = "Internal Error"
        if isinstance(error, WsError):
            code = REFUSED if error.code in (401, 403) else FAILED
            reason = error.message
        elif isinstance(error, TransportError):
            reason = "Service Unavailable"
        elif not self._ended or not isinstance(error, ConnectionGone | asyncio.CancelledError):
            self._instance.report(error, "on_connect")
        self.connection.close(code, reason)
        self._instance.rooms.leave_all(self.connection)
        self._advance()

    # Messages

    def receive(self, payload: bytes, text: bool) -> None:
        """Take a whole message of the client; what is not one is dropped and counted."""
        instance = self._instance
        instance.counters.messages_in += 1
        if len(payload) > instance.max_message_size:
            self._drop("too_long")
            return
        try:
            inbound = instance.codec.decode(payload, text)
        except Malformed as error:
            self._drop(error.reason)
            return
        if self._opening or self._waiting or self._running >= instance.max_concurrent_messages:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(inbound)
            self._recount()
        elif (work := self._begin(inbound)) is not None:
            self._start_worker(work)

    def _drop(self, reason: str) -> None:
        self._instance.counters.drop(reason)
        self._instance.logger.debug("%s: dropped a message (%s)", self.connection.id, reason)

    def _start_worker(self, work: _Work) -> None:
        self._running += 1
        self._start_task(self._go_on(work), work.name, self._worker_done)

    def _begin(self, inbound: Inbound) -> _Work | None:
        """Route a message and run its handlers; returns what is left for a task to do."""
        found = self._plan.memo.find(inbound.event, inbound.path)
        if found is None:
            self._not_found(inbound)
            return None
        handlers, params = found
        instance = self._instance
        message: WsMessage[Any] = WsMessage(inbound)
        current = Context(instance, self.connection, message, params)
        context = instance.base_context.copy()
        rest: Coroutine[Any, Any, None] | None
        if self._plan.around:
            rest = context.run(self._run_around, current, inbound, handlers)
        else:
            rest = context.run(self._run, current, message, inbound, handlers)
        return None if rest is None else _Work(rest, context, handlers[0].task_name)

    async def _go_on(self, work: _Work) -> None:
        """Do ``work``, then what has come meanwhile, as long as this turn has time for it.

        One task does it all: a task for each would take three turns of the loop, and each would
        be a write of its own. Every message has its own context; where a handler keeps the
        current task, the next message gets another one.
        """
        task, tasks = asyncio.current_task(), self._tasks
        assert task is not None
        assert tasks is not None
        tasks[task] = True
        references = getrefcount(task)
        turns = self._instance.turns
        until = turns.until()
        while True:
            if await in_context(work.context, work.rest):
                until = turns.until()  # it waited for something: this is another turn
            del work  # what it holds is not to wait with this task
            while True:
                if not self._waiting or self._opening or task.cancelling():
                    return
                if getrefcount(task) > references:
                    return  # somebody has kept it, perhaps to cancel it: it is that message's own
                if turns.over(until) or False in tasks.values():  # what comes before begins first
                    await asyncio.sleep(0)
                    until = turns.until()
                    continue
                following = self._begin(self._waiting.popleft())
                self._recount()
                if following is not None:
                    break
            task.set_name(following.name)
            work = following
            del following

    def _run(
        self,
        current: Context,
        message: WsMessage[Any],
        inbound: Inbound,
        handlers: tuple[Handler, ...],
    ) -> Coroutine[Any, Any, None] | None:
        enter(current)
        tried = 0
        while True:
            handler = handlers[tried]
            tried += 1
            try:
                result = handler.fn() if handler.takes_nothing else handler.call(message)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is answered
                if tried < len(handlers):
                    continue
                self._refuse(current, inbound, error)
                return None
            break
        if type(result) not in NOT_AWAITABLE and hasattr(result, "__await__"):
            awaitable = cast("Awaitable[object]", result)
            return self._run_async(current, inbound, awaitable, handlers[tried:])
        self._answer(current, inbound, result)
        return None

    async def _run_async(
        self,
        current: Context,
        inbound: Inbound,
        result: Awaitable[object],
        others: tuple[Handler, ...],
    ) -> None:
        try:
            if others:
                answer = await _first_that_answers(result, others, current)
            else:
                answer = await result
        except (Exception, asyncio.CancelledError) as error:
            if not self._ended or not isinstance(error, asyncio.CancelledError):
                self._refuse(current, inbound, error)
            current.decide()
            if _was_cancelled():
                raise
        else:
            self._answer(current, inbound, answer)

    def _run_around(
        self, current: Context, inbound: Inbound, handlers: tuple[Handler, ...]
    ) -> Coroutine[Any, Any, None]:
        enter(current)

        async def call_handlers() -> object:
            return await _first_that_answers(None, handlers, current)

        call: Callable[[], Awaitable[object]] = call_handlers
        for around in reversed(self._plan.around):
            call = partial(around, call)
        return self._run_async(current, inbound, call(), ())

    def _worker_done(self, task: asyncio.Task[Any]) -> None:
        self._task_done(task)
        self._running -= 1
        self._advance()

    def _start_task(
        self, work: Any, name: str, done: Callable[[asyncio.Task[Any]], None] | None = None
    ) -> None:
        if self._tasks is None:
            self._tasks = {}
        task = self._instance.loop.create_task(work, name=name)
        self._tasks.setdefault(task, done is None)
        # One callback: each costs a turn of the loop's queue, and a copy of the context.
        task.add_done_callback(done or self._task_done)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        if self._tasks is not None:
            self._tasks.pop(task, None)
            if not self._tasks:
                self._tasks = None  # for the sake of those that are idle

    def _advance(self) -> None:
        """Handle what waits, as far as concurrency and this turn allow; then finish, if over."""
        turns = self._instance.turns
        until = 0.0
        while (
            self._waiting
            and not self._opening
            and self._running < self._instance.max_concurrent_messages
        ):
            if not until:
                until = turns.until()
            elif turns.over(until):  # a whole read may have waited for on_connect
                turns.queue(self._advance)
                break
            work = self._begin(self._waiting.popleft())
            if work is not None:
                self._start_worker(work)
        if not self._waiting:
            self._waiting = None  # an empty one takes as much memory as a full one
        self._recount()
        if self._ended and not self._waiting and not self._running and not self._opening:
            self._instance.loop.call_soon(self._disconnect)

    # The end

    def end(self) -> None:
        """The connection has closed: finish what runs, then on_disconnect, then forget it."""
        self._ended = True
        self._instance.rooms.abandon_joins(self.connection)
        if not self._instance.closing:  # else it is the app's close that has a deadline
            self._by(LINGER, self.give_up)
        self._instance.loop.call_soon(self._advance)

    def give_up(self) -> None:
        """Drop what waits and cancel what runs; on_disconnect still follows, if it has not run."""
        self._waiting = None
        loop = self._instance.loop
        for task in list(self._tasks or ()):
            # After its first step: a task that is cancelled before never enters its
            # coroutine, so its hook would not run and the connection not be forgotten.
            loop.call_soon(task.cancel)
        if self.done:
            return
        # A task that will not be cancelled must not keep the connection for ever.
        self._by(GIVE_UP, self._disconnect)
        self._advance()

    def _by(self, seconds: float, step: Callable[[], None]) -> None:
        self._no_deadline()
        instance = self._instance
        self._deadline = instance.loop.call_later(seconds, step, context=instance.base_context)

    def _no_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _disconnect(self) -> None:
        if self.done:
            return
        self._no_deadline()
        self.done = True
        if self.connection.accepted and self._plan.on_disconnect:
            context = self._instance.base_context.copy()
            context.run(self._run_on_disconnect)
        else:
            self._forget()

    def _run_on_disconnect(self) -> None:
        enter(Context(self._instance, self.connection))
        hooks = iter(self._plan.on_disconnect)
        for hook in hooks:
            try:
                result = hook()
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the next must run
                self._hook_failed(error)
                continue
            if inspect.isawaitable(result):
                self._start_task(self._disconnect_async(result, hooks), "wsrooms on_disconnect")
                if not self._instance.closing:
                    self._by(LINGER, self._cut_on_disconnect)
                return
        self._forget()

    async def _disconnect_async(self, result: Awaitable[object], hooks: Any) -> None:
        try:
            pending: Awaitable[object] | None = result
            while True:
                try:
                    if pending is not None:
                        await pending
                    hook = next(hooks, None)
                    if hook is None:
                        return
                    outcome = hook()
                    pending = outcome if inspect.isawaitable(outcome) else None
                except (Exception, asyncio.CancelledError) as error:
                    if _was_cancelled():
                        raise
                    pending = None  # the next hook must run all the same
                    self._hook_failed(error)
        finally:
            self._forget()

    def _cut_on_disconnect(self) -> None:
        """It takes too long: the client must not stay in its rooms for ever."""
        self._instance.counters.hook_errors += 1
        self._instance.logger.error(
            "on_disconnect of %s was cancelled: it took over %g s", self.connection.id, LINGER
        )
        self._by(GIVE_UP, self._forget)
        self.give_up()

    def _hook_failed(self, error: BaseException) -> None:
        self._instance.counters.hook_errors += 1
        self._instance.report(error, "on_disconnect")

    def _forget(self) -> None:
        self._no_deadline()
        instance = self._instance
        instance.rooms.leave_all(self.connection)
        instance.forgotten(self.connection)
        instance.forget_session(self)


async def _first_that_answers(
    result: Awaitable[object] | None, handlers: tuple[Handler, ...], current: Context
) -> object:
    """The result of the first handler that does not raise; the last one's error counts."""
    message = current.message
    assert message is not None
    last: BaseException | None = None
    try:
        if result is not None:
            try:
                return await result
            except (Exception, asyncio.CancelledError) as error:
                if _was_cancelled():
                    raise
                last = error
        for handler in handlers:
            try:
                outcome = handler.call(message)
                return await outcome if inspect.isawaitable(outcome) else outcome
            except (Exception, asyncio.CancelledError) as error:
                if _was_cancelled():
                    raise
                last = error
        assert last is not None
        raise last
    finally:
        # Its traceback holds this frame: in that circle the message would outlive its handling.
        del last


def _was_cancelled() -> bool:
    """Whether somebody cancelled this task, and not only something that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
