"""The brokers that these tests run on: a file for each, and ``KINDS`` names them all."""

from tests.transports.kinds.base import Kind, RefusingKind
from tests.transports.kinds.kafka import KafkaKind
from tests.transports.kinds.nats import NatsKind
from tests.transports.kinds.redis import RedisKind

__all__ = ["KINDS", "Kind", "RefusingKind"]

KINDS: tuple[Kind, ...] = (RedisKind(), NatsKind(), KafkaKind())
