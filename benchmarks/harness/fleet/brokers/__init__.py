"""The brokers that join the instances of a fleet: one small file for each kind."""

from __future__ import annotations

from benchmarks.harness.fleet.brokers.broker import Broker
from benchmarks.harness.fleet.brokers.kafka import KafkaServer
from benchmarks.harness.fleet.brokers.nats import NatsServer
from benchmarks.harness.fleet.brokers.redis import RedisServer

__all__ = ["BROKERS", "Broker"]

BROKERS: dict[str, type[Broker]] = {
    broker.kind: broker for broker in (RedisServer, NatsServer, KafkaServer)
}
"""All of them, by what the URLs of their transports begin with."""
