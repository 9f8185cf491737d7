"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["backoff"]


def backoff(first: float = 0.05, most: float = 1.0) -> Iterator[float]:
    """Delays for ever, each drawn from 0 to a bound that doubles from ``first`` to ``most``.

    Drawing from the whole range ("full jitter") keeps a fleet that lost its
    broker together from coming back together.
    """
    bound = first
    while True:
        yield random.uniform(0, bound)
        bound = min(most, bound * 2)
