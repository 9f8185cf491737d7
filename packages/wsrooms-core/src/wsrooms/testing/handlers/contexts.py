"""Contexts for unit tests: one handler or hook is called as if its message had come.

No server, no socket and, for sync handlers, no event loop. The composables work inside
the ``with`` block, and what the handler sent is there to be looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw

from wsrooms.app import WsApp
from wsrooms.broadcast import checked_params
from wsrooms.context import Context, enter, leave
from wsrooms.handshake import WsRequest
from wsrooms.inbound import Malformed, read_message
from wsrooms.message import WsMessage
from wsrooms.routes import Handler, compile_plan
from wsrooms.testing.handlers.stage import Recorder, Stage, connect, stage_of
from wsrooms.wire import encode_data

if TYPE_CHECKING:
    from wsrooms.connection import WsConnection
    from wsrooms.wire import Params

__all__ = [
    "HandlerContext",
    "prepare_test_ws_connection_context",
    "prepare_test_ws_message_context",
]

PEER = ("127.0.0.1", 50_000)


class HandlerContext:
    """What a test sees of the handler that it calls; the two functions below make it.

    Attributes:
        connection: The client that the message or the handshake came from.
        sent: What this connection was pushed, as its client would read it, broadcasts to
            its rooms included: ``{"event", "path", "params"?, "data"?}``.
        replies: What it was answered by ``connection.reply`` and ``reply_error``. What a
            handler returns is returned to the test, and is not here.
    """

    connection: WsConnection
    sent: list[dict[str, Any]]
    replies: list[dict[str, Any]]

    def __init__(
        self, stage: Stage, connection: WsConnection, message: WsMessage[Any] | None
    ) -> None:
        self._stage = stage
        self._message = message
        self.connection = connection
        way = _recorder_of(connection)
        self.sent, self.replies = way.sent, way.replies

    @property
    def message(self) -> WsMessage[Any]:
        """The message, for a handler that takes it.

        Raises:
            AttributeError: This is the context of a connection, which has none.
        """
        if self._message is None:
            raise AttributeError("the context of a connection has no message")
        return self._message

    def call(self, handler: Callable[..., Any]) -> Any:
        """Call ``handler`` as the server would, and return what it returns.

        It gets the message if it takes one, with its data validated where it is annotated
        ``WsMessage[T]``. Await what an async handler returns. A hook is simply called.

        Raises:
            WsError: 422, the data is not of the handler's type; or what the handler raises.
        """
        if self._message is None:
            return handler()
        declared = Handler(handler)
        declared.resolve()
        return declared.call(self._message)

    def __repr__(self) -> str:
        what = "connection" if self._message is None else repr(self._message)
        return f"<HandlerContext {what}>"


def prepare_test_ws_message_context(
    *,
    event: str,
    path: str,
    data: object = UNSET,
    params: Params | None = None,
    id: str | int | float | None = None,
    connection: WsConnection | None = None,
    app: WsApp | None = None,
) -> AbstractContextManager[HandlerContext]:
    """Make a message current inside a ``with`` block, for a test that calls its handler.

    Every composable works in the block, and in the tasks and threads that are started
    there; outside it raises as it always does. Contexts of one app share their rooms for
    as long as the test holds what they gave, so a broadcast of one reaches the members of
    the others. Contexts of different apps, and those without an app, share nothing.

    Args:
        event: The event of the message.
        path: Its path.
        data: Its data: whatever has a JSON form, or a ``msgspec.Raw``; none by default.
        params: What the route takes from the path; None: what the app's route for this
            event and path does, or nothing without an app.
        id: What a reply carries.
        connection: The connection of an earlier context, in the rooms that it has joined;
            None: a new one, whose on_connect has ended well.
        app: The app. If it runs on this loop, its real rooms are used and the connection
            ends with the block; else nothing is started, and no transport is used.

    Raises:
        ValueError: ``data`` or ``id`` cannot be sent in JSON; or ``connection`` is none of
            an earlier context.
    """
    message = _message(event, path, data, id)
    if params is None and app is not None:
        found = compile_plan(app).memo.find(event, path)
        route: Params = {} if found is None else found[1]
    else:
        route = checked_params(params) or {}
    plain = {name: one if isinstance(one, str) else list(one) for name, one in route.items()}
    return _current(app, connection, WsRequest("GET", "/", [], PEER), message, plain)


def prepare_test_ws_connection_context(
    *,
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    connection: WsConnection | None = None,
    app: WsApp | None = None,
) -> AbstractContextManager[HandlerContext]:
    """Make a connection current inside a ``with`` block, for a test of a hook.

    In the block a new connection is as it is in on_connect: nobody sees it, and broadcasts
    wait for it. When the block ends well it is accepted, and when it raises, it leaves all
    its rooms. Give it to a later context to test on_disconnect or a handler.

    Args:
        path: Of the handshake, with its query.
        headers: Of the handshake.
        connection: The connection of an earlier context; None: a new one.
        app: As for :func:`prepare_test_ws_message_context`.

    Raises:
        ValueError: ``connection`` is none of an earlier context.
    """
    request = WsRequest("GET", path, list((headers or {}).items()), PEER)
    return _current(app, connection, request, None, None)


@contextlib.contextmanager
def _current(
    app: WsApp | None,
    given: WsConnection | None,
    request: WsRequest,
    message: WsMessage[Any] | None,
    params: dict[str, str | list[str]] | None,
) -> Iterator[HandlerContext]:
    if app is None:
        stage = Stage(_recorder_of(given).instance) if given else stage_of(WsApp(), None)
    else:
        stage = stage_of(app, _recorder_of(given).instance if given else None)
    instance = stage.instance
    connection = connect(instance, request) if given is None else given
    if message is not None and not connection.accepted and not connection.closed:
        instance.accepted(connection)
    tasks = set(instance.tasks)
    current = Context(instance, connection, message, params)
    token = enter(current)
    try:
        yield HandlerContext(stage, connection, message)
    except BaseException:
        if not connection.accepted:  # on_connect has refused it
            instance.rooms.leave_all(connection)
        raise
    else:
        if not connection.accepted and not connection.closed:
            instance.accepted(connection)
    finally:
        current.decide()
        with contextlib.suppress(ValueError):  # of another context, which ends by itself
            leave(token)
        for task in [task for task in instance.tasks if task not in tasks]:
            task.cancel()
        if app is not None and app._life.instance is instance:
            instance.rooms.leave_all(connection)
            instance.forgotten(connection)


def _message(event: str, path: str, data: object, id: object) -> WsMessage[Any]:
    """What a client would have to send, read as the server reads it."""
    members: dict[str, object] = {"event": event, "path": path}
    if data is not UNSET:
        members["data"] = data if isinstance(data, Raw) else Raw(encode_data(data))
    if id is not None:
        members["id"] = id
    try:
        return WsMessage(read_message(msgspec.json.encode(members), True))
    except (Malformed, TypeError) as error:
        raise ValueError(f"no client could send that: {members!r}") from error


def _recorder_of(connection: WsConnection) -> Recorder:
    way = connection._way
    if not isinstance(way, Recorder):
        raise ValueError(f"{connection!r} is a real one: give the connection of another context")
    return way
