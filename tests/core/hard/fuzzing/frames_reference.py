"""What must come out of a byte stream: RFC 6455 and the wire protocol, read slowly.

It sees the whole stream at once, knows nothing of segments, and shares no code with
the library. Where the two documents leave a choice it says so, as alternatives; where
judging would mean copying somebody's quirk it gives up at that frame (``unsure_at``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import cycle
from operator import xor
from typing import Literal, NamedTuple, NoReturn

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

DEEP = 200
"""Nesting past which it is the interpreter's stack that decides, not the protocol."""


class Limits(NamedTuple):
    """What the app under test was given."""

    message: int
    slow_connect: bool

    @property
    def hard(self) -> int:
        """The size that closes a connection."""
        return self.message * 16


class Answer(NamedTuple):
    """A data frame that is owed: one of ``options``, which may be beginnings only."""

    ends_at: int
    options: tuple[bytes, ...]
    late: bool  # made by a task, or after one: the end of the connection may overtake it

    def fits(self, payload: bytes) -> bool:
        """Whether ``payload`` is this answer."""
        return any(
            payload.startswith(option[:-3]) if option.endswith(b"...") else payload == option
            for option in self.options
        )


class Pong(NamedTuple):
    """A pong that is owed."""

    ends_at: int
    payload: bytes


class Drop(NamedTuple):
    """A message that is dropped, for one of these reasons."""

    ends_at: int
    reasons: frozenset[str]


class End(NamedTuple):
    """What ends the connection, and how the server may say so."""

    starts_at: int
    by: Literal["client", "protocol", "text", "handler"]
    codes: frozenset[int] = frozenset()
    echo: bytes | None = None  # the client's CLOSE, to be sent back as it is
    certain: bool = True  # False: the frame is wrong already, and not whole yet
    late: bool = False  # a handler closes after a task: what follows may be read before

    def fits(self, payload: bytes) -> bool:
        """Whether a CLOSE with ``payload`` says this."""
        if self.echo is not None and payload == self.echo:
            return True
        return len(payload) >= 2 and int.from_bytes(payload[:2], "big") in self.codes


@dataclass
class Verdict:
    """What a stream must lead to.

    Attributes:
        end: What ends the connection. If it is late, what follows it in the other lists
            may come about or not, and ``ahead`` may end the connection instead.
    """

    answers: list[Answer] = field(default_factory=list[Answer])
    pongs: list[Pong] = field(default_factory=list[Pong])
    drops: list[Drop] = field(default_factory=list[Drop])
    messages: list[int] = field(default_factory=list[int])
    end: End | None = None
    ahead: End | None = None
    unsure_at: int | None = None
    frames: int = 0


class _Unsure(Exception):
    """No judgement is possible from here on."""


class _Dropped(Exception):
    def __init__(self, *reasons: str) -> None:
        self.reasons = frozenset(reasons)
        super().__init__(*reasons)


def judge(stream: bytes, limits: Limits) -> Verdict:
    """Read a whole stream, the handshake apart."""
    verdict = Verdict()
    at = 0
    try:
        reader = _Reader(stream, limits, verdict)
        while (following := reader.frame(at)) is not None:
            at = following
            verdict.frames += 1
    except _Unsure:
        verdict.unsure_at = at
    return verdict


