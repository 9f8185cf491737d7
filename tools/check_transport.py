"""Checks the transports of an environment that has wheels and nothing else of ours.

    check_transport.py --missing    without them, the error says how each is installed
    check_transport.py URL          what is built for a broker's URL carries a message

``python -m tests.brokers run … {nats_url}`` gives it a server.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from wsrooms.errors import MissingTransport
from wsrooms.transports import transport_from_url
from wsrooms.transports.urls import EXTRAS

PLACES = {"redis+unix": "/run/redis.sock", "redis+sentinel": "localhost/service"}
"""What stands after a scheme that takes more than a host."""


def url_of(scheme: str) -> str:
    return f"{scheme}://{PLACES.get(scheme, 'localhost')}"


def missing() -> None:
    """Every scheme names its extra."""
    for scheme, extra in EXTRAS.items():
        remedy = f'pip install "wsrooms-core[{extra}]"'
        try:
            transport_from_url(url_of(scheme))
        except MissingTransport as error:
            if remedy not in str(error):
                sys.exit(f"{scheme}: {error} does not say {remedy}")
        else:
            sys.exit(f"{scheme}: something speaks it, though wsrooms-{extra} is not installed")
        print(f"without wsrooms-{extra}, {scheme}:", remedy)


async def carries(url: str) -> None:
    """Two transports of one URL carry a message from one to the other."""
    extra = EXTRAS[url.partition(":")[0]]
    package, name = f"wsrooms_{extra}", f"{extra.capitalize()}Transport"
    for scheme in (scheme for scheme, wanted in EXTRAS.items() if wanted == extra):
        found = type(transport_from_url(url_of(scheme)))
        if (found.__name__, found.__module__.partition(".")[0]) != (name, package):
            sys.exit(f"{scheme}: {found} speaks it")
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
    print(f"{package}.{name} has carried a message")


if __name__ == "__main__":
    if sys.argv[1:] == ["--missing"]:
        missing()
    else:
        [given] = sys.argv[1:]
        asyncio.run(carries(given))
