"""What several suites of this folder use together, because it takes long to start."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.conformance.running import lasting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.brokers import KafkaServer


@pytest.fixture(scope="session")
def kafka_for_rigs() -> Iterator[Callable[[str], KafkaServer]]:
    """Give one server of a kind to all rigs, started when the first one asks for it."""
    from tests.conformance.kafka_rig import server_of

    with ExitStack() as stack:

        @cache
        def server(image: str) -> KafkaServer:
            return stack.enter_context(lasting(server_of(image)))

        yield server
