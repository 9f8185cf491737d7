"""What a client sent becomes a message, or is malformed; nothing else comes out."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from wsrooms.inbound import (
    NO_DATA,
    UNDECODABLE,
    Inbound,
    Malformed,
    decode_data,
    mend_surrogates,
    plain_id,
    read_message,
)

DETERMINISTIC = settings(derandomize=True, deadline=None)

DEEP = b"[" * 10_000 + b"]" * 10_000


def read(document: str | bytes) -> Inbound:
    payload = document.encode() if isinstance(document, str) else document
    return read_message(payload, isinstance(document, str))


def malformed(document: str | bytes) -> str:
    with pytest.raises(Malformed) as caught:
        read(document)
    return caught.value.reason


def id_bytes(message: Inbound) -> bytes:
    assert isinstance(message.id, Raw)
    return bytes(message.id)


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


# The shape


def test_event_path_data_and_id_are_read_and_the_rest_is_ignored() -> None:
    message = read('{"x":[{}], "event":"e", "y":null, "path":"/p?q", "data":[1, 2], "id":"7"}')
    assert (message.event, message.path) == ("e", "/p?q")
    assert decode_data(message.data) == [1, 2]
    assert id_bytes(message) == b'"7"'


def test_data_that_was_not_given_is_unset_and_null_is_data() -> None:
    assert read('{"event":"e","path":"p"}').data is UNSET
    assert bytes(read('{"event":"e","path":"p","data":null}').data) == b"null"


def test_the_payload_is_kept_as_it_was_received() -> None:
    document = b' {"event":"\\ud83d","path":"p"} '
    assert read(document).raw == document


@pytest.mark.parametrize(
    "document",
    [
        "",
        " ",
        "{",
        "}",
        "nonsense",
        '{"event":"e","path":"p"',
        '{"event":"e","path":"p"}x',
        '{"event":"e","path":"p",}',
        "{'event':'e','path':'p'}",
        '\ufeff{"event":"e","path":"p"}',
        '{"event":"e","path":"p","data":NaN}',
        '{"event":"e","path":"p","data":Infinity}',
        '{"event":"e","path":"p","data":01}',
        '{"event":"e","path":"p","data":1.}',
        '{"event":"e","path":"p","data":.5}',
        '{"event":"e","path":"p","data":+1}',
        '{"event":"e","path":"p","data":-}',
        '{"event":"e","path":"p","data":tru}',
        '{"event":"e","path":"p","data":[1,]}',
        '{"event":"e","path":"p","data":"a\nb"}',
        '{"event":"e","path":"p","data":"a\0b"}',
        '{"event":"e","path":"p","data":"\\x41"}',
        '{"event":"e","path":"p","data":"\\u12"}',
        '{"event":"e","path":"p","data":"\\ud8"}',
        '{"event":"e","path":"p","id":-}',
        '{"event":"e","path":"p","id":tru}',
        '{"event":"e","path":"p","other":[1,]}',
        '{"event":5,"path":"p","data":[1,]}',
    ],
)
def test_what_is_not_json_is_malformed(document: str) -> None:
    assert malformed(document) == "json"


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "null",
        '"event"',
        "{}",
        '{"event":"e"}',
        '{"path":"p"}',
        '{"event":null,"path":"p"}',
        '{"event":5,"path":"p"}',
        '{"event":"e","path":["p"]}',
        '{"Event":"e","path":"p"}',
        '{"event":"e","path":"p","id":true}',
        '{"event":"e","path":"p","id":false}',
        '{"event":"e","path":"p","id":[1]}',
        '{"event":"e","path":"p","id":{"a":1}}',
    ],
)
def test_json_of_another_shape_is_malformed(document: str) -> None:
    assert malformed(document) == "shape"


def test_a_name_written_with_escapes_is_the_same_name() -> None:
    message = read('{"\\u0065vent":"e","\\u0070ath":"p","dat\\u0061":1,"i\\u0064":2}')
    assert (message.event, decode_data(message.data), id_bytes(message)) == ("e", 1, b"2")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ('{"event":"a","path":"p","event":"b"}', ("b", "p", None, None)),
        ('{"event":5,"path":"p","event":"b"}', ("b", "p", None, None)),
        ('{"event":"a","path":[{}],"path":"q","data":1,"id":2}', ("a", "q", 1, b"2")),
        ('{"event":"a","path":"p","data":1,"data":2}', ("a", "p", 2, None)),
        ('{"event":"a","path":"p","data":1,"data":null}', ("a", "p", None, None)),
        ('{"event":"a","path":"p","id":true,"id":"x"}', ("a", "p", None, b'"x"')),
        ('{"event":"a","path":"p","id":1,"id":null}', ("a", "p", None, None)),
        ('{"event":null,"event":"a","path":"p","id":1,"id":-2}', ("a", "p", None, b"-2")),
    ],
)
def test_of_a_repeated_member_the_last_one_counts(document: str, expected: tuple[Any, ...]) -> None:
    message = read(document)
    data = None if message.data is UNSET else decode_data(message.data)
    id = None if message.id is UNSET else id_bytes(message)
    assert (message.event, message.path, data, id) == expected


@pytest.mark.parametrize(
    "document",
    [
        '{"event":"a","path":"p","event":5}',
        '{"event":5,"path":"p","event":null}',
        '{"event":"a","path":"p","id":1,"id":true}',
    ],
)
def test_a_good_member_is_no_excuse_for_a_bad_one_after_it(document: str) -> None:
    assert malformed(document) == "shape"


# Ids


@pytest.mark.parametrize(
    "id",
    [
        "0",
        "-0",
        '""',
        "1.50",
        "-1e5",
        "1E+2",
        "1e999",
        "123456789012345678901234567890",
        "9" * 5000,
        '"a\\u0062c"',
        '"\\/"',
        '"\\\\ud800"',
        '"ü🎉"',
        '"\\ud83c\\udf89"',
        '"\\ufffd"',
    ],
)
def test_an_id_is_kept_byte_for_byte(id: str) -> None:
    assert id_bytes(read(f'{{"event":"e","path":"p","id" : {id} , "x":1}}')) == id.encode()


@pytest.mark.parametrize(
    "id", ['"\\ud83d"', '"\\uD83D"', '"a\\udc00b"', '"\\ufffd\\udfff"', '"\\\\\\ud800ü"']
)
def test_an_id_with_a_lone_surrogate_comes_back_as_it_was(id: str) -> None:
    document = f'{{ "data" : ["\\ud800"] , "id" : 1 , "event":"e","path":"p", "id" :\t{id} }}'
    message = read(document)
    assert id_bytes(message) == id.encode()
    assert decode_data(message.data) == ["\ufffd"]


def test_null_is_no_id() -> None:
    assert read('{"event":"e","path":"p","id":null}').id is UNSET


@DETERMINISTIC
@given(st.text() | numbers)
def test_any_string_or_number_is_an_id_that_keeps_its_bytes_and_its_value(
    id: str | int | float,
) -> None:
    encoded = json.dumps(id).encode()
    message = read(b'{"event":"e","path":"p","id":' + encoded + b"}")
    assert id_bytes(message) == encoded
    if not isinstance(id, str) or id.isascii():
        assert plain_id(message.id) == id


@pytest.mark.parametrize(
    ("id", "value"),
    [
        (Raw(b"1e999"), math.inf),
        (Raw(b"-1e999"), -math.inf),
        (Raw(b"1" * 5000), math.inf),
        (Raw(b"12345678901234567890123"), 12345678901234567890123),
        (Raw(b'"x"'), "x"),
        ("x", "x"),
        (1.5, 1.5),
    ],
)
def test_an_id_has_a_value_in_python(id: object, value: object) -> None:
    assert plain_id(id) == value


# UTF-8


@pytest.mark.parametrize(
    "document",
    [
        b'{"event":"\xff","path":"p"}',
        b'{"event":"e","path":"p","data":"\xff"}',
        b'{"event":"e","path":"p","data":"\xed\xa0\x80"}',
        b'{"event":"e","path":"p","data":"\xc0\xaf"}',
        b'{"event":"e","path":"p","other":"\xf0\x9f\x8e"}',
        b'{"event":"e","path":"p","id":"\xff"}',
    ],
)
def test_a_binary_frame_is_checked_whole(document: bytes) -> None:
    assert malformed(document) == "utf8"


def test_a_bad_byte_in_a_text_frame_is_never_an_exception_of_another_kind() -> None:
    with pytest.raises(Malformed):
        read_message(b'{"event":"\xff","path":"p"}', True)


def test_utf8_in_a_binary_frame_is_read() -> None:
    message = read('{"event":"ü","path":"/🎉","data":"ß"}'.encode())
    assert (message.event, message.path, decode_data(message.data)) == ("ü", "/🎉", "ß")


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (r"\ud800", "\ufffd"),
        (r"\uDFFF", "\ufffd"),
        (r"\udbff\ud800", "\ufffd\ufffd"),
        (r"\udc00\ud800", "\ufffd\ufffd"),
        (r"\ud83c\udf89", "🎉"),
        (r"\uD83C\uDF89", "🎉"),
        (r"\ud83c\ud83c\udf89", "\ufffd🎉"),
        (r"\ud83c\udf89\udf89", "🎉\ufffd"),
        (r"\ud83cx\udf89", "\ufffdx\ufffd"),
        (r"\\ud800", "\\ud800"),
        (r"\\\ud800", "\\\ufffd"),
        (r"\\\\ud800", "\\\\ud800"),
        (r"\"\ud800\"", '"\ufffd"'),
        (r"\ud7ff\ue000", "\ud7ff\ue000"),
    ],
)
def test_lone_surrogate_escapes_become_replacement_characters(sent: str, meant: str) -> None:
    message = read(f'{{"event":"{sent}","path":"{sent}","data":{{"{sent}":"{sent}"}}}}')
    assert (message.event, message.path) == (meant, meant)
    assert decode_data(message.data) == {meant: meant}


@DETERMINISTIC
@given(st.text(st.characters() | st.sampled_from('\ud800\udbff\udc00\udfff\\"/u')))
def test_whatever_text_javascript_sends_is_read_as_it_would_read_it_with_halves_replaced(
    text: str,
) -> None:
    document = json.dumps({"event": "e", "path": "p", "data": text})
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert decode_data(read(document).data) == whole


@DETERMINISTIC
@given(values)
def test_what_holds_no_lone_surrogate_is_not_mended(value: Any) -> None:
    document = json.dumps(value).encode()
    assert mend_surrogates(document) == document


# Depth and range


@pytest.mark.parametrize(
    ("document", "id"),
    [
        (b'{"event":"e","path":"p","data":' + DEEP + b',"id":5}', b"5"),
        (b'{"event":"e","path":"p","id":5,"data":' + DEEP + b"}", b"5"),
        (b'{"data":' + DEEP + b',"id":"],}","path":"p","event":"e"}', b'"],}"'),
        (
            b' { "event" : "e" , "path" : "p" , "data" : ' + DEEP + b' , "id" : -1.5e3 } ',
            b"-1.5e3",
        ),
        (b'{"x":true,"y":null,"event":"e","path":"p","id":1,"id":2,"data":' + DEEP + b"}", b"2"),
        (b'{"data":false,"event":"e","path":"p","id":"\\"","data":' + DEEP + b"}", b'"\\""'),
        (b'{"event":"e","path":"p","data":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001, None),
        (b'{"event":"e","path":"p","data":' + DEEP + b',"id":null}', None),
    ],
)
def test_of_data_nested_too_deep_only_the_members_around_it_are_read(
    document: bytes, id: bytes | None
) -> None:
    message = read(document)
    assert (message.event, message.path) == ("e", "p")
    assert message.data is UNDECODABLE
    assert message.id is UNSET if id is None else id_bytes(message) == id
    with pytest.raises(ValueError, match="nested too deep"):
        decode_data(message.data)


def test_data_that_comes_again_after_deep_data_counts() -> None:
    message = read(b'{"event":"e","path":"p","data":' + DEEP + b',"data":7}')
    assert decode_data(message.data) == 7


def test_an_id_with_a_lone_surrogate_beside_deep_data_is_mended() -> None:
    message = read(b'{"event":"e","path":"p","id":"\\ud800","data":' + DEEP + b"}")
    assert id_bytes(message) == b'"\\ufffd"'


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (DEEP, "shape"),
        (b'{"event":"e","path":"p","other":' + DEEP + b"}", "json"),
        (b'{"event":"e","path":"p","id":' + DEEP + b"}", "json"),
        (b'{"event":' + DEEP + b',"path":"p"}', "json"),
        (b'{"event":"e","path":"p","data":' + b"[" * 10_000 + b"}", "json"),
        (b'{"event":"e","path":"p","data":' + DEEP + b',"id":5', "json"),
        (b'{"event":"e","path":"p","data":' + DEEP + b',"id":true}', "shape"),
        (b'{"event":5,"path":"p","data":' + DEEP + b"}", "json"),
        (b'{"event":"e","data":' + DEEP + b"}", "shape"),
        (b'{"event":"e","path":"p","data":' + DEEP + b',"id":1.2.3}', "json"),
    ],
)
def test_what_is_deep_and_no_message_is_malformed(document: bytes, reason: str) -> None:
    assert malformed(document) == reason


@pytest.mark.parametrize("data", ["1e999", "-1e999", "[1e999]", '{"a":1e400}', "1" * 5000])
def test_numbers_beyond_all_range_are_read_and_cannot_be_decoded(data: str) -> None:
    message = read(f'{{"event":"e","path":"p","data":{data},"id":1}}')
    assert bytes(message.data) == data.encode()
    with pytest.raises(ValueError, match="out of range"):
        decode_data(message.data)


def test_data_that_a_deeper_stack_cannot_decode_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        decode_data(Raw(DEEP))


# Properties


@DETERMINISTIC
@given(st.binary(), st.booleans())
def test_any_bytes_are_a_message_or_malformed(payload: bytes, text: bool) -> None:
    try:
        message = read_message(payload, text)
    except Malformed:
        return
    assert message.raw == payload


FRAGMENTS = st.sampled_from(
    [
        *'{}[],:" \t\n01-.eE+\\u',
        '"event"',
        '"path"',
        '"data"',
        '"id"',
        '"\\ud83d"',
        "null",
        "true",
        "1e999",
        "é",
        "\0",
    ]
)


@settings(DETERMINISTIC, max_examples=400)
@given(
    st.permutations(['"event":"e"', '"path":"p"', '"data":[1,{"a":"\\ud800"}]', '"id":"x"']),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 3), FRAGMENTS), max_size=4),
)
def test_what_is_read_of_a_damaged_message_is_valid_json_and_of_its_shape(
    members: list[str], damage: list[tuple[int, int, str]]
) -> None:
    document = "{" + ",".join(members) + "}"
    for position, length, fragment in damage:
        document = document[:position] + fragment + document[position + length :]
    try:
        message = read(document)
    except Malformed:
        return

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    whole = json.loads(document, parse_constant=refuse)
    assert isinstance(whole, dict)
    assert message.event == replaced(whole["event"])
    assert message.path == replaced(whole["path"])
    if message.data is UNSET:
        assert "data" not in whole
    else:
        json.loads(bytes(message.data), parse_constant=refuse)
        assert not re.search(rb"(?<!\\)(\\\\)*\\ud[89ab][0-9a-f]{2}(?!\\ud)", bytes(message.data))
    assert (message.id is UNSET) == (whole.get("id") is None)


def replaced(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@DETERMINISTIC
@given(st.text(), st.text(), values, st.booleans())
def test_a_message_round_trips(event: str, path: str, data: Any, escaped: bool) -> None:
    document = json.dumps({"event": event, "path": path, "data": data}, ensure_ascii=escaped)
    message = read(document.encode())
    assert (message.event, message.path) == (event, path)
    assert json.loads(bytes(message.data)) == data


def test_the_data_of_a_message_without_any_is_null_inside_of_something_else() -> None:
    assert bytes(NO_DATA) == b"null"
