"""Frames in, frames out: the server against a slow reading of the same bytes.

The reference is ``fuzzing/frames_reference.py``. For every stream of bytes it says which
replies, pushes and pongs must come, in which order, which CLOSE ends it and which drops
are counted, however the stream is cut into segments. ``WSROOMS_FUZZ=20`` looks at twenty
times as many; ``tools/fuzz.py`` runs on its own.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.hard.fuzzing.frames_bench import Bench, Seen, difference
from tests.core.hard.fuzzing.frames_reference import BINARY, PING, TEXT, judge
from tests.core.hard.fuzzing.frames_run import fuzz
from tests.core.hard.fuzzing.frames_streams import APPS, Stream, frame, make_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

TIMES = int(os.environ.get("WSROOMS_FUZZ", "1"))


@pytest.mark.timeout(300 * TIMES)
def test_server_and_reference_agree_about_thousands_of_streams() -> None:
    outcome = fuzz("ci", 8_000 * TIMES)
    assert not outcome.findings, f"seed ci, {outcome.findings[0]}"
    assert outcome.unsure < outcome.streams / 100


@pytest.fixture(scope="module")
def bench() -> Iterator[tuple[asyncio.Runner, Bench]]:
    with asyncio.Runner() as runner:
        running = Bench().running()
        yield runner, runner.run(running.__aenter__())
        runner.run(running.__aexit__(None, None, None))


@pytest.mark.timeout(300 * TIMES)
@settings(
    derandomize=True,
    deadline=None,
    max_examples=60 * TIMES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.randoms(use_true_random=False))
def test_server_and_reference_agree_about_what_hypothesis_draws(
    bench: tuple[asyncio.Runner, Bench], random: Random
) -> None:
    runner, running = bench
    stream = make_stream(random)
    told = runner.run(running.check(stream))
    assert told is None, (told, stream)


# --- the fuzzer itself: it notices whatever a server may do wrong ---

ASKED = (
    b'{"event":"echo","path":"/e","id":1,"data":"a"}',
    b'{"event":"push","path":"/e","id":2,"data":[]}',
    b'{"event":"wait","path":"/e","id":3}',
)
PLAIN = Stream(
    "small",
    (
        frame(ASKED[0], TEXT, mask=b"abcd"),
        frame(b"one", PING),
        frame(ASKED[1], BINARY, mask=b"\0\xff\x80\1"),
        frame(b"\xff", BINARY),
        frame(b"two", PING),
        frame(ASKED[2], TEXT),
    ),
)
REPLY = b'\x81\x13{"id":1,"data":"a"}'
PUSH = b'\x81\x28{"event":"pushed","path":"/p","data":[]}'
PONGS = b"\x8a\x03one", b"\x8a\x03two"

TAMPERED: dict[str, Callable[[Seen], Seen]] = {
    "a lost reply": lambda seen: changed(seen, REPLY, b""),
    "a reply twice": lambda seen: changed(seen, REPLY, REPLY * 2),
    "another reply": lambda seen: changed(seen, b'"a"', b'"b"'),
    "a reply in a binary frame": lambda seen: changed(seen, REPLY, b"\x82" + REPLY[1:]),
    "a length that is too wide": lambda seen: changed(seen, REPLY[:2], b"\x81\x7e\0\x13"),
    "a masked frame": lambda seen: changed(seen, REPLY[:2], b"\x81\x93\0\0\0\0"),
    "a lost pong": lambda seen: changed(seen, PONGS[0], b""),
    "a pong twice": lambda seen: changed(seen, PONGS[1], PONGS[1] * 2),
    "a pong before an earlier reply": lambda seen: changed(
        seen, REPLY + PONGS[0], PONGS[0] + REPLY
    ),
    "a reply before an earlier pong": lambda seen: changed(seen, PONGS[0] + PUSH, PUSH + PONGS[0]),
    "a CLOSE": lambda seen: seen._replace(output=seen.output + b"\x88\x02\x03\xe8"),
    "an end that is cut off": lambda seen: seen._replace(output=seen.output[:-1]),
    "a drop too many": lambda seen: counted(seen, "dropped"),
    "a drop of another kind": lambda seen: counted(seen, "dropped_utf8", -1),
    "a message too many": lambda seen: counted(seen, "messages_in"),
    "a line in the log": lambda seen: seen._replace(logged=["oh"]),
    "no on_disconnect": lambda seen: seen._replace(ended=[]),
    "two on_disconnect": lambda seen: seen._replace(ended=[1006, 1006]),
    "another code for on_disconnect": lambda seen: seen._replace(ended=[1000]),
}


def changed(seen: Seen, old: bytes, new: bytes) -> Seen:
    assert seen.output.count(old) == 1
    return seen._replace(output=seen.output.replace(old, new))


def counted(seen: Seen, counter: str, by: int = 1) -> Seen:
    return seen._replace(counted=seen.counted | {counter: seen.counted[counter] + by})


@pytest.mark.parametrize("tampered", TAMPERED.values(), ids=TAMPERED)
def test_the_fuzzer_notices(
    bench: tuple[asyncio.Runner, Bench], tampered: Callable[[Seen], Seen]
) -> None:
    runner, running = bench
    verdict = judge(PLAIN.bytes, APPS["small"])
    seen = runner.run(running.run(PLAIN))
    assert difference(verdict, seen) is None
    assert difference(verdict, tampered(seen)) is not None
