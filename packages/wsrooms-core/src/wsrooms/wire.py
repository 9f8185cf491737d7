"""The wire protocol towards clients: JSON documents and WebSocket frames as bytes.

Pure functions and codecs: no socket, no loop, no connection. ``session.py``
decodes with this module what a client sent, ``rooms.py`` and ``connection.py``
encode with it what clients receive. A frame is encoded once, however many
connections it goes to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from wsrooms.datatypes import encoding_hook
from wsrooms.errors import InvalidRoom
from wsrooms.inbound import (
    NO_DATA,
    NO_RAW,
    Inbound,
    Malformed,
    decode_data,
    mend_surrogates,
    plain_id,
    read_message,
)

__all__ = [
    "NO_DATA",
    "NO_RAW",
    "Codec",
    "CustomCodec",
    "Inbound",
    "JsonCodec",
    "Malformed",
    "MessageId",
    "Params",
    "binary_frame",
    "check_room",
    "cut_reason",
    "decode_data",
    "encode_data",
    "mend_surrogates",
    "payload_of",
    "printable",
    "shown",
    "text_frame",
    "valid_close_code",
]

SHOWN = 200
"""Characters of a client's text that a log line shows."""

Params = Mapping[str, str | list[str]]
MessageId = str | int | float


class _Push(Struct, gc=False, omit_defaults=True):
    event: str
    path: str
    params: Params | UnsetType = UNSET
    data: Any = UNSET


class _Reply(Struct, gc=False):
    id: Any
    data: Any


class _Error(Struct, gc=False):
    code: int
    message: str


class _ErrorReply(Struct, gc=False):
    id: Any
    error: _Error


_decode_raw = msgspec.json.Decoder(Raw).decode
_encode_plain = msgspec.json.Encoder().encode


class Codec(Protocol):
    """How one app speaks to its clients."""

    def decode(self, payload: bytes, text: bool) -> Inbound:
        """Read a message: of a text frame, which is UTF-8 by then, or of a binary one.

        Raises:
            Malformed: It is not one.
        """
        ...

    def push(self, event: str, path: str, data: object, params: Params | None) -> bytes:
        """The frame of a push; params that are empty are sent, None are not.

        Raises:
            TypeError: ``data`` cannot be encoded.
            ValueError: Likewise.
        """
        ...

    def reply(self, id: object, data: object) -> bytes:
        """The frame of a reply; ``id`` as :meth:`decode` gave it. Raises as :meth:`push`."""
        ...

    def error(self, id: object, code: int, message: str) -> bytes:
        """The frame of an error reply."""
        ...

    def data(self, data: object) -> bytes:
        """``data`` as JSON, which is what travels between instances. Raises as :meth:`push`."""
        ...


def _no_names(event: object, path: object) -> TypeError:
    name, value = ("path", path) if isinstance(event, str) else ("event", event)
    return TypeError(
        f"{name}={value!r:.200} is no str: send() and broadcast() of all clients take "
        "(event, path, data), broadcast() of a room (event, data)"
    )


class JsonCodec:
    """JSON, as the protocol has it.

    What JSON itself has no form for is encoded as msgspec does: dataclasses,
    Structs, attrs and enums by their fields or values; sets as arrays; dates,
    UUIDs and Decimals as strings; bytes as base64. NaN and the infinities become
    ``null``, silently, as in JavaScript. Keys may be strings and numbers. What is
    left goes to ``enc_hook``, then to pydantic if it is one of its models; else it
    is an error.
    """

    __slots__ = ("_encode",)

    def __init__(self, enc_hook: Callable[[Any], Any] | None = None) -> None:
        """Encode with ``enc_hook`` what msgspec does not know."""
        self._encode = msgspec.json.Encoder(enc_hook=encoding_hook(enc_hook)).encode

    if TYPE_CHECKING:

        @staticmethod
        def decode(payload: bytes, text: bool) -> Inbound:
            """Read a message; raises as :meth:`Codec.decode`."""
            ...

    else:
        decode = staticmethod(read_message)  # for each message a call less than by a method

    def push(self, event: str, path: str, data: object, params: Params | None) -> bytes:
        """The text frame of a push."""
        if not (isinstance(event, str) and isinstance(path, str)):
            raise _no_names(event, path)
        if type(data) is Raw:
            data = sendable_raw(data)
        try:
            document = self._encode(_Push(event, path, UNSET if params is None else params, data))
        except (TypeError, ValueError, RecursionError) as error:
            refuse(error)
        return text_frame(document)

    def reply(self, id: object, data: object) -> bytes:
        """The text frame of a reply; None, and data not given, are ``null``."""
        if type(data) is Raw:
            data = sendable_raw(data)
        try:
            document = self._encode(_Reply(id, None if data is UNSET else data))
        except (TypeError, ValueError, RecursionError) as error:
            refuse(error)
        return text_frame(document)

    def error(self, id: object, code: int, message: str) -> bytes:
        """The text frame of an error reply."""
        try:
            document = self._encode(_ErrorReply(id, _Error(code, printable(message))))
        except (TypeError, ValueError, RecursionError) as error:
            refuse(error)
        return text_frame(document)

    def data(self, data: object) -> bytes:
        """``data`` as JSON."""
        if type(data) is Raw and sendable_raw(data) is UNSET:
            return b"null"
        try:
            return self._encode(data)
        except (TypeError, ValueError, RecursionError) as error:
            refuse(error)


