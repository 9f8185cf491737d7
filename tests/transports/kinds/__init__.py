"""The brokers that these tests run on: a file for each, and ``KINDS`` names them all."""

from tests.transports.kinds.base import Kind
from tests.transports.kinds.nats import NatsKind
from tests.transports.kinds.redis import RedisKind

__all__ = ["KINDS", "Kind"]

KINDS: tuple[Kind, ...] = (RedisKind(), NatsKind())
