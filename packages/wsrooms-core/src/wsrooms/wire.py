"""The wire protocol towards clients: JSON documents and WebSocket frames as bytes.

Pure functions and codecs: no socket, no loop, no connection. ``session.py``
decodes with this module what a client sent, ``rooms.py`` and ``connection.py``
encode with it what clients receive. A frame is encoded once, however many
connections it goes to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from wsrooms.errors import InvalidRoom

__all__ = [
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
    "text_frame",
    "valid_close_code",
]

Params = Mapping[str, str | list[str]]
MessageId = str | int | float

NO_RAW: Final = Raw(b"")
"""Stands for a member that was not sent; compared by identity."""


class Malformed(ValueError):
    """What a client sent is not a message; it is dropped and counted under ``reason``."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Inbound(Struct, gc=False):
    """One message of a client.

    ``data`` stays encoded until a handler asks; ``id`` too, because it goes back
    byte for byte. A custom parser gives both as Python objects instead.
    """

    event: str
    path: str
    data: Any = UNSET
    id: Any = UNSET
    raw: bytes = b""


class _Shape(Struct, gc=False):
    event: str
    path: str
    data: Raw = NO_RAW
    id: Raw = NO_RAW


class _Push(Struct, gc=False, omit_defaults=True):
    event: str
    path: str
    params: Params | UnsetType = UNSET
    data: Any = UNSET


class _Error(Struct, gc=False):
    code: int
    message: str


_decode_shape = msgspec.json.Decoder(_Shape).decode
_encode_plain = msgspec.json.Encoder().encode


class UndecodableData:
    """Data nested too deep to be looked at; whoever asks for it gets a 400."""

    __slots__ = ()


UNDECODABLE: Final = UndecodableData()


