"""What a client sent, read from JSON: strictly, and as leniently as the protocol asks.

Pure functions. The straight way is one call of msgspec, which leaves ``data``
and ``id`` encoded. What it refuses and JavaScript produces takes a slower one:
lone surrogates, repeated members, and data nested so deep that only the members
around it are read.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

__all__ = [
    "NO_DATA",
    "NO_RAW",
    "UNDECODABLE",
    "Inbound",
    "Malformed",
    "decode_data",
    "decode_raw",
    "mend_surrogates",
    "plain_id",
    "read_message",
]

NO_RAW: Final = Raw(b"")
"""Stands for a member that was not sent; compared by identity."""


NO_DATA: Final = Raw(b"null")
"""The ``data_raw`` of a message without data; known by identity.

Passed on as it is, it is left out again; inside of something else it is null.
"""


class Malformed(ValueError):
    """What a client sent is not a message; it is dropped and counted under ``reason``."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


if TYPE_CHECKING:
    from collections.abc import Callable

    AsSent = Any  # a custom parser gives Python objects
else:
    AsSent = Raw | UnsetType  # what msgspec is to leave encoded


class Inbound(Struct, gc=False, rename={"raw": "\uffff"}):
    """One message of a client.

    ``data`` stays encoded until a handler asks; ``id`` too, because it goes back
    byte for byte. A custom parser gives both as Python objects instead. ``raw`` is
    no member of the message: it is set once that is read, whatever was sent under
    the name that keeps it apart.
    """

    event: str
    path: str
    data: AsSent = UNSET
    id: AsSent = UNSET
    raw: bytes = b""


class _Members(Struct, gc=False):
    event: Raw
    path: Raw
    data: AsSent = UNSET
    id: AsSent = UNSET


_decode = msgspec.json.Decoder(Inbound).decode
_decode_members = msgspec.json.Decoder(_Members).decode
decode_raw: Callable[[Raw | bytes], Any] = msgspec.json.Decoder().decode
"""The Python value of a ``Raw``; it raises what :func:`decode_data` makes a ValueError of."""

_decode_str = msgspec.json.Decoder(str).decode


class UndecodableData:
    """Data nested too deep to be looked at; whoever asks for it gets a 400."""

    __slots__ = ()


UNDECODABLE: Final = UndecodableData()


BACKSLASH: Final = 0x5C


def read_message(payload: bytes, text: bool) -> Inbound:
    """Read a message from JSON, in a text frame or a binary one.

    Raises:
        Malformed: It is none.
    """
    if not text and not payload.isascii():
        # A text frame was checked when it came, to be closed with 1007.
        check_utf8(payload)
    document = payload
    # To look for a number is one memchr; for bytes, CPython first raises and drops a TypeError.
    if BACKSLASH in payload and (b"\\ud" in payload or b"\\uD" in payload):
        document = mend_surrogates(payload)
    try:
        message = _decode(document)
    except ValueError as error:
        message = _decode_again(document, error)
    except RecursionError:
        message = _decode_around(document)
    id = message.id
    if id is not UNSET:
        first = memoryview(id)[0]
        # A quote, a minus or a digit: a str or a number.
        if not (first == 0x22 or 0x30 <= first <= 0x39 or first == 0x2D):
            if first != 0x6E:
                raise Malformed("shape")
            message.id = UNSET  # null
        elif document is not payload and b"\\ufffd" in bytes(id):
            message.id = _id_as_sent(payload) or id
    message.raw = payload
    return message


def _decode_again(document: bytes, error: ValueError) -> Inbound:
    """The message in what did not fit at first sight: of a repeated member the last one counts."""
    if not isinstance(error, msgspec.ValidationError):
        raise Malformed("json") from None
    try:
        members = _decode_members(document)
        event, path = _decode_str(members.event), _decode_str(members.path)
    except msgspec.ValidationError:
        raise Malformed("shape") from None
    except (ValueError, RecursionError):
        raise Malformed("json") from None
    return Inbound(event, path, members.data, members.id)


# A lookahead and what it found stand for a possessive group: Python 3.11.4 and older match
# such a group wrongly (a character class they do get right).
_STRING = rb'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*"'
_SCALAR = rb"(?:" + _STRING + rb"|-?[0-9][0-9.eE+-]*+|null|true|false)"
_MEMBER = _STRING + rb"[ \t\r\n]*+:[ \t\r\n]*+" + _SCALAR + rb"[ \t\r\n]*+"
_HEAD = re.compile(
    rb"[ \t\r\n]*+\{[ \t\r\n]*+(?=((?:" + _MEMBER + rb',[ \t\r\n]*+)*))\1"data"[ \t\r\n]*+:'
)
_TAIL = re.compile(rb"[ \t\r\n]*+(?=((?:,[ \t\r\n]*+" + _MEMBER + rb")*))\1\}[ \t\r\n]*+\Z")
_TAIL_BYTES = 4096


def _decode_around(document: bytes) -> Inbound:
    """A message whose data is nested deeper than the decoder goes.

    The members around the data are still read, so that a request gets its
    error 400; the data itself is never looked at and never passed on.
    """
    head = _HEAD.match(document)
    if head is None:
        raise Malformed("json")
    end = document[-_TAIL_BYTES:]
    tail = None
    for bracket in re.finditer(rb"[]}]", end):
        tail = _TAIL.match(end, bracket.end())
        if tail is not None:
            break
    if tail is None:
        raise Malformed("json")
    # No other member can be a list, so this one tells whether "data" came again.
    shallow = b"{" + head[1] + b'"data":[]' + tail[1] + b"}"
    try:
        message = _decode(shallow)
    except ValueError as error:
        message = _decode_again(shallow, error)
    if bytes(message.data) == b"[]":
        message.data = UNDECODABLE
    return message


_raw_decode = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
_SPACE = re.compile(r"[ \t\r\n]*")


def _id_as_sent(payload: bytes) -> Raw | None:
    """The id of a valid message, byte for byte, its lone surrogates included.

    It goes back to the client that made it, and to nobody else. None if the
    message is nested too deep.
    """
    text = payload.decode()

    def after_space(position: int) -> int:
        space = _SPACE.match(text, position)
        return position if space is None else space.end()

    found = None
    position = after_space(0)  # at the opening brace, later at the comma before a member
    try:
        while text[position] != "}":
            name, position = _raw_decode(text, after_space(position + 1))
            start = after_space(after_space(position) + 1)
            _, position = _raw_decode(text, start)
            if name == "id":
                found = Raw(text[start:position].encode())
            position = after_space(position)
    except RecursionError:
        return None
    return found


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


def decode_data(raw: Any) -> Any:
    """The Python value of an encoded one.

    Raises:
        ValueError: A number out of range, or nested too deep.
    """
    if raw is UNDECODABLE:
        raise ValueError("nested too deep")
    try:
        return decode_raw(raw)
    except RecursionError:
        raise ValueError("nested too deep") from None


def plain_id(id: object) -> str | int | float:
    """An id as Python has it; a number beyond all range is infinite, as in JavaScript."""
    if not isinstance(id, Raw):
        return cast("str | int | float", id)
    try:
        return cast("str | int | float", decode_data(id))
    except ValueError:
        return float(bytes(id))


def check_utf8(payload: bytes) -> None:
    """Refuse what UTF-8 cannot be.

    Raises:
        Malformed: It is not UTF-8.
    """
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise Malformed("utf8") from None
