"""One client, as handlers see it: where it is, what it is sent, how it ends.

The connection knows neither socket nor protocol: a :class:`Channel` takes its
bytes and its end, a :class:`Membership` its joins. It is safe to use from any
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from msgspec import UNSET

from wsrooms.wire import Codec, Params, cut_reason, valid_close_code

if TYPE_CHECKING:
    from wsrooms.handshake import WsRequest
    from wsrooms.loopthread import LoopThread
    from wsrooms.receipt import Receipt
    from wsrooms.sendbuffer import SendBuffer

__all__ = ["SLOW_CLIENT", "Channel", "JoinOrder", "Membership", "WsConnection", "WsKey", "WsMember"]

T = TypeVar("T")


SLOW_CLIENT = 4008
"""The close code of a client that takes too little."""


def _ignore(frame: bytes) -> None:
    """Where broadcasts to a closed connection go."""


class WsMember(Protocol):
    """Whatever can be in a room: a connection, or a class of your own."""

    @property
    def id(self) -> str:
        """Unique among members, on every instance."""
        ...

    rooms: set[str]

    def send(
        self, event: str, path: str, data: object = UNSET, params: Params | None = None
    ) -> None:
        """Take a message; it must not block and should not raise."""
        ...


class Membership(Protocol):
    """Who keeps the rooms: the room manager, as a connection sees it."""

    def join(self, connection: WsConnection, room: str) -> Receipt:
        """Put the connection in the room."""
        ...

    def leave(self, connection: WsConnection, room: str) -> Receipt:
        """Take it out."""
        ...

    def check_name(self, room: str) -> None:
        """Raise ``InvalidRoom`` for what is no room's name; safe on any thread."""
        ...


class Channel(Protocol):
    """The way to the client, as a connection sees it."""

    buffer: SendBuffer

    def close(self, code: int, reason: str) -> None:
        """End the connection: flush, CLOSE, and the socket soon after."""
        ...


class JoinOrder(set[str]):
    """A set of rooms that also knows the order in which they were joined."""

    __slots__ = ("_order",)

    def __init__(self) -> None:
        super().__init__()
        self._order: dict[str, None] | None = None  # for two rooms and more

    def add(self, room: str) -> None:
        """Put ``room`` last."""
        if self._order is not None:
            self._order[room] = None
        elif self and room not in self:
            self._order = dict.fromkeys((*self, room))
        super().add(room)

    def discard(self, room: object) -> None:
        """Take ``room`` out."""
        super().discard(room)
        if self._order is not None:
            self._order.pop(cast("str", room), None)

    def __iter__(self) -> Iterator[str]:
        # In order too, so that the same run leaves its rooms in the same order.
        return super().__iter__() if self._order is None else iter(self._order)

    def in_order(self) -> list[str]:
        """The rooms, the first joined first."""
        return list(self if self._order is None else self._order)


