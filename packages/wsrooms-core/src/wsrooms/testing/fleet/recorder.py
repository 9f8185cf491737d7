"""Clients that write down what they do and see, for the history checker.

They speak to routes of their own (:func:`recorded_routes`), which any app can include
beside its own ones, so the rooms, hooks and limits are the app's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from msgspec import UNSET

from wsrooms.composables import use_ws_message, use_ws_rooms, use_ws_server
from wsrooms.errors import WsError, WsRoomsError
from wsrooms.receipt import Receipt
from wsrooms.routes import WsRoutes
from wsrooms.testing.clients.line import Disconnected

if TYPE_CHECKING:
    from wsrooms.testing.history.history import History
    from wsrooms.testing.history.records import Id

__all__ = ["RecordedClient", "Speaking", "recorded", "recorded_routes"]

PREFIX = "wsrooms.testing."
"""Of the events of the recorded routes, so that they are in nobody's way."""

SAID = PREFIX + "said"
ANNOUNCED = PREFIX + "announced"

FOREVER = 365 * 86_400.0


def recorded_routes() -> WsRoutes:
    """What recorded clients call: join, leave, say (to a room) and announce (to everybody).

    The path of a message is its room. The answer to ``say`` and ``announce`` comes once the
    transport has taken the message; ``tell`` is ``say`` without waiting for that.
    """
    routes = WsRoutes()

    async def hello() -> None:
        """The answer shows that on_connect has ended."""

    async def join() -> None:
        await use_ws_rooms().join()

    def enter() -> None:
        use_ws_rooms().join()  # the reply waits for it all the same

    def leave() -> None:
        use_ws_rooms().leave()

    async def say() -> None:
        await use_ws_rooms().broadcast(SAID, use_ws_message().data)

    def tell() -> None:
        use_ws_rooms().broadcast(SAID, use_ws_message().data)

    async def announce() -> None:
        await use_ws_server().broadcast(ANNOUNCED, "/", use_ws_message().data)

    for handler in (hello, join, enter, leave, say, tell, announce):
        routes.on_message(PREFIX + handler.__name__, "*?", handler)  # any room
    return routes


class Speaking(Protocol):
    """A client of any kind, such as :class:`~wsrooms.testing.Client`."""

    def send(self, event: str, path: str, data: Any = ..., *, id: Any = ...) -> object:
        """Send a message; its reply comes through :meth:`receive`."""
        ...

    def receive(self, timeout: float = ...) -> Awaitable[Mapping[str, Any]]:
        """What comes next, in order."""
        ...


class _Call(NamedTuple):
    kind: str
    room: str | None
    message: Id | None
    receipt: Receipt


