"""All exceptions of wsrooms, in one tree.

.. code-block:: text

    WsRoomsError
    ├─ WsError(code, message)          for the peer: the only one that crosses the wire
    │  └─ TooManyRooms                 a connection at its limit of rooms (429)
    ├─ ConfigurationError (ValueError) for the programmer, when declaring or starting
    │  ├─ UnknownScheme                no transport speaks this URL
    │  ├─ UnknownOption                a misspelt option, with the known ones
    │  ├─ MissingTransport             the package for this URL is not installed
    │  ├─ InvalidPattern               a route that cannot be compiled
    │  ├─ InvalidHandler               a function that cannot be called as a handler
    │  └─ ServerNotStarted             port in use, no certificate, no such host …
    ├─ OutsideContext (RuntimeError)   a composable where nothing is current
    ├─ NotRunning (RuntimeError)       the app is used before start or after close
    ├─ ConnectionGone                  join on a connection that has closed
    ├─ InvalidRoom (ValueError)        empty, too long, not encodable
    └─ TransportError                  the bus between instances
       ├─ TransportUnavailable         down, or not confirmed in time
       │  └─ LimitTooLow               the broker takes less than is needed
       ├─ AuthenticationFailed         the broker refused who we are
       ├─ PermissionDenied             the broker refused this channel
       ├─ OutboxFull                   too much waits to be published
       ├─ OutcomeUnknown               written, and never confirmed
       ├─ PayloadTooLarge (ValueError) over the broker's limit
       ├─ InvalidChannel (ValueError)  a name that the broker cannot carry
       └─ TransportClosed (RuntimeError)

Facts are attributes, the remedy is in the text. ``WsError`` alone reaches a
client; whatever else a handler lets escape becomes a 500 and a logged traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

__all__ = [
    "AuthenticationFailed",
    "ConfigurationError",
    "ConnectionGone",
    "InvalidChannel",
    "InvalidHandler",
    "InvalidPattern",
    "InvalidRoom",
    "LimitTooLow",
    "MissingTransport",
    "NotRunning",
    "OutboxFull",
    "OutcomeUnknown",
    "OutsideContext",
    "PayloadTooLarge",
    "PermissionDenied",
    "ServerNotStarted",
    "TooManyRooms",
    "TransportClosed",
    "TransportError",
    "TransportUnavailable",
    "UnknownOption",
    "UnknownScheme",
    "WsError",
    "WsRoomsError",
]


class WsRoomsError(Exception):
    """Base of every exception that wsrooms raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled by its facts: the signatures of the classes below are not their args.
        return _restored, (type(self), self.args), self.__dict__


NEAR = 0.6
"""From which ratio on a word is near another one; that of a transposed pair in five is 0.8."""

COMPARED = 200
"""So many characters of a word, and five times so many words, are compared at most."""


def near_words(word: str, known: Iterable[str]) -> list[str]:
    """Those of ``known`` that ``word`` may be a misspelling of: three at most, nearest first."""
    from difflib import SequenceMatcher  # only who errs needs it

    near: list[tuple[float, str]] = []
    for other in islice(known, 5 * COMPARED):
        pair = word[:COMPARED].casefold(), other[:COMPARED].casefold()
        near.append((SequenceMatcher(None, *pair, autojunk=False).ratio(), other))
    best = sorted((pair for pair in near if pair[0] >= NEAR), key=lambda pair: -pair[0])
    return [other for _, other in best[:3]]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'that'?"``; nothing where no known word is near."""
    near = near_words(word, known)
    return f"; did you mean {' or '.join(map(repr, near[:2]))}?" if near else ""


def _restored(cls: type[WsRoomsError], args: tuple[object, ...]) -> WsRoomsError:
    return cls.__new__(cls, *args)


class WsError(WsRoomsError):
    """An answer for the client: raise it in a handler to refuse a request.

    In a message handler the client gets ``{"id", "error": {"code", "message"}}``.
    In ``on_connect`` the connection is closed: 1008 for 401 and 403, else 1011,
    with the message as the reason.

    Attributes:
        code: A number in the manner of HTTP status codes.
        message: What the client reads; ``WsError <code>`` where none was given.
    """

    def __init__(self, code: int, message: str | None = None) -> None:
        if not isinstance(code, int) or isinstance(code, bool):
            raise TypeError(
                f"WsError wants a code first, as in WsError(403, 'Forbidden'), not {code!r}"
            )
        self.code = code
        # An exception may be given in place of its text: it must not fail on its way out.
        self.message: str = f"WsError {code}" if message is None else str(message)
        super().__init__(self.message)


