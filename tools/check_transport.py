"""Checks the transports of an environment that has wheels and nothing else of ours.

    check_transport.py URL ...              each URL's transport carries a message over the broker
                                            there; of every other the core says how it is installed
    check_transport.py --mixed EXTRA ...    what is installed for these is of another minor,
                                            and the core says so

``tools/combinations.py`` makes the environments and gives it the brokers.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from wsrooms.errors import ConfigurationError, MissingTransport
from wsrooms.transports import transport_from_url
from wsrooms.transports.urls import EXTRAS

PLACES = {"redis+unix": "/run/redis.sock", "redis+sentinel": "localhost/service"}
"""What stands after a scheme that takes more than a host."""


def url_of(scheme: str) -> str:
    return f"{scheme}://{PLACES.get(scheme, 'localhost')}"


def is_missing(scheme: str, extra: str) -> None:
    """What the core says of a scheme names the extra that installs it."""
    remedy = f'pip install "wsrooms-core[{extra}]"'
    try:
        transport_from_url(url_of(scheme))
    except MissingTransport as error:
        if remedy not in str(error):
            sys.exit(f"{scheme}: {error} does not say {remedy}")
    else:
        sys.exit(f"{scheme}: something speaks it, though wsrooms-{extra} is not installed")


def is_mixed(scheme: str, extra: str) -> None:
    """What the core says of a scheme is how both packages get one minor."""
    remedy = f'pip install -U "wsrooms-core[{extra}]"'
    try:
        transport_from_url(url_of(scheme))
    except ConfigurationError as error:
        if f"wsrooms-{extra} " not in str(error) or remedy not in str(error):
            sys.exit(f"{scheme}: {error} does not say {remedy}")
    else:
        sys.exit(f"{scheme}: wsrooms-{extra} is of another minor, and is taken all the same")


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
    async with asyncio.timeout(30):
        await here.start()
        await there.start()
        await here.subscribe("ws:room:/odd room", lambda payload: heard.set())
        await there.publish("ws:room:/odd room", '{"event":"e","path":"/odd room"}')
        await heard.wait()
        await here.close()
        await there.close()


async def all_carry(urls: list[str]) -> None:
    """At the same time, as in one process that is asked for several."""
    async with asyncio.TaskGroup() as group:
        for url in urls:
            group.create_task(carries(url))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--mixed", *left_behind]:
            for known, its_extra in EXTRAS.items():
                if its_extra in left_behind:
                    is_mixed(known, its_extra)
        case given:
            installed = {EXTRAS[url.partition(":")[0]] for url in given}
            for known, its_extra in EXTRAS.items():
                if its_extra not in installed:
                    is_missing(known, its_extra)
            asyncio.run(all_carry(given))
