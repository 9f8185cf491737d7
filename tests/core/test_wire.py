"""What clients receive, byte for byte, whether it is JSON or what a serializer makes."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import struct
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from wsrooms.wire import (
    NO_DATA,
    Codec,
    CustomCodec,
    JsonCodec,
    Malformed,
    binary_frame,
    encode_data,
    payload_of,
    text_frame,
)

DETERMINISTIC = settings(derandomize=True, deadline=None)

CODEC = JsonCodec()


def unframed(frame: bytes, opcode: int = 1) -> bytes:
    """The payload of a single whole frame."""
    assert frame[0] == 0x80 | opcode
    size, start = frame[1], 2
    if size == 126:
        (size,), start = struct.unpack("!H", frame[2:4]), 4
    elif size == 127:
        (size,), start = struct.unpack("!Q", frame[2:10]), 10
    assert len(frame) == start + size
    return frame[start:]


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


# Frames


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x00"),
        (1, b"\x01"),
        (125, b"\x7d"),
        (126, b"\x7e\x00\x7e"),
        (127, b"\x7e\x00\x7f"),
        (65_535, b"\x7e\xff\xff"),
        (65_536, b"\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        (70_000, b"\x7f\x00\x00\x00\x00\x00\x01\x11\x70"),
    ],
)
def test_a_frame_states_its_length_in_the_shortest_form(size: int, head: bytes) -> None:
    payload = b"x" * size
    assert text_frame(payload) == b"\x81" + head + payload
    assert binary_frame(payload) == b"\x82" + head + payload
    assert payload_of(text_frame(payload)) == payload_of(binary_frame(payload)) == payload


# Pushes, replies and errors


@pytest.mark.parametrize(
    ("data", "params", "document"),
    [
        (UNSET, None, '{"event":"e","path":"/p"}'),
        (None, None, '{"event":"e","path":"/p","data":null}'),
        (UNSET, {}, '{"event":"e","path":"/p","params":{}}'),
        (0, {"a": "b"}, '{"event":"e","path":"/p","params":{"a":"b"},"data":0}'),
        ("ü", {"a": ["b", "c"]}, '{"event":"e","path":"/p","params":{"a":["b","c"]},"data":"ü"}'),
        (Raw(b'{"x": 1}'), None, '{"event":"e","path":"/p","data":{"x": 1}}'),
        (NO_DATA, None, '{"event":"e","path":"/p"}'),
        (Raw(b""), None, '{"event":"e","path":"/p"}'),
        (Raw(b"null"), None, '{"event":"e","path":"/p","data":null}'),
        ({"inner": NO_DATA}, None, '{"event":"e","path":"/p","data":{"inner":null}}'),
    ],
)
def test_a_push_holds_what_was_given_and_nothing_else(
    data: object, params: dict[str, str | list[str]] | None, document: str
) -> None:
    assert CODEC.push("e", "/p", data, params) == text_frame(document.encode())


@pytest.mark.parametrize(
    ("id", "data", "document"),
    [
        (1, UNSET, '{"id":1,"data":null}'),
        (0, None, '{"id":0,"data":null}'),
        ("", {"a": 1}, '{"id":"","data":{"a":1}}'),
        (Raw(b"1.50"), True, '{"id":1.50,"data":true}'),
        (Raw(b'"\\u0061"'), Raw(b"[1, 2]"), '{"id":"\\u0061","data":[1, 2]}'),
        (Raw(b"1e999"), NO_DATA, '{"id":1e999,"data":null}'),
        (Raw(b"1"), Raw(b""), '{"id":1,"data":null}'),
    ],
)
def test_a_reply_brings_the_id_back_and_always_has_data(
    id: object, data: object, document: str
) -> None:
    assert CODEC.reply(id, data) == text_frame(document.encode())


def test_an_error_brings_the_id_back_with_a_code_and_a_text_that_utf8_can_carry() -> None:
    frame = CODEC.error(Raw(b"-0"), 404, "Not found")
    assert frame == text_frame(b'{"id":-0,"error":{"code":404,"message":"Not found"}}')
    frame = CODEC.error("x", 400, "half \ud83d of ü")
    expected = '{"id":"x","error":{"code":400,"message":"half \ufffd of ü"}}'
    assert frame == text_frame(expected.encode())


@DETERMINISTIC
@given(st.text(), st.text(), values)
def test_a_push_is_read_as_what_was_sent(event: str, path: str, data: Any) -> None:
    document = json.loads(unframed(CODEC.push(event, path, data, None)))
    assert document == {"event": event, "path": path, "data": data}


@DETERMINISTIC
@given(st.text() | st.integers(), values)
def test_a_reply_to_a_message_carries_its_id_byte_for_byte(id: str | int, data: Any) -> None:
    sent = json.dumps(id).encode()
    message = CODEC.decode(b'{"event":"e","path":"p","id":' + sent + b"}", text=True)
    payload = unframed(CODEC.reply(message.id, data))
    assert payload.startswith(b'{"id":' + sent + b',"data":')
    assert json.loads(payload)["data"] == data


# What has no form in JSON


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Named(msgspec.Struct):
    name: str


@pytest.mark.parametrize(
    ("data", "document"),
    [
        (math.nan, b"null"),
        ([math.inf, -math.inf], b"[null,null]"),
        (b"abc", b'"YWJj"'),
        (bytearray(b"x"), b'"eA=="'),
        ((1, 2), b"[1,2]"),
        ({7}, b"[7]"),
        (decimal.Decimal("1.5"), b'"1.5"'),
        (datetime.date(2026, 1, 2), b'"2026-01-02"'),
        (uuid.UUID(int=3), b'"00000000-0000-0000-0000-000000000003"'),
        (Colour.RED, b'"red"'),
        (Point(1, 2), b'{"x":1,"y":2}'),
        (Named("n"), b'{"name":"n"}'),
        ({1: "a", 1.5: "b"}, b'{"1":"a","1.5":"b"}'),
        (10**30, b"1" + b"0" * 30),
    ],
)
def test_what_python_has_and_json_has_not_becomes_what_the_docstring_says(
    data: object, document: bytes
) -> None:
    assert CODEC.data(data) == encode_data(data) == document


def containing_itself() -> list[object]:
    circle: list[object] = []
    circle.append(circle)
    return circle


UNSENDABLE = [
    pytest.param(object(), TypeError, "type object is unsupported.*enc_hook", id="object"),
    pytest.param([range(3)], TypeError, "type range is unsupported.*convert it", id="range"),
    pytest.param({"a": UNSET}, TypeError, "UnsetType is unsupported", id="unset inside"),
    pytest.param({None: 1}, TypeError, "keys are supported.*convert the keys", id="key None"),
    pytest.param({(1, 2): 3}, TypeError, "convert the keys to str", id="key tuple"),
    pytest.param("cut \ud83d", ValueError, "half a character", id="lone surrogate"),
    pytest.param({"\udc00": 1}, ValueError, "half a character", id="lone surrogate in a key"),
    pytest.param(containing_itself(), ValueError, "contains itself", id="circle"),
    pytest.param(Raw(b"{"), ValueError, "Raw given as data is not JSON", id="raw cut short"),
    pytest.param(Raw(b"1 2"), ValueError, "not JSON: .*trailing", id="raw twice"),
    pytest.param(Raw(b'"\xff"'), ValueError, "not JSON: 'utf-8' codec", id="raw not UTF-8"),
    pytest.param(Raw(b"[" * 20_000), ValueError, "not JSON: maximum recursion", id="raw too deep"),
]


@pytest.mark.parametrize(("data", "error", "told"), UNSENDABLE)
def test_data_that_cannot_be_sent_is_refused_with_what_to_do(
    data: object, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        CODEC.push("e", "/p", data, None)
    with pytest.raises(error, match=told):
        CODEC.reply(1, data)
    with pytest.raises(error, match=told):
        CODEC.data(data)


def test_a_coroutine_in_the_data_is_told_to_be_awaited() -> None:
    async def answer() -> None: ...

    unawaited = answer()
    with pytest.raises(TypeError, match="holds a coroutine: an await is missing before the call"):
        CODEC.push("e", "/p", [unawaited], None)
    unawaited.close()


def test_an_event_that_utf8_cannot_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="half a character"):
        CODEC.push("\ud83d", "/p", UNSET, None)


def test_raw_json_in_unicode_is_passed_on_as_it_is() -> None:
    raw = Raw('{"ü" : "🎉"}'.encode())
    assert unframed(CODEC.push("e", "p", raw, None)).endswith(bytes(raw) + b"}")


def test_enc_hook_makes_encodable_what_is_not_and_its_own_errors_pass_through() -> None:
    def hook(value: object) -> object:
        if isinstance(value, range):
            return list(value)
        raise TypeError(f"my own words about {type(value).__name__}")

    codec = JsonCodec(hook)
    assert codec.data(range(3)) == b"[0,1,2]"
    with pytest.raises(TypeError, match=r"^my own words about object$"):
        codec.data(object())
    assert codec.reply(1, range(1)) == text_frame(b'{"id":1,"data":[0]}')


# A parser or a serializer in place of JSON


def dumps(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))


def test_a_parser_gets_str_of_a_text_frame_and_bytes_of_a_binary_one() -> None:
    seen: list[str | bytes] = []

    def parser(payload: str | bytes) -> dict[str, Any]:
        seen.append(payload)
        return {"event": "e", "path": "/p", "data": {1: b"x"}, "id": 7, "more": 1}

    codec = CustomCodec(parser, None)
    message = codec.decode("ü".encode(), text=True)
    assert (message.event, message.path, message.data, message.id) == ("e", "/p", {1: b"x"}, 7)
    assert message.raw == "ü".encode()
    codec.decode(b"\xff", text=False)
    assert seen == ["ü", b"\xff"]


@pytest.mark.parametrize(
    ("parsed", "reason"),
    [
        (None, "parser"),
        ([], "parser"),
        ({}, "parser"),
        ({"event": "e"}, "parser"),
        ({"event": 1, "path": "p"}, "shape"),
        ({"event": "e", "path": None}, "shape"),
        ({"event": "e", "path": "p", "id": True}, "shape"),
        ({"event": "e", "path": "p", "id": [1]}, "shape"),
        ({"event": "e", "path": "p", "id": math.nan}, "shape"),
        ({"event": "e", "path": "p", "id": -math.inf}, "shape"),
        ({"event": "e", "path": "p", "id": "\ud800"}, "shape"),
    ],
)
def test_what_a_parser_makes_must_be_a_message_whose_id_can_be_sent_back(
    parsed: Any, reason: str
) -> None:
    with pytest.raises(Malformed) as caught:
        CustomCodec(lambda _: parsed, None).decode(b"x", text=True)
    assert caught.value.reason == reason


def test_a_parser_that_raises_makes_the_message_malformed_and_is_its_cause() -> None:
    failure = ZeroDivisionError()

    def parser(payload: str | bytes) -> dict[str, Any]:
        raise failure

    with pytest.raises(Malformed) as caught:
        CustomCodec(parser, None).decode(b"x", text=False)
    assert caught.value.__cause__ is failure


@pytest.mark.parametrize(
    ("parsed", "data", "id"),
    [
        ({}, UNSET, UNSET),
        ({"data": None, "id": None}, None, UNSET),
        ({"id": 0}, UNSET, 0),
        ({"id": ""}, UNSET, ""),
        ({"id": 1.5}, UNSET, 1.5),
    ],
)
def test_members_that_a_parser_leaves_out_were_not_sent(
    parsed: dict[str, Any], data: object, id: object
) -> None:
    codec = CustomCodec(lambda _: {"event": "e", "path": "p", **parsed}, None)
    message = codec.decode(b"x", text=True)
    assert (message.data, message.id) == (data, id)


def test_lone_surrogates_in_an_event_or_path_of_a_parser_are_replaced() -> None:
    codec = CustomCodec(lambda _: {"event": "a\ud800", "path": "\udc00ü"}, None)
    message = codec.decode(b"x", text=True)
    assert (message.event, message.path) == ("a\ufffd", "\ufffdü")


def test_with_a_parser_alone_what_is_sent_stays_json() -> None:
    codec = CustomCodec(lambda _: {"event": "e", "path": "p"}, None)
    assert codec.push("e", "p", [1], None) == CODEC.push("e", "p", [1], None)
    assert codec.reply(1, None) == CODEC.reply(1, None)
    assert codec.error("a", 400, "m") == CODEC.error("a", 400, "m")
    assert codec.data({"a": b"x"}) == b'{"a":"eA=="}'


def test_with_a_serializer_alone_what_is_received_stays_json() -> None:
    codec = CustomCodec(None, dumps)
    message = codec.decode(b'{"event":"e","path":"p","id":1.50,"data":[1]}', text=True)
    assert (message.event, bytes(message.data), bytes(message.id)) == ("e", b"[1]", b"1.50")
    with pytest.raises(Malformed):
        codec.decode(b"\xff", text=False)


def test_a_serializer_that_returns_str_gives_text_frames() -> None:
    codec = CustomCodec(None, dumps)
    frame = codec.push("e", "/p", {"a": (1,)}, {"x": "y"})
    assert frame == text_frame(b'{"event":"e","path":"/p","params":{"x":"y"},"data":{"a":[1]}}')
    assert codec.push("e", "/p", UNSET, None) == text_frame(b'{"event":"e","path":"/p"}')
    assert codec.push("e", "/p", NO_DATA, {}) == text_frame(
        b'{"event":"e","path":"/p","params":{}}'
    )
    assert codec.push("e", "/p", None, None) == text_frame(b'{"event":"e","path":"/p","data":null}')
    assert codec.reply("i", UNSET) == text_frame(b'{"id":"i","data":null}')
    assert codec.reply(Raw(b'"i"'), Raw(b"[1]")) == text_frame(b'{"id":"i","data":[1]}')
    assert codec.reply(1, NO_DATA) == text_frame(b'{"id":1,"data":null}')
    assert codec.error(Raw(b"7"), 422, "no \ud800") == text_frame(
        b'{"id":7,"error":{"code":422,"message":"no \\ufffd"}}'
    )


@pytest.mark.parametrize("document", [b"\x01\xff", bytearray(b"\x01\xff"), memoryview(b"\x01\xff")])
def test_a_serializer_that_returns_bytes_gives_binary_frames(document: Any) -> None:
    assert CustomCodec(None, lambda _: document).push("e", "p", 1, None) == binary_frame(
        b"\x01\xff"
    )


def test_a_serializer_gets_plain_objects_and_bytes_as_they_are() -> None:
    seen: list[dict[str, Any]] = []

    def serializer(message: dict[str, Any]) -> bytes:
        seen.append(message)
        return b""

    def hook(value: object) -> object:
        if isinstance(value, range):
            return list(value)
        raise NotImplementedError

    codec = CustomCodec(None, serializer, hook)
    data = {1: b"x", "p": Point(1, 2), "s": {3}, "d": datetime.date(2026, 1, 2), "r": range(1)}
    codec.push("e", "p", data, {"a": ["b"]})
    codec.push("e", "p", Raw(b'{"k": 1}'), None)
    plain = {1: b"x", "p": {"x": 1, "y": 2}, "s": [3], "d": "2026-01-02", "r": [0]}
    assert [message["data"] for message in seen] == [plain, {"k": 1}]
    assert seen[0]["params"] == {"a": ["b"]}


@pytest.mark.parametrize(
    ("data", "error", "told"),
    [
        (object(), TypeError, "enc_hook"),
        (containing_itself(), ValueError, "contains itself"),
        (Raw(b"{"), ValueError, "not JSON"),
        (Raw(b"1e999"), ValueError, "out of range"),
    ],
)
def test_a_serializer_is_not_asked_for_what_cannot_be_made_plain(
    data: object, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        CustomCodec(None, dumps).push("e", "p", data, None)


def test_a_serializer_must_return_what_a_frame_can_carry() -> None:
    wrong: Any = 5
    with pytest.raises(TypeError, match="message_serializer returned int, not str or bytes"):
        CustomCodec(None, lambda _: wrong).push("e", "p", 1, None)
    with pytest.raises(ValueError, match="half a character"):
        CustomCodec(None, lambda _: "\ud800").push("e", "p", 1, None)


def test_between_instances_the_data_is_json_whatever_the_serializer() -> None:
    assert CustomCodec(None, lambda _: b"").data([1, None]) == b"[1,null]"


def test_both_codecs_are_codecs() -> None:
    codecs: list[Codec] = [JsonCodec(), CustomCodec(None, None)]
    assert [codec.data(1) for codec in codecs] == [b"1", b"1"]
    assert codecs[0].push("e", "p", 1, None) == codecs[1].push("e", "p", 1, None)


def test_an_id_that_has_no_json_form_is_refused_in_an_error_reply_too() -> None:
    for refused in (CODEC.reply, lambda id, data: CODEC.error(id, 500, data)):
        with pytest.raises(TypeError):
            refused(object(), "Internal Error")


def test_raw_data_that_is_none_is_null_on_the_bus() -> None:
    assert CODEC.data(Raw(b"")) == b"null"
    assert CODEC.data(Raw(b"[1]")) == b"[1]"


@pytest.mark.parametrize("codec", [JsonCodec(), CustomCodec(None, str, None)], ids=["json", "own"])
@pytest.mark.parametrize(("event", "path"), [("e", {"n": 1}), (None, "/"), ("e", b"/")])
def test_event_and_path_are_text(codec: Codec, event: Any, path: Any) -> None:
    with pytest.raises(TypeError, match=r"is no str: .*\(event, path, data\)"):
        codec.push(event, path, None, None)