class TooManyRooms(WsError):
    """A connection tried to join more rooms than ``WsLimits.rooms_per_connection``.

    Attributes:
        limit: The rooms one connection may be in.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(429, f"Too many rooms: a connection may join {limit}")


class ConfigurationError(WsRoomsError, ValueError):
    """A mistake of the program, found while it declares or starts."""


class UnknownScheme(ConfigurationError):
    """No transport speaks the scheme of this URL.

    Attributes:
        scheme: The part before ``://``.
        known: The schemes that would work here.
    """

    def __init__(self, scheme: str, known: Iterable[str]) -> None:
        self.scheme = scheme
        self.known: tuple[str, ...] = tuple(sorted(known))
        super().__init__(
            f"no transport speaks {scheme!r} URLs; known schemes: {', '.join(self.known)}"
            f"{did_you_mean(scheme, self.known)}"
        )


class UnknownOption(ConfigurationError):
    """An option that does not exist, most likely misspelt.

    Attributes:
        option: What was given.
        known: The options that exist.
    """

    def __init__(self, option: str, known: Iterable[str]) -> None:
        self.option = option
        self.known: tuple[str, ...] = tuple(sorted(known))
        options = ", ".join(self.known) or "none"
        super().__init__(
            f"unknown option {option!r}; known options: {options}{did_you_mean(option, self.known)}"
        )


class MissingTransport(ConfigurationError):
    """The package that speaks this URL is not installed.

    Attributes:
        scheme: The part of the URL before ``://``.
        extra: The extra of wsrooms-core that installs it.
    """

    def __init__(self, scheme: str, extra: str) -> None:
        self.scheme = scheme
        self.extra = extra
        super().__init__(
            f"{scheme}:// needs a package that is not installed: "
            f'pip install "wsrooms-core[{extra}]"'
        )


class InvalidPattern(ConfigurationError):
    """A route pattern that cannot be compiled.

    Attributes:
        pattern: The pattern as given.
        reason: What is wrong with it.
    """

    def __init__(self, pattern: object, reason: str) -> None:
        self.pattern = pattern
        self.reason = reason
        super().__init__(f"bad route pattern {pattern!r}: {reason}")


class InvalidHandler(ConfigurationError):
    """A function that cannot be a handler or a hook.

    Attributes:
        handler: The function's qualified name.
        reason: What is wrong with it.
        place: Where it is declared, as ``file:line``; None where nobody knows.
    """

    def __init__(self, handler: str, reason: str, place: str | None = None) -> None:
        self.handler = handler
        self.reason = reason
        self.place = place
        where = "" if place is None else f" ({place})"
        super().__init__(f"{handler}{where} cannot be called: {reason}")


class ServerNotStarted(ConfigurationError):
    """The server could not listen as asked; the text says what to do."""


class OutsideContext(WsRoomsError, RuntimeError):
    """A composable was called where what it needs is not current.

    Attributes:
        composable: The name of the function.
        needs: What it needs: "a message", "a connection" or "a handler".
    """

    def __init__(self, composable: str, needs: str, remedy: str) -> None:
        self.composable = composable
        self.needs = needs
        super().__init__(f"{composable}() needs {needs}, and none is current here; {remedy}")


class NotRunning(WsRoomsError, RuntimeError):
    """The app was used before it started or after it closed."""


class ConnectionGone(WsRoomsError):
    """The connection has closed, so it can no longer join a room.

    Attributes:
        connection_id: The id it had.
    """

    def __init__(self, connection_id: str) -> None:
        self.connection_id = connection_id
        super().__init__(
            f"connection {connection_id} has closed and can join no room any more: "
            "what outlives its client has to expect that"
        )


class InvalidRoom(WsRoomsError, ValueError):
    """A room name that no instance could carry.

    Attributes:
        room: The name as given.
        reason: Why it cannot be used.
    """

    def __init__(self, room: object, reason: str) -> None:
        self.room = room
        self.reason = reason
        shown = repr(room)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(f"bad room name {shown}: {reason}")


class TransportError(WsRoomsError):
    """Something between the instances failed; towards clients it is a 503."""


class TransportUnavailable(TransportError):
    """The bus is down, or did not confirm in time."""


class LimitTooLow(TransportUnavailable):
    """The broker takes less than the transport needs for itself: its settings have to change.

    Attributes:
        setting: What the broker calls the limit.
        limit: Bytes that it takes; None if it does not say.
        least: Bytes that it has to take.
    """

    def __init__(self, where: str, setting: str, limit: int | None, least: int) -> None:
        self.setting = setting
        self.limit = limit
        self.least = least
        told = "too low" if limit is None else f"{limit} bytes"
        super().__init__(
            f"the {setting} of {where} is {told}, and wsrooms needs at least {least} bytes: "
            "raise it in the settings of the server"
        )


class AuthenticationFailed(TransportError):
    """The broker refused the credentials or the certificate."""


class PermissionDenied(TransportError):
    """The broker refused this channel to these credentials.

    Attributes:
        channel: The channel that was refused.
    """

    def __init__(self, channel: str, message: str) -> None:
        self.channel = channel
        super().__init__(message)


class OutboxFull(TransportError):
    """Too many messages wait to be published; this one was not accepted.

    Attributes:
        limit: The bound that was reached, in the unit the text names.
    """

    def __init__(self, limit: int, unit: str) -> None:
        self.limit = limit
        super().__init__(f"the outbox holds its limit of {limit} {unit}; the bus is slow or down")


class OutcomeUnknown(TransportError):
    """The message was written and never confirmed: it may or may not have arrived."""


class PayloadTooLarge(TransportError, ValueError):
    """The encoded message is over what the broker carries; nobody received it.

    Attributes:
        size: Bytes of the payload.
        limit: Bytes that the transport carries.
    """

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(
            f"a payload of {size} bytes is over the transport's limit of {limit}; "
            "send less, or raise the broker's limit"
        )


class InvalidChannel(TransportError, ValueError):
    """A channel name that the broker cannot carry.

    Attributes:
        channel: The name as given.
    """

    def __init__(self, channel: str, reason: str) -> None:
        self.channel = channel
        super().__init__(f"bad channel name {channel[:80]!r}: {reason}")


class TransportClosed(TransportError, RuntimeError):
    """The transport was used after its close."""
