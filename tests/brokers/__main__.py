"""Which brokers a machine has for the tests, and one of them for a command.

python -m tests.brokers                      lists them; fails if Docker or an image lacks
python -m tests.brokers run COMMAND {url}    starts a Redis and runs COMMAND with its URL
"""

from __future__ import annotations

import asyncio
import sys

from tests.brokers.containers import engine
from tests.brokers.redis import IMAGES, ON_PATH, WHEEL, program, redis_server
from tests.brokers.servers import version_of


def survey() -> list[str]:
    """Print what is here; return what a test in Docker would lack."""
    docker = engine()
    if isinstance(docker, str):
        lacking = [docker]
    else:
        print(f"Docker {docker.version}")
        reasons = {image: docker.lacks(image) for image in IMAGES}
        print(*(f"{image} in Docker" for image, reason in reasons.items() if not reason), sep="\n")
        lacking = [reason for reason in reasons.values() if reason]
    for kind in (WHEEL, ON_PATH):
        if found := program(kind):
            print(f"{version_of(found)} without Docker ({kind})")
    return lacking


async def run(command: list[str]) -> int:
    """Run ``command`` with the URL of a Redis of its own; returns its status."""
    async with redis_server() as server:
        words = [word.replace("{url}", server.url) for word in command]
        process = await asyncio.create_subprocess_exec(*words)
        return await process.wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            sys.exit("\n".join(survey()) or None)
        case ["run", *command] if command:
            sys.exit(asyncio.run(run(command)))
        case _:
            sys.exit(__doc__)
