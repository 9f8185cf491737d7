"""What comes over a bus against a naive reading of it; see ``fuzzing/envelopes.py``."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.hard.fuzzing import envelopes
from wsrooms.broadcast import ForeignPayload, read_payload
from wsrooms.transports.envelope import parse, wrap

TIMES = int(os.environ.get("WSROOMS_FUZZ", "1"))

steady = settings(
    derandomize=True,
    deadline=None,
    max_examples=100 * TIMES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.timeout(300 * TIMES)
def test_envelopes_and_payloads_are_read_as_the_reference_reads_them() -> None:
    for number in range(5_000 * TIMES):
        told = envelopes.check(Random(f"ci/{number}"))
        assert told is None, f"seed ci, case {number}: {told}"


@pytest.mark.timeout(300 * TIMES)
@steady
@given(st.randoms(use_true_random=False))
def test_reference_and_reader_agree_about_what_hypothesis_draws(random: Random) -> None:
    told = envelopes.check(random)
    assert told is None, told


@steady
@given(st.text(st.characters() | st.sampled_from('{}[]":,\\ud1 \ud800')))
def test_any_text_is_read_or_foreign(text: str) -> None:
    envelope = parse(text)
    assert envelope is None or wrap(*envelope) == text
    try:
        payload = read_payload(text)
    except ForeignPayload:
        return
    assert read_payload(envelopes.as_sent(payload)) == payload
