"""The router against a naive reading of its docstring; see ``fuzzing/routes.py``."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.hard.fuzzing import routes

TIMES = int(os.environ.get("WSROOMS_FUZZ", "1"))


@pytest.mark.timeout(300 * TIMES)
def test_router_and_reference_agree_about_thousands_of_lookups() -> None:
    for number in range(600 * TIMES):
        told = routes.check(Random(f"ci/{number}"))
        assert told is None, f"seed ci, case {number}: {told}"


@pytest.mark.timeout(300 * TIMES)
@settings(
    derandomize=True,
    deadline=None,
    max_examples=40 * TIMES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.randoms(use_true_random=False))
def test_router_and_reference_agree_about_what_hypothesis_draws(random: Random) -> None:
    told = routes.check(random)
    assert told is None, told


@pytest.mark.timeout(300 * TIMES)
def test_a_path_of_twice_the_length_takes_about_twice_the_steps() -> None:
    for number in range(150 * TIMES):
        told = routes.check_cost(Random(f"ci/{number}"))
        assert told is None, f"seed ci, case {number}: {told}"
