"""Which brokers a machine has for the tests, and some of them for a command.

python -m tests.brokers                          lists them; fails if Docker or an image lacks
python -m tests.brokers run COMMAND {redis_url}  starts a Redis and runs COMMAND with its URL
python -m tests.brokers run COMMAND {nats_url}   likewise a NATS
python -m tests.brokers run COMMAND {kafka_url}  likewise a Kafka; or several of them
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from tests.brokers import Server, kafka_server, nats_server, redis_server
from tests.brokers.containers import engine
from tests.brokers.kafka import KAFKA
from tests.brokers.nats import NATS
from tests.brokers.processes import version_of
from tests.brokers.redis import REDIS

KINDS = (REDIS, NATS, KAFKA)
MAKERS: dict[str, Callable[[], Server]] = {
    "{redis_url}": redis_server,
    "{nats_url}": nats_server,
    "{kafka_url}": kafka_server,
}


def survey() -> list[str]:
    """Print what is here; return what a test in Docker would lack."""
    docker = engine()
    if isinstance(docker, str):
        lacking = [docker]
    else:
        print(f"Docker {docker.version}")
        images = [image for kind in KINDS for image in kind.images]
        reasons = {image: docker.lacks(image) for image in images}
        print(*(f"{image} in Docker" for image, reason in reasons.items() if not reason), sep="\n")
        lacking = [reason for reason in reasons.values() if reason]
    for kind in KINDS:
        for origin in (kind.wheel, kind.on_path):
            if found := kind.program(origin):
                print(f"{version_of(found)} without Docker ({origin})")
    return lacking


async def run(command: list[str]) -> int:
    """Run ``command`` with the URLs of brokers of its own; returns its status."""
    async with AsyncExitStack() as stack:
        for placeholder, make in MAKERS.items():
            if any(placeholder in word for word in command):
                server = await stack.enter_async_context(make())
                command = [word.replace(placeholder, server.url) for word in command]
        process = await asyncio.create_subprocess_exec(*command)
        return await process.wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            sys.exit("\n".join(survey()) or None)
        case ["run", *command] if command:
            sys.exit(asyncio.run(run(command)))
        case _:
            sys.exit(__doc__)
