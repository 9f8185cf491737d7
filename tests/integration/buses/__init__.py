"""The brokers that these tests run on: a file for each kind, and ``BUSES`` names them all.

A new transport adds a file with a ``Bus`` and a line here. The tests know only what is below.
"""

from tests.integration.buses.base import Broker, Bus, Heard, Overhearing
from tests.integration.buses.kafka import KafkaBus
from tests.integration.buses.nats import NatsBus
from tests.integration.buses.redis import RedisBus

__all__ = ["BUSES", "Broker", "Bus", "Heard", "Overhearing"]

BUSES: tuple[Bus, ...] = (RedisBus(), NatsBus(), KafkaBus())
