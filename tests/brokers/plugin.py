"""The brokers as fixtures, and a line at the end of a run that says which were used.

``redis``        a server of its own for each test, which runs once for each kind that is here
``redis_image``  the kind's name, for tests that start their own: ``redis_server(redis_image)``
``nats``, ``nats_image``, ``kafka``, ``kafka_image``  likewise

What a server can be is found out in a thread: to ask Docker for an image takes its time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.brokers.kept import end_kept
from tests.brokers.record import lacking, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.brokers import KafkaServer, NatsServer, Server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name in ("redis", "nats", "kafka"):
        if f"{name}_image" in metafunc.fixturenames:
            from tests import brokers

            images = {
                "redis": brokers.redis_images,
                "nats": brokers.nats_images,
                "kafka": brokers.kafka_images,
            }
            metafunc.parametrize(f"{name}_image", images[name](), indirect=True)


@pytest.fixture
def redis_image(request: pytest.FixtureRequest) -> str:
    image: str = request.param
    return image


@pytest.fixture
def nats_image(request: pytest.FixtureRequest) -> str:
    image: str = request.param
    return image


@pytest.fixture
def kafka_image(request: pytest.FixtureRequest) -> str:
    image: str = request.param
    return image


@pytest.fixture
async def redis(redis_image: str) -> AsyncIterator[Server]:
    from tests.brokers import redis_server

    async with await asyncio.to_thread(redis_server, redis_image) as server:
        yield server


@pytest.fixture
async def nats(nats_image: str) -> AsyncIterator[NatsServer]:
    from tests.brokers import nats_server

    async with await asyncio.to_thread(nats_server, nats_image) as server:
        yield server


@pytest.fixture
async def kafka(kafka_image: str) -> AsyncIterator[KafkaServer]:
    from tests.brokers import kafka_server

    async with await asyncio.to_thread(kafka_server, kafka_image) as server:
        yield server


def pytest_sessionfinish() -> None:
    end_kept()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, times in sorted(started.items()):
        terminalreporter.write_line(f"broker: {name} (started {times} times)")
    for reason, times in sorted(lacking.items()):
        terminalreporter.write_line(f"broker: {reason} ({times} tests)")
