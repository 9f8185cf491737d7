"""A history to write in."""

import pytest

from tests.core.testing.told import Told


@pytest.fixture
def history() -> Told:
    told = Told()
    told.started("i0", publisher="p0")
    told.started("i1", publisher="p1")
    return told
