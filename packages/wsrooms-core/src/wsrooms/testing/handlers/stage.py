"""Where a test of one handler takes place: an instance without server, loop or transport.

Its connections record what they are sent. Everything happens at once and in the calling
thread, so a plain test needs no event loop; what a handler does with one, it does with
the loop that runs it.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from wsrooms.connection import WsConnection
from wsrooms.errors import NotRunning
from wsrooms.instance import Instance, WsServer
from wsrooms.loopthread import LoopThread
from wsrooms.wire import CustomCodec, JsonCodec, payload_of

if TYPE_CHECKING:
    from wsrooms.app import WsApp
    from wsrooms.handshake import WsRequest
    from wsrooms.sendbuffer import SendBuffer
    from wsrooms.wire import Codec, Inbound, Params

__all__ = ["Recorder", "Stage", "connect", "stage_of"]


class Stage:
    """Keeps an instance in place of one that runs, for as long as somebody holds it."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance


def stage_of(app: WsApp, instance: Instance | None) -> Stage:
    """Where a test of ``app`` takes place.

    The instance that runs; else ``instance``; else that of other tests that are
    not over; else a new one.

    Raises:
        RuntimeError: The app runs, but not on the loop that runs here.
    """
    life = app._life
    running = life.instance
    if running is not None:
        if not running.thread.inside or not _runs_here(running.loop):
            raise RuntimeError("the app runs on another event loop: make the test run on that one")
        return Stage(running)
    held = life.stand_in()
    if instance is None:
        instance = held or _new_instance(app)
    stage = Stage(instance)
    if held is None or held is instance:
        # What this test holds, others find; once nobody holds it, it is as if it had not been.
        if not isinstance(life.stand_in, _Held):
            life.stand_in = _Held()
        life.stand_in.add(stage)
    return stage


class _Held:
    """The instance of the latest stage that somebody holds, if anybody holds one."""

    def __init__(self) -> None:
        self._stages: list[weakref.ref[Stage]] = []

    def add(self, stage: Stage) -> None:
        """A test holds ``stage``."""
        self._stages = [held for held in self._stages if held() is not None]
        self._stages.append(weakref.ref(stage))

    def __call__(self) -> Instance | None:
        for held in reversed(self._stages):
            if (stage := held()) is not None:
                return stage.instance
        return None


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _new_instance(app: WsApp) -> Instance:
    life = app._life
    made: list[Instance] = []
    server = WsServer(lambda: made[0])
    codec = _Readable(life.codec, app._options["enc_hook"])
    made.append(life.make_instance(None, server, codec, thread=_Anywhere()))
    made[0].rooms.everybody = made[0].connections.values
    return made[0]


class _NoLoop:
    """Stands for the loop that runs where it is used, if any does."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            coro.close()
            raise NotRunning(
                "a task needs an event loop: make the test async, or run the handler in one "
                "with asyncio.run(...)"
            ) from None
        return loop.create_task(coro, **options)

    def call_soon(self, *args: Any, **options: Any) -> asyncio.Handle:
        return asyncio.get_running_loop().call_soon(*args, **options)

    def time(self) -> float:
        return time.monotonic()

    def wsrooms_clock(self) -> float:
        return time.monotonic()


class _Anywhere(LoopThread):
    """Every thread is the right one: what is asked for happens at once."""

    __slots__ = ()

    def __init__(self) -> None:
        # It has what an instance asks of a loop before any runs, and is that loop afterwards.
        super().__init__(cast("asyncio.AbstractEventLoop", _NoLoop()))

    @property
    def inside(self) -> bool:
        return True


class _Readable:
    """A codec whose frames can be read again, and that refuses what the app's own would."""

    def __init__(self, codec: Codec, enc_hook: Callable[[Any], Any] | None) -> None:
        self._own = codec if isinstance(codec, CustomCodec) else None
        self._json = JsonCodec(enc_hook)
        self.data = codec.data

    def decode(self, payload: bytes, text: bool) -> Inbound:
        return self._json.decode(payload, text)

    def push(self, event: str, path: str, data: object, params: Params | None) -> bytes:
        if self._own is not None:
            self._own.push(event, path, data, params)
        return self._json.push(event, path, data, params)

    def reply(self, id: object, data: object) -> bytes:
        if self._own is not None:
            self._own.reply(id, data)
        return self._json.reply(id, data)

    def error(self, id: object, code: int, message: str) -> bytes:
        return self._json.error(id, code, message)


class _Lists:
    """Takes frames in place of a send buffer, and notes what they say."""

    blocked = is_open = False  # so that nobody shares a batch with it

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.replies: list[dict[str, Any]] = []
        self.closed = False

    def push(self, frame: bytes) -> None:
        if not self.closed:
            self.sent.append(_message_in(frame))

    def keep(self, frame: bytes) -> None:
        if not self.closed:
            self.replies.append(_message_in(frame))

    def fits(self, size: int, messages: int) -> bool:
        return True


class Recorder:
    """The way to a client that is not there.

    Attributes:
        buffer: Where a connection puts its frames.
        instance: Where the connection is.
        replies: The replies and errors.
        sent: The pushes, as the client would read them.
    """

    buffer: SendBuffer

    def __init__(self, instance: Instance) -> None:
        lists = _Lists()
        self._lists = lists
        self.buffer = cast("SendBuffer", lists)  # a connection calls three methods of it
        self.instance = instance
        self.sent: list[dict[str, Any]] = lists.sent
        self.replies: list[dict[str, Any]] = lists.replies
        self._connection: weakref.ref[WsConnection] | None = None

    def leads_to(self, connection: WsConnection) -> None:
        """It is the way of ``connection``."""
        self._connection = weakref.ref(connection)

    def close(self, code: int, reason: str) -> None:
        """End the connection; what comes later goes nowhere."""
        self._lists.closed = True
        connection = None if self._connection is None else self._connection()
        if connection is not None:
            connection._end(code, reason)


def connect(instance: Instance, request: WsRequest) -> WsConnection:
    """A connection whose on_connect has not run."""
    way = Recorder(instance)
    connection = WsConnection(
        str(uuid.uuid4()),
        request,
        way=way,
        membership=instance.rooms,
        codec=instance.codec,
        loop=instance.thread,
    )
    way.leads_to(connection)
    return connection


def _message_in(frame: bytes) -> dict[str, Any]:
    """What a frame says; of an app that runs with a serializer of its own, its bytes."""
    payload = payload_of(frame)
    try:
        message: dict[str, Any] = json.loads(payload)
    except ValueError:
        return {"raw": payload}
    return message
