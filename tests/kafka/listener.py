"""A process that says what it hears in a room: one that a test can let stand still.

``python -m tests.kafka.listener URL ROOM`` writes ``ready``, then a line for each message and
for each gap.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from wsrooms_kafka import KafkaTransport

if TYPE_CHECKING:
    from wsrooms import Gap


async def listen(url: str, room: str) -> None:
    """Say what is heard, until the standard input ends."""
    loop = asyncio.get_running_loop()
    transport = KafkaTransport(url)
    transport.on_gap(lambda gap: say(f"gap {gap_of(gap)}"))
    await transport.start()
    try:
        await transport.subscribe(f"ws:room:{room}", hear)
        say("ready")
        await loop.run_in_executor(None, sys.stdin.read)
    finally:
        await transport.close()


def hear(payload: str) -> None:
    name, number, _ = payload.split()
    say(f"heard {name} {number}")


def gap_of(gap: Gap) -> str:
    return "anywhere" if gap.room is None else f"{gap.room} {gap.missing}"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(listen(*sys.argv[1:]))