class WsKey(Generic[T]):
    """The typed name of an entry in ``connection.context``.

    .. code-block:: python

        USER = WsKey[User]("user")
        connection.context[USER] = user
        connection.get(USER).name  # a checker knows that it is a User
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """Make a key; two keys of one name are two keys."""
        self.name: str = name

    def __repr__(self) -> str:
        return f"WsKey({self.name!r})"


class WsConnection:
    """One connected client.

    Sends never wait for the socket, and are ignored once the connection has
    closed. All methods may be called from any thread.

    Attributes:
        id: Unique on every instance.
        rooms: The rooms it is in. Read it; join and leave change it.
        context: Yours; lives as long as the connection, on this instance.
        request: The HTTP request of the handshake.
        subprotocol: What was negotiated, if anything.
        accepted: Whether on_connect has ended well: only then do others see it.
        closed: Whether it takes no more; it may still be in its rooms, for on_disconnect.
        close_code: Why it ended, once it has: ours if we closed, 4008 for a slow
            client, else the peer's, 1006 for none.
        close_reason: The text that came with it.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_codec",
        "_deliver",
        "_held",
        "_held_bytes",
        "_live",
        "_loop",
        "_membership",
        "_order",
        "_push",
        "_way",
        "accepted",
        "close_code",
        "close_reason",
        "closed",
        "context",
        "id",
        "request",
        "rooms",
        "subprotocol",
    )

    id: str
    rooms: set[str]
    context: dict[Any, Any]
    request: WsRequest
    subprotocol: str | None
    accepted: bool
    closed: bool
    close_code: int | None
    close_reason: str | None

    def __init__(
        self,
        id: str,
        request: WsRequest,
        *,
        way: Channel,
        membership: Membership,
        codec: Codec,
        loop: LoopThread,
        subprotocol: str | None = None,
    ) -> None:
        self.id = id
        self.request = request
        self.rooms = self._order = JoinOrder()
        self.context = {}
        self.subprotocol = subprotocol
        self.close_code = None
        self.close_reason = None
        self.accepted = False
        self.closed = False
        self._way = way
        self._buffer = way.buffer
        self._live: SendBuffer | None = None
        """The buffer, while broadcasts go straight to it."""
        self._push = way.buffer.push
        self._membership = membership
        self._codec = codec
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._deliver: Callable[[bytes], None] = self._hold
        """Take a broadcast: at once, or after on_connect has ended well.

        A slot and no method, because a broadcast calls it once per recipient.
        """

    def join(self, room: str) -> Receipt:
        """Enter ``room``: from now on here, and everywhere once the receipt is done.

        Raises:
            InvalidRoom: The name is empty, too long or not encodable.
            ConnectionGone: The connection has closed.
            TooManyRooms: It is in as many rooms as its limits allow.
        """
        if self._loop.inside:
            return self._membership.join(self, room)
        self._membership.check_name(room)
        return self._loop.post_receipt(lambda: self._membership.join(self, room))

    def leave(self, room: str) -> Receipt:
        """Leave ``room``, at once; harmless where it was not in it."""
        if self._loop.inside:
            return self._membership.leave(self, room)
        return self._loop.post_receipt(lambda: self._membership.leave(self, room))

    def send(
        self, event: str, path: str, data: object = UNSET, params: Params | None = None
    ) -> None:
        """Push a message to this client alone.

        Raises:
            TypeError: ``data`` has no JSON form.
            ValueError: Likewise.
        """
        frame = self._codec.push(event, path, data, params)
        if self._loop.inside:
            self._push(frame)
        else:
            self._loop.post(lambda: self._push(frame))

    def reply(self, id: str | int | float, data: object = UNSET) -> None:
        """Answer the request ``id`` a client is waiting on; None is ``null``.

        Raises:
            TypeError: ``data`` has no JSON form.
            ValueError: Likewise.
        """
        self._send_kept(self._codec.reply(id, data))

    def reply_error(self, id: str | int | float, code: int, message: str) -> None:
        """Refuse the request ``id``."""
        self._send_kept(self._codec.error(id, code, message))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection; what was sent before still goes out. The first call wins.

        Args:
            code: 1000–1003, 1007–1014 or 3000–4999.
            reason: Cut to 123 bytes, at a character.

        Raises:
            ValueError: ``code`` is none of these.
        """
        if not valid_close_code(code):
            raise ValueError(
                f"close code {code} cannot be sent: use 1000-1003, 1007-1014 or 3000-4999"
            )
        reason = cut_reason(reason)
        if self._loop.inside:
            self._way.close(code, reason)
        else:
            self._loop.post(lambda: self._way.close(code, reason))

    def get(self, key: WsKey[T]) -> T:
        """The entry of ``context`` under a typed key.

        Raises:
            KeyError: There is none.
        """
        value: T = self.context[key]
        return value

    # For the library

    def _rooms_in_order(self) -> list[str]:
        """The rooms it is in, the first joined first."""
        return self._loop.ask(self._order.in_order)

    def _send_kept(self, frame: bytes) -> None:
        """Send a frame that no policy may drop."""
        if self._loop.inside:
            self._buffer.keep(frame)
        else:
            self._loop.post(lambda: self._buffer.keep(frame))

    def _accept(self) -> None:
        """on_connect has ended well: hand out what came meanwhile."""
        self.accepted = True
        if self.closed:
            return
        self._deliver = self._push
        self._live = self._buffer
        held, self._held = self._held, []
        for frame in held:
            self._push(frame)

    def _hold(self, frame: bytes) -> None:
        if not self._buffer.fits(self._held_bytes + len(frame), len(self._held)):
            self._way.close(SLOW_CLIENT, "on_connect took too long for what was sent meanwhile")
            return
        self._held.append(frame)
        self._held_bytes += len(frame)

    def _end(self, code: int, reason: str) -> None:
        """It is over: take nothing more, and know why. The first call wins."""
        if self.closed:
            return
        self.closed = True
        self.close_code = code
        self.close_reason = reason
        self._held.clear()
        self._live = None
        self._deliver = _ignore

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<WsConnection {self.id} {state} in {len(self.rooms)} rooms>"
