"""Which server of a cluster is its controller: it decides who leads a partition.

Kafka does not tell clients; its servers ask each other (DescribeQuorum), and so does this.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.brokers import KafkaServer

__all__ = ["controller_of"]

DESCRIBE_QUORUM = 55
LOG = b"__cluster_metadata"


async def controller_of(servers: Sequence[KafkaServer]) -> KafkaServer:
    """The controller, as the first of them says."""
    reader, writer = await asyncio.open_connection(servers[0].host, servers[0].port)
    try:
        # Lengths of what may be absent are one more; a 0 ends what has no more fields.
        question = struct.pack(">hhihB", DESCRIBE_QUORUM, 0, 1, -1, 0)
        question += struct.pack(f">BB{len(LOG)}sBiBBB", 2, len(LOG) + 1, LOG, 2, 0, 0, 0, 0)
        writer.write(struct.pack(">i", len(question)) + question)
        answer = await reader.readexactly(struct.unpack(">i", await reader.readexactly(4))[0])
    finally:
        writer.transport.abort()
    form = f">iBhBB{len(LOG)}sBihi"
    _, _, error, _, _, _, _, _, failure, leader = struct.unpack_from(form, answer)
    assert error == failure == 0
    return next(server for server in servers if server.node == leader)
