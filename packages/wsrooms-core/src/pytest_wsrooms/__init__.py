"""The pytest plugin of wsrooms: a seed for tests that draw something.

A package of its own beside ``wsrooms``, because pytest loads it in every project where
wsrooms is installed: it imports nothing of wsrooms, works with an old pytest too, and
whoever does not use it does not notice it. All of ``wsrooms.testing`` works without it.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator
from typing import Any

import pytest

__all__ = ["pytest_addoption", "pytest_runtest_makereport", "wsrooms_seed"]

# Where a test's seed is kept: every pytest has it (a stash only those from 7.0 on), and a
# JUnit report shows it.
_SEED = "wsrooms_seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--wsrooms-seed``."""
    parser.getgroup("wsrooms").addoption(
        "--wsrooms-seed",
        type=int,
        metavar="N",
        help="what the fixture wsrooms_seed gives, to run a failed test again as it was",
    )


@pytest.fixture
def wsrooms_seed(request: pytest.FixtureRequest) -> int:
    """A seed, for ``run(main(), seed=wsrooms_seed)`` or ``Cluster(app, seed=wsrooms_seed)``.

    Drawn anew for each test, unless ``--wsrooms-seed`` says which. The report of a test
    that fails shows it.
    """
    given: int | None = request.config.getoption("--wsrooms-seed")
    seed = secrets.randbelow(2**32) if given is None else given
    request.node.user_properties.append((_SEED, seed))
    return seed


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Show the seed where a test that has one fails."""
    outcome = yield
    if outcome.excinfo is not None:  # whoever has failed here is to be blamed, not this plugin
        return
    report: pytest.TestReport = outcome.get_result()
    seeds = [value for name, value in item.user_properties if name == _SEED]
    if seeds and report.failed:
        report.sections.append(("wsrooms", f"run it again with --wsrooms-seed={seeds[-1]}"))