class _Reader:
    """Takes one frame after the other, and remembers the message that they make."""

    def __init__(self, stream: bytes, limits: Limits, verdict: Verdict) -> None:
        self._stream = stream
        self._limits = limits
        self._verdict = verdict
        self._parts: list[bytes] | None = None
        self._parts_text = False
        self._late = limits.slow_connect

    def frame(self, at: int) -> int | None:
        """Take the frame at ``at``; None if there is no whole one, or no more is read."""
        stream = self._stream
        head = stream[at : at + 2]
        if len(head) < 2:
            return None
        fin, rsv, opcode = head[0] >> 7, head[0] >> 4 & 7, head[0] & 15
        size, start = head[1] & 0x7F, at + 2
        if opcode not in (CONT, TEXT, BINARY, CLOSE, PING, PONG) or not head[1] & 0x80:
            # Two bytes tell, and the ten that a header may have are soon there.
            told = len(stream) >= start + (0 if size < 126 else 2 if size == 126 else 8)
            self._ended(End(at, "protocol", frozenset({1002}), certain=told))
            return None
        if size > 125:
            width = 2 if size == 126 else 8
            length = stream[start : start + width]
            if len(length) < width:
                size, start = 0, len(stream) + 1  # not even the length is here
            else:
                size, start = int.from_bytes(length, "big"), start + width
        control = opcode >= CLOSE
        held = sum(map(len, self._parts or ()))
        wrong = bool(
            rsv
            or (control and (size > 125 or not fin))
            or (opcode == CONT and self._parts is None)
            or (opcode in (TEXT, BINARY) and self._parts is not None)
        )
        if size > self._limits.hard - held:
            if control and size <= 125:
                raise _Unsure  # whether a ping counts towards the message around it
            self._ended(End(at, "protocol", frozenset({1009, 1002} if wrong else {1009})))
            return None
        end = start + 4 + size
        if end > len(stream):
            if wrong or (control and head[1] & 0x7F > 125):
                self._ended(End(at, "protocol", frozenset({1002}), certain=False))
            return None
        if wrong:
            self._ended(End(at, "protocol", frozenset({1002})))
            return None
        mask = stream[start : start + 4]
        payload = bytes(map(xor, stream[start + 4 : end], cycle(mask)))
        if opcode == CLOSE:
            self._closed(at, payload)
            return None
        if opcode == PING:
            self._verdict.pongs.append(Pong(end, payload))
        elif opcode in (TEXT, BINARY) and fin:
            self._message(at, end, payload, text=opcode == TEXT)
        elif opcode in (TEXT, BINARY):
            self._parts, self._parts_text = [payload], opcode == TEXT
        elif opcode == CONT:
            assert self._parts is not None
            self._parts.append(payload)
            if fin:
                whole, self._parts = b"".join(self._parts), None
                self._message(at, end, whole, text=self._parts_text)
        return None if self._over else end

    @property
    def _over(self) -> bool:
        """Whether nothing more is read."""
        verdict = self._verdict
        return verdict.ahead is not None or (verdict.end is not None and not verdict.end.late)

    def _ended(self, end: End) -> None:
        if self._verdict.end is None:
            self._verdict.end = end
        else:
            self._verdict.ahead = end

    def _closed(self, at: int, payload: bytes) -> None:
        if not payload:
            end = End(at, "client", echo=b"")
        elif len(payload) == 1:
            end = End(at, "protocol", frozenset({1002}))
        else:
            code = int.from_bytes(payload[:2], "big")
            known = 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
            if not _is_utf8(payload[2:]):
                end = End(at, "protocol", frozenset({1007} if known else {1007, 1002}))
            elif not known:
                end = End(at, "protocol", frozenset({1002}))
            else:
                end = End(at, "client", echo=payload)
        if self._parts is not None:
            # The RFC lets control frames, so CLOSE too, come between fragments; to
            # take a message cut short for an error is defensible as well.
            end = end._replace(codes=end.codes | {1002})
        self._ended(end)

    def _message(self, at: int, ends_at: int, payload: bytes, *, text: bool) -> None:
        verdict = self._verdict
        if text and not _is_utf8(payload):
            self._ended(End(at, "text", frozenset({1007})))
            return
        verdict.messages.append(ends_at)
        try:
            if len(payload) > self._limits.message:
                raise _Dropped("too_long")
            if not _is_utf8(payload):
                raise _Dropped("utf8")
            answers, late, closes = _answers(read(payload.decode()))
        except _Dropped as dropped:
            verdict.drops.append(Drop(ends_at, dropped.reasons))
            return
        if verdict.end is not None:
            return
        self._late = self._late or late
        verdict.answers += [Answer(ends_at, options, self._late) for options in answers]
        if closes:
            self._ended(End(at, "handler", frozenset({4001}), late=self._late))


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- messages ---


