"""Checks the Redis transport of an environment that has wheels and nothing else of ours.

    check_transport.py --missing    without wsrooms-redis, the error says how to install it
    check_transport.py URL          what is built for a Redis's URL carries a message

``python -m tests.brokers run … {url}`` gives it a server.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from wsrooms.errors import MissingTransport
from wsrooms.transports import transport_from_url

SCHEMES = ("redis://localhost", "rediss://localhost", "redis+unix:///run/redis.sock")
PACKAGE, NAME = "wsrooms_redis", "RedisTransport"
REMEDY = 'pip install "wsrooms-core[redis]"'


def missing() -> None:
    """Every scheme names the extra."""
    for url in SCHEMES:
        try:
            transport_from_url(url)
        except MissingTransport as error:
            if REMEDY not in str(error):
                sys.exit(f"{url}: {error} does not say {REMEDY}")
        else:
            sys.exit(f"{url}: something speaks it, though wsrooms-redis is not installed")
    print("without wsrooms-redis:", REMEDY)


async def carries(url: str) -> None:
    """Two transports of one URL carry a message from one to the other."""
    for each in SCHEMES:
        found = type(transport_from_url(each))
        if (found.__name__, found.__module__.partition(".")[0]) != (NAME, PACKAGE):
            sys.exit(f"{each}: {found} speaks it")
    # The protocols of the parts that only some transports have are for the core.
    here: Any = transport_from_url(url)
    there: Any = transport_from_url(url)
    heard = asyncio.Event()
    async with asyncio.timeout(10):
        await here.start()
        await there.start()
        await here.subscribe("ws:room:/odd room", lambda payload: heard.set())
        await there.publish("ws:room:/odd room", '{"event":"e","path":"/odd room"}')
        await heard.wait()
        await here.close()
        await there.close()
    print(f"{PACKAGE}.{NAME} has carried a message")


if __name__ == "__main__":
    if sys.argv[1:] == ["--missing"]:
        missing()
    else:
        [given] = sys.argv[1:]
        asyncio.run(carries(given))
