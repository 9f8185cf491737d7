"""A broker of its own for each test, and a fleet of three server processes on it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import promised
from tests.integration.buses import BUSES, Broker, Bus
from tests.integration.fleet import Fleet
from tests.integration.nursery import Nursery

if TYPE_CHECKING:
    from pathlib import Path

PATIENT = {
    "connect_timeout": promised(5.0),
    "confirm_timeout": promised(6.0),
    "ping_interval": promised(4.0),
    "probe_interval": promised(10.0),
}
"""Options of a fleet to which nothing happens: how soon something is noticed is not asked."""

TROUBLE = (
    *("hook_errors", "tasks_failed", "slow_clients", "heartbeat_timeouts", "handlers_blocked"),
    *("joins_failed", "publish_failed", "reconnects", "outbox"),
)
"""Counters of an instance that nothing has happened to: they are zero at its end."""


@pytest.fixture(scope="session", params=BUSES, ids=lambda bus: bus.name)
def bus(request: pytest.FixtureRequest) -> Bus:
    """Each kind of broker."""
    found: Bus = request.param
    found.prepare()
    return found


@pytest.fixture(scope="session", autouse=True)
def _buses_end() -> Iterator[None]:
    """What outlived the tests ends behind the last of them."""
    yield
    for bus in BUSES:
        bus.end()


@pytest.fixture
async def broker(bus: Bus) -> AsyncIterator[Broker]:
    """One that runs, for this test alone."""
    async with bus.running() as broker:
        yield broker


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where processes of this build are made, quickly."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
async def fleet(nursery: Nursery, broker: Broker, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Three instances, which must end well."""
    async with Fleet(nursery, broker.url(**PATIENT), tmp_path) as fleet:
        yield fleet
    fleet.assert_clean()
    for process in fleet.processes:
        if process.closed is not None:
            stats = process.closed["stats"]
            assert {name: stats[name] for name in TROUBLE} == dict.fromkeys(TROUBLE, 0)
