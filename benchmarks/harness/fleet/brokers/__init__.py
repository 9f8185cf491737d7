"""The brokers that join the instances of a fleet: one small file for each kind."""

from __future__ import annotations

from benchmarks.harness.fleet.brokers.broker import Broker
from benchmarks.harness.fleet.brokers.kafka import KafkaServer
from benchmarks.harness.fleet.brokers.memory import Nobody
from benchmarks.harness.fleet.brokers.nats import NatsServer
from benchmarks.harness.fleet.brokers.redis import RedisServer, ValkeyServer

__all__ = ["ALL", "BROKERS", "Broker"]

BROKERS: dict[str, type[Broker]] = {
    broker.kind: broker for broker in (RedisServer, NatsServer, KafkaServer)
}
"""One for each of our transports, by what its URLs begin with."""

ALL: dict[str, type[Broker]] = {
    broker.kind: broker for broker in (Nobody, RedisServer, ValkeyServer, NatsServer, KafkaServer)
}
"""Whatever can join instances: none, and Redis and Valkey each for itself too."""
