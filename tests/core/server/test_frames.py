"""Frames are measured and unmasked as RFC 6455 has them, whoever provides the fast way."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from wsrooms.server import frames
from wsrooms.server.frames import close_is_in, frame_size, unmask

DETERMINISTIC = settings(derandomize=True, deadline=None)


def frame(size: int, *, opcode: Opcode = Opcode.TEXT, mask: bool = True) -> bytes:
    return Frame(opcode, b"x" * size).serialize(mask=mask)


@DETERMINISTIC
@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_unmasking_lays_the_mask_over_the_data_again_and_again(data: bytes, mask: bytes) -> None:
    expected = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    assert unmask(data, mask) == expected
    assert frames._unmask(data, mask) == expected


def test_the_library_unmasks_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    speedups = ModuleType("websockets.speedups")
    speedups.apply_mask = lambda data, mask: frames._unmask(data, mask)  # type: ignore[attr-defined]  # made here
    monkeypatch.setitem(sys.modules, "websockets.speedups", speedups)
    assert frames._fastest_unmask() is speedups.apply_mask


@pytest.mark.parametrize(
    "theirs",
    [
        lambda data, mask: data,
        lambda data: data,
        None,
    ],
    ids=["means something else", "takes something else", "is gone"],
)
def test_ours_unmasks_where_the_library_cannot(
    theirs: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    speedups = ModuleType("websockets.speedups")
    if theirs is not None:
        speedups.apply_mask = theirs  # type: ignore[attr-defined]  # made here
    monkeypatch.setitem(sys.modules, "websockets.speedups", speedups)
    assert frames._fastest_unmask() is frames._unmask


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_the_size_of_a_frame_is_known_from_its_length_on(size: int, mask: bool) -> None:
    whole = frame(size, mask=mask)
    behind = b"before" + whole + b"after"
    assert frame_size(behind, 6) == len(whole)
    known_at = 2 if size < 126 else 4 if size < 65_536 else 10
    for seen in range(known_at):
        assert frame_size(whole[:seen], 0) == 0
    assert frame_size(whole[:known_at], 0) == len(whole)


def test_a_close_is_found_behind_frames_and_not_within_one() -> None:
    close = Frame(Opcode.CLOSE, b"").serialize(mask=True)
    texts = frame(5) + frame(300)
    assert close_is_in(texts + close, 0)
    assert close_is_in(b"skipped" + close[:1], 7)
    assert not close_is_in(texts, 0)
    assert not close_is_in(b"", 0)
    looks_like_one = Frame(Opcode.TEXT, close * 3).serialize(mask=False)
    assert not close_is_in(looks_like_one, 0)
    assert not close_is_in(frame(300)[:100] + b"", 0)
    assert not close_is_in(frame(300)[:3], 0)