class Read(NamedTuple):
    """A message: names as text, the rest as it was sent."""

    event: str
    path: str
    data: str | None
    id: str | None
    deep: bool


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


# Numbers stay text: Python refuses to read one of 5,000 digits.
_value = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant).raw_decode
_TOKENS = re.compile(r'"(?:\\.|[^"\\])*"?|[\[\]{}]', re.DOTALL)


def nesting(document: str) -> int:
    """How deep the brackets of a document go."""
    depth = deepest = 0
    for token in _TOKENS.findall(document):
        if token in ("[", "{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token in ("]", "}"):
            depth -= 1
    return deepest


def read(document: str) -> Read:
    """The message in a document.

    Raises:
        _Dropped: It is none.
    """
    deep = nesting(document) > DEEP
    if deep:
        return _read_deep(document)
    members, whole = _members(document)
    names = {name: document[start:end] for name, start, end in members}
    id = names.get("id", "null")
    try:
        event, path = (_text(names.get(name, "null")) for name in ("event", "path"))
        if id[0] not in '"-0123456789n':
            raise _Dropped("shape")
    except _Dropped:
        # It is neither a message nor JSON where more follows, and either may be said.
        raise _Dropped("shape", *([] if whole else ["json"])) from None
    if not whole:
        raise _Dropped("json")
    return Read(event, path, names.get("data"), None if id == "null" else id, deep=False)


def _members(document: str) -> tuple[list[tuple[str, int, int]], bool]:
    """The members of the object that a document begins with, and whether that is all of it."""
    at = _after_space(document, 0)
    if document[at : at + 1] != "{":
        try:
            _, at = _value(document, at)
        except ValueError:
            raise _Dropped("json", "shape") from None
        whole = _after_space(document, at) == len(document)
        raise _Dropped("shape", *([] if whole else ["json"]))
    members: list[tuple[str, int, int]] = []
    at = _after_space(document, at + 1)
    closed = document[at : at + 1] == "}"
    try:
        while not closed:
            name, at = _value(document, at)
            at = _after_space(document, at)
            if document[at : at + 1] != ":" or not isinstance(name, str):
                raise _Dropped("json")
            start = _after_space(document, at + 1)
            _, at = _value(document, start)
            members.append((name, start, at))
            at = _after_space(document, at)
            closed = document[at : at + 1] == "}"
            if not closed:
                if document[at : at + 1] != ",":
                    raise _Dropped("json")
                at = _after_space(document, at + 1)
                if document[at : at + 1] != '"':
                    raise _Dropped("json")
    except ValueError:
        raise _Dropped("json") from None
    return members, _after_space(document, at + 1) == len(document)


def _after_space(document: str, at: int) -> int:
    while document[at : at + 1] in (" ", "\t", "\r", "\n"):
        at += 1
    return at


def _text(value: str) -> str:
    text = json.loads(value) if value.startswith('"') else None
    if not isinstance(text, str):
        raise _Dropped("shape")
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _read_deep(document: str) -> Read:
    """One member, data, is nothing but brackets: of other deep documents nothing is promised."""
    found = re.fullmatch(r'(\{.*"data":)(\[*\]*)((?:,.*)?\})', document, re.DOTALL)
    if found is None or found[2].count("[") != found[2].count("]"):
        raise _Unsure
    if '"data"' in found[3] or re.search(r"[\[{]", found[1][1:] + found[3]):
        raise _Unsure
    shallow = read(f"{found[1]}[]{found[3]}")
    if "\\ud" in (shallow.id or "").lower():
        raise _Unsure  # to give it back as it was sent the whole message would have to be read
    return shallow._replace(data=found[2], deep=True)