class CustomCodec:
    """A parser, a serializer or both in place of JSON; the other side stays JSON.

    The serializer gets plain dicts, lists, strings and numbers, and bytes as they
    are; what crosses to other instances is JSON all the same, so their clients
    get base64 where these get bytes.
    """

    __slots__ = ("_hook", "_json", "_parser", "_serializer")

    def __init__(
        self,
        parser: Callable[[str | bytes], Mapping[str, Any]] | None,
        serializer: Callable[[dict[str, Any]], str | bytes] | None,
        enc_hook: Callable[[Any], Any] | None = None,
    ) -> None:
        self._parser = parser
        self._serializer = serializer
        self._hook = encoding_hook(enc_hook)
        self._json = JsonCodec(enc_hook)

    def decode(self, payload: bytes, text: bool) -> Inbound:
        """Read a message with the parser; whatever it raises makes the message malformed."""
        if self._parser is None:
            return self._json.decode(payload, text)
        try:
            message = self._parser(payload.decode() if text else payload)
            event, path = message["event"], message["path"]
            data, id = message.get("data", UNSET), message.get("id")
        except Exception as error:
            raise Malformed("parser") from error
        if not isinstance(event, str) or not isinstance(path, str):
            raise Malformed("shape")
        if id is None:
            id = UNSET
        elif not _can_be_id(id):
            raise Malformed("shape")
        return Inbound(printable(event), printable(path), data, id, payload)

    def push(self, event: str, path: str, data: object, params: Params | None) -> bytes:
        """The frame of a push: text for a str, binary for bytes."""
        if self._serializer is None:
            return self._json.push(event, path, data, params)
        if not (isinstance(event, str) and isinstance(path, str)):
            raise _no_names(event, path)
        if isinstance(data, Raw):
            data = sendable_raw(data)
        message: dict[str, Any] = {"event": event, "path": path}
        if params is not None:
            message["params"] = dict(params)
        if data is not UNSET:
            message["data"] = self._plain(data)
        return self._frame(self._serializer, message)

    def reply(self, id: object, data: object) -> bytes:
        """The frame of a reply."""
        if self._serializer is None:
            return self._json.reply(id, data)
        if isinstance(data, Raw):
            data = sendable_raw(data)
        answer = None if data is UNSET else self._plain(data)
        return self._frame(self._serializer, {"id": plain_id(id), "data": answer})

    def error(self, id: object, code: int, message: str) -> bytes:
        """The frame of an error reply."""
        if self._serializer is None:
            return self._json.error(id, code, message)
        error = {"code": code, "message": printable(message)}
        return self._frame(self._serializer, {"id": plain_id(id), "error": error})

    def data(self, data: object) -> bytes:
        """``data`` as JSON."""
        return self._json.data(data)

    def _plain(self, data: object) -> object:
        """Objects that a serializer of dicts and lists understands."""
        if isinstance(data, Raw):
            return decode_data(data)
        try:
            return msgspec.to_builtins(
                data, builtin_types=(bytes, bytearray), str_keys=False, enc_hook=self._hook
            )
        except (TypeError, ValueError, RecursionError) as error:
            refuse(error)

    @staticmethod
    def _frame(
        serializer: Callable[[dict[str, Any]], str | bytes], message: dict[str, Any]
    ) -> bytes:
        document = serializer(message)
        if isinstance(document, str):
            try:
                return text_frame(document.encode())
            except UnicodeEncodeError as error:
                refuse(error)
        if isinstance(document, bytes | bytearray | memoryview):
            return binary_frame(bytes(document))
        raise TypeError(f"message_serializer returned {type(document).__name__}, not str or bytes")


