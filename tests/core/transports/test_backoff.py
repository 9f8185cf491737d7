"""Delays grow to a bound and are drawn from the whole range below it."""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING

from wsrooms.transports.backoff import backoff

if TYPE_CHECKING:
    import pytest


def test_the_bound_doubles_from_the_first_to_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    monkeypatch.setattr(random, "uniform", uniform)
    assert list(islice(backoff(), 7)) == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert {low for low, _ in bounds} == {0}


def test_the_bounds_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    assert list(islice(backoff(1, 5), 5)) == [1, 2, 4, 5, 5]


def test_a_fleet_does_not_come_back_together() -> None:
    delays = {tuple(islice(backoff(), 5)) for _ in range(20)}
    assert len(delays) == 20
    assert all(0 <= delay <= 1 for row in delays for delay in row)


def test_it_never_ends() -> None:
    assert len(list(islice(backoff(), 10_000))) == 10_000