class Codec(Protocol):
    """How one app speaks to its clients."""

    def decode(self, payload: bytes, *, text: bool) -> Inbound:
        """Read a message.

        Raises:
            Malformed: It is not one.
        """
        ...

    def push(self, event: str, path: str, data: object, params: Params | None) -> bytes:
        """The frame of a push.

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


class JsonCodec:
    """JSON, as the protocol has it."""

    __slots__ = ("_encode",)

    def __init__(self, enc_hook: Callable[[Any], Any] | None = None) -> None:
        """Encode with ``enc_hook`` what msgspec does not know."""
        self._encode = data_encoder(enc_hook)

    def decode(self, payload: bytes, *, text: bool) -> Inbound:
        """Read a message from JSON, in a text frame or a binary one."""
        if b"\\ud" in payload or b"\\uD" in payload:
            payload = mend_surrogates(payload)
        try:
            shape = _decode_shape(payload)
        except msgspec.ValidationError:
            raise Malformed("shape") from None
        except msgspec.DecodeError:
            raise Malformed("json") from None
        except RecursionError:
            return _beyond_nesting(payload)
        return Inbound(
            shape.event,
            shape.path,
            UNSET if shape.data is NO_RAW else shape.data,
            _checked_id(shape.id),
            payload,
        )

    def push(self, event: str, path: str, data: object, params: Params | None) -> bytes:
        """The text frame of a push."""
        return text_frame(self._encode(_Push(event, path, params or UNSET, data)))

    def reply(self, id: object, data: object) -> bytes:
        """The text frame of a reply; None, and data not given, are ``null``."""
        body = b"null" if data is None or data is UNSET else self._encode(data)
        return text_frame(b'{"id":' + self._id(id) + b',"data":' + body + b"}")

    def error(self, id: object, code: int, message: str) -> bytes:
        """The text frame of an error reply."""
        error = _encode_plain(_Error(code, printable(message)))
        return text_frame(b'{"id":' + self._id(id) + b',"error":' + error + b"}")

    def data(self, data: object) -> bytes:
        """``data`` as JSON."""
        return self._encode(data)

    def _id(self, id: object) -> bytes:
        return bytes(id) if type(id) is Raw else self._encode(id)


class CustomCodec:
    """A parser, a serializer or both in place of JSON; the other side stays JSON."""

    __slots__ = ("_hook", "_json", "_parser", "_serializer")

    def __init__(
        self,
        parser: Callable[[str | bytes], Mapping[str, Any]] | None,
        serializer: Callable[[dict[str, Any]], str | bytes] | None,
        enc_hook: Callable[[Any], Any] | None = None,
    ) -> None:
        self._parser = parser
        self._serializer = serializer
        self._hook = enc_hook
        self._json = JsonCodec(enc_hook)

    def decode(self, payload: bytes, *, text: bool) -> Inbound:
        """Read a message with the parser; whatever it raises makes the message malformed."""
        if self._parser is None:
            return self._json.decode(payload, text=text)
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
        elif isinstance(id, bool) or not isinstance(id, str | int | float):
            raise Malformed("shape")
        return Inbound(event, path, data, id, payload)

    def push(self, event: str, path: str, data: object, params: Params | None) -> bytes:
        """The frame of a push: text for a str, binary for bytes."""
        if self._serializer is None:
            return self._json.push(event, path, data, params)
        message: dict[str, Any] = {"event": event, "path": path}
        if params:
            message["params"] = dict(params)
        if data is not UNSET:
            message["data"] = self._plain(data)
        return self._frame(message)

    def reply(self, id: object, data: object) -> bytes:
        """The frame of a reply."""
        if self._serializer is None:
            return self._json.reply(id, data)
        answer = None if data is UNSET else self._plain(data)
        return self._frame({"id": _plain_id(id), "data": answer})

    def error(self, id: object, code: int, message: str) -> bytes:
        """The frame of an error reply."""
        if self._serializer is None:
            return self._json.error(id, code, message)
        return self._frame({"id": _plain_id(id), "error": {"code": code, "message": message}})

    def data(self, data: object) -> bytes:
        """``data`` as JSON."""
        return self._json.data(data)

    def _plain(self, data: object) -> object:
        """Objects that a serializer of dicts and lists understands."""
        if isinstance(data, Raw):
            return decode_data(data)
        return msgspec.to_builtins(
            data, builtin_types=(bytes, bytearray), str_keys=False, enc_hook=self._hook
        )

    def _frame(self, message: dict[str, Any]) -> bytes:
        assert self._serializer is not None
        document = self._serializer(message)
        if isinstance(document, str):
            return text_frame(document.encode())
        if isinstance(document, bytes | bytearray | memoryview):
            return binary_frame(bytes(document))
        raise TypeError(f"message_serializer returned {type(document).__name__}, not str or bytes")


def _plain_id(id: object) -> object:
    return decode_data(id) if isinstance(id, Raw) else id


def _checked_id(id: Raw) -> object:
    """The id if it is a str or a number, UNSET for none and null."""
    if id is NO_RAW:
        return UNSET
    first = memoryview(id)[0]
    if first == 0x22 or first == 0x2D or 0x30 <= first <= 0x39:  # a quote, a minus, a digit
        return id
    if first == 0x6E:  # null
        return UNSET
    raise Malformed("shape")


_SCALAR = rb'(?:"(?:[^"\\\x00-\x1f]|\\.)*+"|-?[0-9][0-9.eE+-]*+|null)'
_ENVELOPE = rb'"(?:event|path|id)"[ \t\r\n]*+:[ \t\r\n]*+' + _SCALAR + rb"[ \t\r\n]*+"
_HEAD = re.compile(
    rb"[ \t\r\n]*+\{[ \t\r\n]*+((?:" + _ENVELOPE + rb',[ \t\r\n]*+)*+)"data"[ \t\r\n]*+:[ \t\r\n]*+'
)
_TAIL = re.compile(rb"((?:,[ \t\r\n]*+" + _ENVELOPE + rb")*+)\}[ \t\r\n]*+\Z")
_TAIL_BYTES = 4096


def _beyond_nesting(payload: bytes) -> Inbound:
    """A message whose data is nested deeper than the decoder goes.

    The envelope around the data is still read, so that a request gets its
    error 400; the data itself is never looked at and never passed on.
    """
    head = _HEAD.match(payload)
    if head is None:
        raise Malformed("json")
    tail = None
    for comma in re.finditer(rb"[]}]", payload[-_TAIL_BYTES:]):
        tail = _TAIL.match(payload[-_TAIL_BYTES:], comma.end())
        if tail is not None:
            break
    if tail is None:
        raise Malformed("json")
    try:
        shape = _decode_shape(b"{" + head[1] + b'"data":null' + tail[1] + b"}")
    except msgspec.MsgspecError:
        raise Malformed("shape") from None
    return Inbound(shape.event, shape.path, UNDECODABLE, _checked_id(shape.id), payload)


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def mend_surrogates(document: bytes) -> bytes:
    r"""Lone surrogate escapes become ``\ufffd``; everything else stays as it was.

    JavaScript emits them for a string that was cut inside an emoji; strict
    parsers, our own included, refuse them.
    """
    return _ESCAPE.sub(lambda m: rb"\ufffd" if m[1] else m[0], document)


def decode_data(raw: object) -> Any:
    """The Python value of an encoded one.

    Raises:
        ValueError: A number out of range, or nested too deep.
    """
    if raw is UNDECODABLE:
        raise ValueError("nested too deep")
    try:
        return msgspec.json.decode(cast("Raw", raw))
    except RecursionError:
        raise ValueError("nested too deep") from None


def data_encoder(enc_hook: Callable[[Any], Any] | None) -> Callable[[object], bytes]:
    """An encoder that also takes what JSON can carry and msgspec alone refuses."""
    return msgspec.json.Encoder(enc_hook=enc_hook).encode


def encode_data(data: object, enc_hook: Callable[[Any], Any] | None = None) -> bytes:
    """JSON of ``data``.

    Raises:
        TypeError: Something in it has no JSON form.
        ValueError: Likewise.
    """
    return data_encoder(enc_hook)(data)


def dumps(value: object) -> str:
    """JSON for people: log lines and tables."""
    return json.dumps(value, ensure_ascii=False, default=repr)


def text_frame(payload: bytes) -> bytes:
    """A whole unmasked text frame around ``payload``."""
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


def printable(text: str) -> str:
    """``text`` with lone surrogates replaced: what UTF-8 can carry."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def cut_reason(reason: str) -> str:
    """A close reason cut to the 123 bytes that a CLOSE frame holds, at a character."""
    encoded = reason.encode("utf-8", "replace")
    if len(encoded) > 123:
        encoded = encoded[:123]
    return encoded.decode("utf-8", "ignore")


def valid_close_code(code: int) -> bool:
    """Whether a server may put ``code`` in a CLOSE frame (RFC 6455 §7.4 and its registry)."""
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
