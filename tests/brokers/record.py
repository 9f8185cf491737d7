"""Which brokers this run of the tests had, and what becomes of a test that has none."""

from __future__ import annotations

import os
from collections import Counter
from typing import NoReturn

import pytest

REQUIRE = "WSROOMS_REQUIRE_DOCKER"

#: The brokers that ran, and how often each was started.
started: Counter[str] = Counter()
#: Why a test had none, and how many had none for that reason.
lacking: Counter[str] = Counter()


def required() -> bool:
    """Whether every broker has to be here, as on CI."""
    return os.environ.get(REQUIRE, "") not in ("", "0")


BUILT_WITHOUT = "is built without"


def unable(name: str, what: str) -> NoReturn:
    """Skip the test of something that the broker of that name was built without."""
    reason = f"{name} {BUILT_WITHOUT} {what}"
    lacking[reason] += 1
    pytest.skip(reason)


def missing(reason: str) -> NoReturn:
    """Skip the test that asks for a broker; where all have to be here, fail it.

    Every test without a broker ends here, and nowhere else.
    """
    lacking[reason] += 1
    if required():
        pytest.fail(f"{reason}, and {REQUIRE} is set", pytrace=False)
    pytest.skip(reason)