def mended(value: str) -> str:
    r"""A value whose escapes of lone surrogates have become ``\ufffd``."""
    out: list[str] = []
    at = 0
    while at < len(value):
        if value[at] != "\\":
            out.append(value[at])
            at += 1
        elif value[at + 1] != "u":
            out.append(value[at : at + 2])
            at += 2
        else:
            unit = int(value[at + 2 : at + 6], 16)
            escaped = value[at + 6 : at + 8] == "\\u"
            after = int(value[at + 8 : at + 12], 16) if escaped else 0
            if 0xD800 <= unit <= 0xDBFF and 0xDC00 <= after <= 0xDFFF:
                out.append(value[at : at + 12])
                at += 12
            else:
                lone = 0xD800 <= unit <= 0xDFFF
                out.append("\\ufffd" if lone else value[at : at + 6])
                at += 6
    return "".join(out)


# --- what the app under test makes of them ---

_Answers = list[tuple[bytes, ...]]
UNDECODABLE = '{"code":400,"message":"Undecodable data: ...'


def _answers(message: Read) -> tuple[_Answers, bool, bool]:
    """The frames that follow from a message, whether a task makes them, whether it closes."""
    route = _route(message)
    data = None if message.data is None else mended(message.data)
    if route == "close":
        return [], False, True
    if route == "push":
        if message.deep:
            raise _Unsure  # one frame or two
        given = "" if data is None else f',"data":{data}'
        pushed = f'{{"event":"pushed","path":"/p"{given}}}'.encode()
        return [(pushed,), *_reply(message, ["null"], [])], False, False
    if route == "kind":
        return _reply(message, *_kinds(message)), False, False
    if route in ("echo", "wait"):
        errors = [UNDECODABLE] if message.deep else []
        return _reply(message, [data or "null"], errors), route == "wait", False
    error = '{"code":418,"message":"WsError 418"}'
    if route is None:
        error = '{"code":404,"message":"Not found"}'
    return _reply(message, [], [error]), False, False


def _route(message: Read) -> str | None:
    path = message.path.split("?")[0]
    if "%" in path and path != "/%65":
        raise _Unsure  # that is the router's own fuzzer
    if path.replace("%65", "e") != "/e":
        return None
    known = ("echo", "wait", "fail", "push", "close", "kind")
    return message.event if message.event in known else None


def _reply(message: Read, results: list[str], errors: list[str]) -> _Answers:
    if message.id is None:
        return []
    options = [f'{{"id":{message.id},"data":{result}}}' for result in results]
    for error in errors:
        whole = error if error.endswith("...") else f"{error}}}"
        options.append(f'{{"id":{message.id},"error":{whole}')
    return [tuple(option.encode() for option in options)]


def _kinds(message: Read) -> tuple[list[str], list[str]]:
    """The names of the type that the data may be decoded as, and the errors that are allowed."""
    if message.data is None:
        return ['"NoneType"'], []
    if message.deep:
        return ['"list"'], [UNDECODABLE]
    numbers: list[str] = []

    def note(number: str) -> str:
        numbers.append(number)
        return number

    json.JSONDecoder(parse_int=note, parse_float=note).decode(message.data)
    if any(len(number) > 300 for number in numbers):
        raise _Unsure  # how many digits are too many
    if any(float(number) in (float("inf"), float("-inf")) for number in numbers):
        return [], [UNDECODABLE]
    first = message.data[0]
    kind = {'"': "str", "{": "dict", "[": "list", "t": "bool", "f": "bool", "n": "NoneType"}
    if first in kind:
        return [f'"{kind[first]}"'], []
    if re.fullmatch("-?[0-9]{1,18}", message.data):
        return ['"int"'], []
    return ['"float"', '"int"'] if message.data.strip("-0123456789") == "" else ['"float"'], []