class RecordedClient:
    """A client of :func:`recorded_routes` that writes its history.

    Each call is sent at once and returns a receipt: await it for the answer, which raises
    ``WsError`` if it is an error, or drop it. Whoever makes one hands over what arrives, in
    order: :meth:`take`, and :meth:`ended` at the end.
    """

    def __init__(
        self, history: History, name: Id, instance: Id, send: Callable[[dict[str, Any]], object]
    ) -> None:
        """Record what ``name`` does on ``instance``; ``send`` sends a message of its."""
        self.history = history
        self.name = name
        self.instance = instance
        self.rooms: set[str] = set()
        """The rooms that it asked to join."""
        self._send = send
        self._calls: dict[str, _Call] = {}
        self._ids = itertools.count(1)
        self._ending = False
        self._ended = False
        self._note = ""

    # What it does

    def hello(self) -> Receipt:
        """Ask for an answer; the first one shows that the client is connected."""
        return self._call("hello", None)

    def join(self, room: str, *, waiting: bool = True) -> Receipt:
        """Ask to join; ``waiting`` lets the handler wait for it, else only its reply does."""
        self.rooms.add(room)
        self.history.join(self.name, room)
        return self._call("join" if waiting else "enter", room)

    def leave(self, room: str) -> Receipt:
        """Ask to leave."""
        self.history.leave(self.name, room)
        return self._call("leave", room)

    def say(self, room: str) -> Receipt:
        """Send a new message to ``room``, not to itself; done when the transport has taken it."""
        message = self._next_message()
        about = {"instance": self.instance, "by": self.name, "exclude": self.name}
        self.history.send(message, room, **about)
        return self._call("say", room, message)

    def tell(self, room: str) -> Receipt:
        """As :meth:`say`, but nobody waits for the transport: so nobody need receive it."""
        message = self._next_message()
        about = {"instance": self.instance, "by": self.name, "exclude": self.name}
        self.history.send(message, room, **about)
        return self._call("tell", room, message)

    def announce(self) -> Receipt:
        """Send a new message to everybody on every instance."""
        message = self._next_message()
        self.history.send(message, None, instance=self.instance, by=self.name)
        return self._call("announce", None, message)

    def _next_message(self) -> str:
        return f"{self.name}:{next(self._ids)}"

    def _call(
        self, kind: str, room: str | None, message: Id | None = None, event: str = ""
    ) -> Receipt:
        id = f"{PREFIX}{next(self._ids)}"
        call = self._calls[id] = _Call(kind, room, message, Receipt())
        sent: dict[str, Any] = {
            "event": PREFIX + (event or kind),
            "path": "/" if room is None else room,
            "id": id,
        }
        if message is not None:
            sent["data"] = message
        try:
            if self._ended:
                raise Disconnected(1006, self._note)
            self._send(sent)
        except WsRoomsError as error:  # the connection is over, and nobody has said so yet
            del self._calls[id]
            self._unknown(call)
            call.receipt.settle(error)
        return call.receipt

    # What comes

    def take(self, message: Mapping[str, Any]) -> None:
        """Something has arrived; what is not ours is not looked at."""
        id = message.get("id")
        if isinstance(id, str):
            call = self._calls.pop(id, None)
            if call is not None:
                self._answered(call, message.get("error"))
        elif message.get("event") == SAID:
            self.history.received(self.name, message["data"], message["path"])
        elif message.get("event") == ANNOUNCED:
            self.history.received(self.name, message["data"], None)

    def _answered(self, call: _Call, error: Mapping[str, Any] | None) -> None:
        history, name, room, message = self.history, self.name, call.room, call.message
        note = "" if error is None else f"{error['code']} {error['message']}"
        match call.kind:
            case "join" | "enter":
                assert room is not None
                if error is None:
                    history.joined(name, room)
                else:
                    history.join_failed(name, room, note)
            case "leave":
                assert room is not None
                history.left(name, room)
            case "say" | "announce":
                assert message is not None
                if error is None:
                    history.sent(message)
                else:
                    history.send_failed(message, note)
            case "tell":
                assert message is not None
                history.send_unknown(message)
            case _:
                history.connected(name)
        call.receipt.settle(None if error is None else WsError(error["code"], error["message"]))

    def _unknown(self, call: _Call) -> None:
        match call.kind:
            case "join" | "enter":
                assert call.room is not None
                self.history.join_unknown(self.name, call.room)
            case "leave":
                assert call.room is not None
                self.history.leave_unknown(self.name, call.room)
            case "hello":
                pass
            case _:
                assert call.message is not None
                self.history.send_unknown(call.message)

    def ending(self) -> None:
        """The client begins to end its connection."""
        if not self._ended and not self._ending:
            self._ending = True
            self.history.disconnect(self.name)

    def ended(self, note: str = "") -> None:
        """The connection is over; calls without an answer will get none."""
        if self._ended:
            return
        self._ended = True
        self._note = note
        self.history.disconnected(self.name, note)
        calls, self._calls = self._calls, {}
        for call in calls.values():
            self._unknown(call)
            call.receipt.settle(Disconnected(1006, note))

    def __repr__(self) -> str:
        return f"<RecordedClient {self.name} on {self.instance}>"


@contextlib.asynccontextmanager
async def recorded(
    history: History, client: Speaking, *, name: Id, instance: Id
) -> AsyncIterator[RecordedClient]:
    """Record what ``client`` does and receives inside an ``async with`` block.

    The client is connected already, to an app with :func:`recorded_routes`, and nobody else
    receives from it. After the block it is for its owner to close.

    Args:
        history: Where to write.
        client: Whatever has ``send`` and ``receive`` as :class:`~wsrooms.testing.Client` has;
            what ``receive`` raises is the end of its connection.
        name: Its id in the history.
        instance: The one that it is connected to.
    """
    history.connect(name, instance)

    def send(message: dict[str, Any]) -> object:
        data = message.get("data", UNSET)
        return client.send(message["event"], message["path"], data, id=message["id"])

    recording = RecordedClient(history, name, instance, send)

    async def pump() -> None:
        try:
            while True:
                recording.take(await client.receive(FOREVER))
        except Disconnected as error:
            recording.ended(str(error))
        except Exception as error:  # noqa: BLE001 - of another library; who waits is told of it
            recording.ended(repr(error))

    reading = asyncio.get_running_loop().create_task(pump(), name=f"recorder of {name}")
    try:
        await recording.hello()
        yield recording
    finally:
        recording.ending()
        reading.cancel()
        await asyncio.wait([reading])
        recording.ended("no longer recorded")
