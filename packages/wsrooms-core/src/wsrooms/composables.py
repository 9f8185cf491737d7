"""What a handler asks for instead of taking parameters: ``use_ws_rooms()`` and its kin.

Each finds the current run of a handler in ``context.py``. They work in the
handler itself and in tasks and threads that it starts; elsewhere they raise
``OutsideContext``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import UNSET

from wsrooms.broadcast import Broadcast
from wsrooms.context import Context, current, peek
from wsrooms.datatypes import validator_for
from wsrooms.errors import OutsideContext
from wsrooms.message import WsMessage, typed

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from wsrooms.connection import WsConnection
    from wsrooms.instance import WsServer
    from wsrooms.receipt import Receipt

__all__ = [
    "WsRooms",
    "WsRouteParams",
    "use_route_params",
    "use_ws_connection",
    "use_ws_message",
    "use_ws_rooms",
    "use_ws_server",
]

T = TypeVar("T")


def _current_message(composable: str) -> Context:
    context = peek(None)
    if context is None or context.message is None:
        raise _outside_message(composable)
    return context


def _outside_message(composable: str) -> OutsideContext:
    # Where nothing at all is current this raises in its own words.
    in_hook = current(composable, "a message").connection is not None
    return OutsideContext(
        composable,
        "a message",
        "in on_connect and on_disconnect use use_ws_connection() and "
        "use_ws_server().room(name) instead"
        if in_hook
        else "in lifespan and background tasks use app.room(name) and app.broadcast()",
    )


@overload
def use_ws_message() -> WsMessage[Any]: ...
@overload
def use_ws_message(type_: TypeForm[T], /) -> WsMessage[T]: ...
def use_ws_message(type_: Any = UNSET, /) -> WsMessage[Any]:
    """The message that is being handled.

    Args:
        type_: What its data must be: a msgspec Struct, dataclass, TypedDict, attrs
            class, pydantic model, or a list, union and so on of these and of the
            standard types.

    Raises:
        OutsideContext: No message is current.
        WsError: 422, the data is not of ``type_``; the text names the field.
    """
    context = peek(None)
    message = None if context is None else context.message
    if message is None:
        raise _outside_message("use_ws_message")
    return message if type_ is UNSET else typed(message, validator_for(type_))


def use_ws_rooms() -> WsRooms:
    """The rooms, as seen from the current message: its path is the default room.

    Raises:
        OutsideContext: No message is current.
    """
    return WsRooms(_current_message("use_ws_rooms"))


def use_ws_connection() -> WsConnection:
    """The connection of the current message or hook: this very object.

    Raises:
        OutsideContext: No connection is current.
    """
    context = current("use_ws_connection", "a connection")
    if context.connection is None:
        raise OutsideContext(
            "use_ws_connection",
            "a connection",
            "a background task has none; keep the connection's id and use "
            "app.server.get_connection(id)",
        )
    return context.connection


def use_ws_server() -> WsServer:
    """All clients of the app that runs this handler.

    Raises:
        OutsideContext: No handler is current.
    """
    return current("use_ws_server", "a handler").instance.server


def use_route_params() -> WsRouteParams:
    """The parameters that the route took from the message's path.

    Raises:
        OutsideContext: No message is current.
    """
    return WsRouteParams(_current_message("use_route_params").params or {})


class WsRooms:
    """What ``use_ws_rooms()`` gives; every room defaults to the message's path."""

    __slots__ = ("_connection", "_context", "_path")

    def __init__(self, context: Context) -> None:
        assert context.message is not None
        assert context.connection is not None
        self._context = context
        self._connection = context.connection
        self._path = context.message.path

    def join(self, room: str | None = None) -> Receipt:
        """Put this connection in ``room``; awaited or not, the reply waits for it.

        Raises:
            InvalidRoom: The name is empty, too long or not encodable.
            ConnectionGone: The client has left.
            TooManyRooms: It is in as many rooms as the limits allow.
        """
        return self._connection.join(self._path if room is None else room)

    def leave(self, room: str | None = None) -> Receipt:
        """Take this connection out of ``room``."""
        return self._connection.leave(self._path if room is None else room)

    def broadcast(
        self,
        event: str,
        data: object = UNSET,
        *,
        room: str | None = None,
        exclude_self: bool = True,
    ) -> Receipt:
        """Send to the members of ``room`` on every instance, this connection left out.

        The push's path is the room, its params are those of the current route.

        Raises:
            InvalidRoom: The name is empty, too long or not encodable.
            TypeError: ``data`` has no JSON form.
            ValueError: Likewise.
            PayloadTooLarge: Over the transport's limit; nobody received it.
        """
        if room is None:
            room = self._path
        instance = self._context.instance
        broadcast = Broadcast(instance.codec, event, room, data, self._context.params)
        exclude = self._connection if exclude_self else None
        if instance.thread.inside:
            return instance.rooms.broadcast_in(room, broadcast, exclude=exclude)
        instance.rooms.check_name(room)
        instance.rooms.check(broadcast, exclude, local=False)
        return instance.thread.post_receipt(
            lambda: instance.rooms.broadcast_in(room, broadcast, exclude=exclude)
        )

    def rooms(self) -> list[str]:
        """The rooms this connection is in, the first joined first."""
        return self._connection._rooms_in_order()


class WsRouteParams:
    """What ``use_route_params()`` gives.

    Attributes:
        params: By name; a list where the pattern repeats the name.
    """

    __slots__ = ("params",)

    params: dict[str, str | list[str]]

    def __init__(self, params: dict[str, str | list[str]]) -> None:
        self.params = params

    def get(self, name: str) -> str | None:
        """The value of a parameter; None where the path has none.

        Raises:
            TypeError: The pattern repeats the name: use ``getlist``.
        """
        value = self.params.get(name)
        if isinstance(value, list):
            raise TypeError(f"the route repeats {name!r}: use getlist({name!r})")
        return value

    def getlist(self, name: str) -> list[str]:
        """All values of a parameter, in the order of the path."""
        value = self.params.get(name)
        if value is None:
            return []
        return list(value) if isinstance(value, list) else [value]

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            known = ", ".join(self.params) or "none"
            raise KeyError(f"{name!r}; the route's params: {known}")
        return value

    def __contains__(self, name: object) -> bool:
        return name in self.params

    def __repr__(self) -> str:
        return f"<WsRouteParams {self.params!r}>"
