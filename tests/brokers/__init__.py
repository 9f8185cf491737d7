"""Real brokers for tests: a container of the official image, or the same program as a process.

    async with redis_server() as server:           # whatever is quickest here
        await connect(server.url)
        await server.restart()                     # SIGKILL; again on the same port
    async with nats_cluster(3) as servers:         # routed to each other
        await connect(servers[0].url)

Each broker is its test's own: on a free port of 127.0.0.1, with nothing in it, gone
afterwards, also where the test run itself is killed. What a machine lacks is skipped with
the reason, or fails if ``WSROOMS_REQUIRE_DOCKER=1`` (``record.py``). The
fixtures are in ``plugin.py``.
"""

from tests.brokers.certificates import Certificates
from tests.brokers.kafka import KafkaServer, kafka_cluster, kafka_images, kafka_server
from tests.brokers.nats import NatsServer, ReloadRefused, nats_cluster, nats_images, nats_server
from tests.brokers.redis import redis_images, redis_server, sentinel_of
from tests.brokers.servers import DidNotStart, Server

__all__ = [
    "Certificates",
    "DidNotStart",
    "KafkaServer",
    "NatsServer",
    "ReloadRefused",
    "Server",
    "kafka_cluster",
    "kafka_images",
    "kafka_server",
    "nats_cluster",
    "nats_images",
    "nats_server",
    "redis_images",
    "redis_server",
    "sentinel_of",
]