def _can_be_id(id: object) -> bool:
    """Whether a parser's id can be sent back."""
    if isinstance(id, str):
        return printable(id) == id
    return isinstance(id, int | float) and not isinstance(id, bool) and math.isfinite(id)


def encode_data(data: object) -> bytes:
    """JSON of ``data``, by the rules of :class:`JsonCodec`.

    Raises:
        TypeError: Something in it has no JSON form.
        ValueError: Likewise.
    """
    return _PLAIN.data(data)


def sendable_raw(raw: Raw) -> Raw | UnsetType:
    """``raw``, or UNSET where it stands for no data.

    One bad byte passed on would close the connections of a whole room, so what
    would break the frame around it is refused.

    Raises:
        ValueError: It is not exactly one JSON value in UTF-8.
    """
    if raw is NO_DATA or not raw:
        return UNSET
    try:
        _decode_raw(raw)
        document = bytes(raw)
        if not document.isascii():
            document.decode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the msgspec.Raw given as data is not JSON: {error}") from None
    return raw


def refuse(error: Exception) -> NoReturn:
    """Raise what an encoder raised, with what to do about it.

    Raises:
        TypeError: Something has no JSON form.
        ValueError: Likewise.
    """
    text = str(error)
    if isinstance(error, RecursionError):
        raise ValueError(
            "the data is nested too deep for JSON, or contains itself: send less of it"
        ) from error
    if isinstance(error, UnicodeEncodeError):
        raise ValueError(
            f"{error.object[error.start : error.end]!r} is half a character, which UTF-8 cannot "
            "carry: replace it, or do not cut a text inside a surrogate pair"
        ) from error
    if text.startswith("Encoding objects of type coroutine is"):
        raise TypeError(
            "the data is or holds a coroutine: an await is missing before the call that made it"
        ) from None
    if text.startswith("Encoding objects of type"):
        raise TypeError(
            f"{text}: convert it to dicts, lists, strings and numbers first, "
            "or let WsApp(enc_hook=...) do that"
        ) from None
    if text.startswith("Only dicts with"):
        raise TypeError(f"{text}: convert the keys to str first") from None
    raise error


_TEXT_HEADS: Final = [bytes((0x81, size)) for size in range(126)]


def text_frame(payload: bytes) -> bytes:
    """A whole unmasked text frame around ``payload``."""
    size = len(payload)
    if size < 126:
        return _TEXT_HEADS[size] + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return _frame(0x81, payload)


def binary_frame(payload: bytes) -> bytes:
    """A whole unmasked binary frame around ``payload``."""
    return _frame(0x82, payload)


def _frame(head: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((head, size)) + payload
    if size < 65_536:
        return bytes((head, 126, size >> 8, size & 255)) + payload
    return bytes((head, 127)) + size.to_bytes(8, "big") + payload


def payload_of(frame: bytes) -> bytes:
    """The payload of a whole unmasked frame, such as :func:`text_frame` makes."""
    size = frame[1]
    return frame[2 if size < 126 else 4 if size == 126 else 10 :]


def printable(text: str) -> str:
    """``text`` as UTF-8 can carry it: lone surrogates become U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def shown(text: str) -> str:
    """The client's ``text`` as a log may show it: in one line, without control characters."""
    text = text[:SHOWN]
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        char if char.isprintable() and char != "\\" else char.encode("unicode_escape").decode()
        for char in text
    )


def cut_reason(reason: str) -> str:
    """A close reason cut to the 123 bytes that a CLOSE frame holds, at a character."""
    return printable(reason).encode()[:123].decode("utf-8", "ignore")


def valid_close_code(code: int) -> bool:
    """Whether a server may put ``code`` in a CLOSE frame (RFC 6455 §7.4 and its registry)."""
    if not isinstance(code, int) or isinstance(code, bool):
        return False
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def check_room(room: object, limit: int = 1024) -> str:
    """``room`` if it is a name that every instance and broker can carry.

    Raises:
        InvalidRoom: It is not a str, empty, over ``limit`` bytes, or not UTF-8.
    """
    if not isinstance(room, str):
        raise InvalidRoom(room, f"it is {type(room).__name__}, not str")
    if not room:
        raise InvalidRoom(room, "it is empty")
    try:
        size = len(room) if room.isascii() else len(room.encode())
    except UnicodeEncodeError:
        raise InvalidRoom(room, "it holds a lone surrogate, which UTF-8 cannot carry") from None
    if size > limit:
        raise InvalidRoom(room, f"it is {size} bytes long, and the limit is {limit}")
    return room


_PLAIN: Final = JsonCodec()
