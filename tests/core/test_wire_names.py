"""Which rooms, close codes and close reasons may be sent, and what is made of other text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsrooms.errors import InvalidRoom
from wsrooms.wire import check_room, cut_reason, printable, shown, valid_close_code

DETERMINISTIC = settings(derandomize=True, deadline=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("ü🎉", "ü🎉"),
        ("\ud83c\udf89", "🎉"),
        ("a\ud800b", "a\ufffdb"),
        ("\udfff", "\ufffd"),
    ],
)
def test_printable_text_is_what_utf8_can_carry(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize(
    ("reason", "cut"),
    [
        ("", ""),
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("x" * 122 + "é", "x" * 122),
        ("x" * 121 + "é", "x" * 121 + "é"),
        ("🎉" * 31, "🎉" * 30),
        ("half \ud83d", "half \ufffd"),
    ],
)
def test_a_close_reason_is_cut_to_123_bytes_at_a_character(reason: str, cut: str) -> None:
    assert cut_reason(reason) == cut


@DETERMINISTIC
@given(st.text(st.characters() | st.just("\ud800"), max_size=200))
def test_a_cut_reason_is_the_longest_beginning_that_fits(reason: str) -> None:
    cut = cut_reason(reason)
    whole = printable(reason)
    assert whole.startswith(cut)
    assert len(cut.encode()) <= 123
    assert cut == whole or len(whole[: len(cut) + 1].encode()) > 123


def test_only_codes_that_a_server_may_send_are_close_codes() -> None:
    valid = {code for code in range(-1, 70_000) if valid_close_code(code)}
    assert valid == {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


@pytest.mark.parametrize("code", [True, 1000.0, "1000", None])
def test_what_is_no_int_is_no_close_code(code: Any) -> None:
    assert not valid_close_code(code)


@pytest.mark.parametrize(
    "room", ["a", " ", "/chat/general", "a.*>b", "\0", "ü🎉", "x" * 1024, "é" * 512, "🎉" * 256]
)
def test_any_text_of_up_to_1024_bytes_is_a_room(room: str) -> None:
    assert check_room(room) is room


@pytest.mark.parametrize(
    ("room", "reason"),
    [
        ("", "it is empty"),
        (None, "it is NoneType, not str"),
        (b"room", "it is bytes, not str"),
        ("a\ud800", "lone surrogate"),
        ("x" * 1025, "1025 bytes long, and the limit is 1024"),
        ("é" * 513, "1026 bytes long"),
    ],
)
def test_no_other_thing_is_a_room(room: object, reason: str) -> None:
    with pytest.raises(InvalidRoom, match=reason) as caught:
        check_room(room)
    assert caught.value.room is room


def test_the_limit_of_a_room_name_can_be_set() -> None:
    assert check_room("abc", 3) == "abc"
    with pytest.raises(InvalidRoom, match="4 bytes long, and the limit is 3"):
        check_room("abcd", 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chat /général/1 ☃", "chat /général/1 ☃"),
        ("a\r\n\x1b[31m\x00", r"a\r\n\x1b[31m\x00"),
        ("a\u2028b\u202ec\ud800", r"a\u2028b\u202ec\ud800"),
        (r"a\n", r"a\\n"),
        ("x" * 300, "x" * 200),
    ],
)
def test_what_a_log_shows_of_a_clients_text_is_one_printable_line(text: str, expected: str) -> None:
    assert shown(text) == expected
    assert shown(text).isprintable()
