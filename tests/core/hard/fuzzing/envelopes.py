"""What comes over a bus against readings of it without a regex and without msgspec."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from msgspec import UNSET

from tests.core.hard.fuzzing.frames_reference import DEEP, nesting
from wsrooms.broadcast import Broadcast, ForeignPayload, Payload, read_payload
from wsrooms.transports.envelope import Envelope, parse, wrap
from wsrooms.wire import NO_RAW, JsonCodec

if TYPE_CHECKING:
    from random import Random

# --- tagged payloads ---

FIELDS = [
    *("1", "0", "01", "2", "-1", "+1", "1.0", "", " ", "i", "0123456789abcdef", "a" * 64, "a" * 65),
    *("~!", "ï", "\u0661", "\n", "\t", str(2**63 - 1), str(2**63), str(10**18), "9" * 20, "1 1"),
]


def make_tagged(random: Random) -> str:
    """Text that is nearly a tagged payload."""
    if random.random() < 0.5:
        text = wrap(random.choice(FIELDS[9:13]), random.choice([0, 1, 7]), 1, random.choice(FIELDS))
    else:
        text = " ".join(random.choices(FIELDS, k=random.choice([3, 4, 5, 5, 5, 6])))
    if random.random() < 0.5:
        at = random.randint(0, len(text))
        text = text[:at] + random.choice([*FIELDS, "\ud800"]) + text[at + random.randint(0, 1) :]
    return text


def tagged(text: str) -> Envelope | None:
    """Five fields between single spaces, of which the last may be anything."""
    fields = text.split(" ", 4)
    if len(fields) != 5 or fields[0] != "1":
        return None
    _, instance, epoch, seq, payload = fields
    if not 1 <= len(instance) <= 64 or not all("!" <= char <= "~" for char in instance):
        return None
    for number in (epoch, seq):
        if not number or any(digit not in "0123456789" for digit in number):
            return None
        if (number[0] == "0" and number != "0") or int(number) >= 2**63:
            return None
    return None if seq == "0" else Envelope(instance, int(epoch), int(seq), payload)


def check_tagged(random: Random) -> str | None:
    """Text is an envelope that makes the same text again, or none."""
    text = make_tagged(random)
    envelope = parse(text)
    if envelope != tagged(text):
        return f"{text!r} is {envelope}, and should be {tagged(text)}"
    if envelope is not None and wrap(*envelope) != text:
        return f"{text!r} became {wrap(*envelope)!r}"
    return None


# --- payloads ---

MEMBERS = ["event", "path", "data", "params", "excludeId", "other"]
VALUES = [
    *('"e"', '"/p"', '""', "null", "1", "true", "1e999", "[]", "{}", '["a"]', '["a",1]', "[[]]"),
    *('{"a":"b"}', '{"a":["b","c"]}', '{"a":1}', '{"a":null}', '{"a":["b",null]}', '{"":""}'),
    *('"\\ud83d"', '"\\ud83d\\ude00"', '{"\\ud83d":"\\ude00"}', '"é\\u0000"', '"\\\\ud83d"'),
    *('{"a":{"b":[1,2]}}', "-0", "12345678901234567890", '"\u2028😀"', "[" * 30 + "]" * 30),
]
TOKENS = [*VALUES, "{", "}", "[", "]", ",", ":", '"', "\\", "\\u", "NaN", " ", "\0", "\ud800", "é"]


def make_payload(random: Random) -> str:
    """Text that is nearly a payload."""
    members = [("event", '"e"'), ("path", '"/p"')]
    members += [(name, random.choice(VALUES)) for name in MEMBERS[2:5] if random.random() < 0.5]
    if random.random() < 0.4:
        members.append((random.choice(MEMBERS), random.choice(VALUES)))
    if random.random() < 0.3:
        del members[random.randrange(len(members))]
    random.shuffle(members)
    text = ",".join(f'"{name}":{value}' for name, value in members)
    text = random.choice(["{%s}", "{%s}", "{%s}", " {%s}\n", "[{%s}]", "%s"]) % text
    for _ in range(random.choice([0, 0, 0, 1, 2])):
        at = random.randint(0, len(text))
        text = text[:at] + random.choice(TOKENS) + text[at + random.randint(0, 3) :]
    return text


class Number(NamedTuple):
    """A number as it is written: Python refuses to read one of 5,000 digits."""

    text: str


class _Twice(Exception):
    """A member is repeated: which one counts is nobody's promise."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({mended(name) for name, _ in pairs}) < len(pairs):
        raise _Twice
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def mended(value: Any) -> Any:
    """A value without lone surrogates."""
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in value)
    if isinstance(value, list):
        return [mended(each) for each in value]
    if isinstance(value, dict):
        return {mended(name): mended(each) for name, each in value.items()}
    return value


def loaded(text: str) -> Any:
    """The value in a JSON document, numbers as they are written."""
    text.encode()
    return json.loads(
        text,
        object_pairs_hook=_object,
        parse_constant=_no_constant,
        parse_int=Number,
        parse_float=Number,
    )


def believed(text: str) -> dict[str, Any] | None:
    """The members of a payload; None if it is foreign."""
    try:
        found = mended(loaded(text))
    except ValueError:
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(n), str) for n in MEMBERS[:2]):
        return None
    params, exclude = found.get("params"), found.get("excludeId")
    if not (exclude is None or isinstance(exclude, str)):
        return None
    if params is not None:
        if not isinstance(params, dict):
            return None
        for value in params.values():
            each = value if isinstance(value, list) else [value]
            if not all(isinstance(one, str) for one in each):
                return None
    return {name: found[name] for name in MEMBERS[:5] if name in found}


def as_sent(payload: Payload) -> str:
    """A payload as the next instance would send it on."""
    data = UNSET if payload.data is NO_RAW else payload.data
    broadcast = Broadcast(JsonCodec(), payload.event, payload.path, data, payload.params)
    return broadcast.payload(payload.excludeId).decode()


def members_of(payload: Payload) -> dict[str, Any]:
    """What a payload holds, but for members that say nothing."""
    held: dict[str, Any] = {"event": payload.event, "path": payload.path}
    if payload.data is not NO_RAW:
        held["data"] = loaded(bytes(payload.data).decode())
    if payload.params:
        held["params"] = payload.params
    if payload.excludeId is not None:
        held["excludeId"] = payload.excludeId
    return held


def check_payload(random: Random) -> str | None:
    """Text is a payload that can be sent on unchanged, or foreign; nothing else happens."""
    text = make_payload(random)
    try:
        payload = read_payload(text)
    except ForeignPayload:
        payload = None
    if nesting(text) > DEEP:
        return None
    try:
        expected = believed(text)
    except _Twice:
        return None
    if payload is None or expected is None:
        same = payload is None and expected is None
        return None if same else f"{text!r} is {payload}, and should be {expected}"
    if not expected.get("params"):
        expected.pop("params", None)
    if expected.get("excludeId") is None:
        expected.pop("excludeId", None)
    got = members_of(payload)
    if got != expected:
        return f"{text!r} holds {got}, and should hold {expected}"
    again = members_of(read_payload(as_sent(payload)))
    return None if again == got else f"{text!r} became {again}"


def check(random: Random) -> str | None:
    """One of each."""
    return check_tagged(random) or check_payload(random)
