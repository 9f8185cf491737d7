"""What a Redis URL and the options say: which servers, who asks, and what channels are called."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from wsrooms.errors import ConfigurationError
from wsrooms.transports import Address, BrokerUrl, shown
from wsrooms_redis.names import Names
from wsrooms_redis.options import RedisOptions

__all__ = ["Target"]

PORTS = {"redis": 6379, "rediss": 6379, "redis+unix": 0, "redis+sentinel": 26379}


@dataclass(frozen=True)
class Target:
    """Where the broker is, and who asks.

    Attributes:
        options: What was chosen.
        scheme: One of the four.
        addresses: The servers, or their sentinels, in the order in which they are tried next.
        database: Its number, which pub/sub does not care for and a login may.
        service: What sentinels call the server.
        login: User and password, as redis-py's keywords.
        names: What channels are called there.
        where: The broker, as it may be shown.
    """

    options: RedisOptions
    scheme: str
    addresses: deque[Address]
    database: int
    service: str
    login: dict[str, str] = field(repr=False)
    names: Names = field(repr=False, compare=False)
    where: str

    @classmethod
    def of(cls, url: str, given: Mapping[str, object] | None = None) -> Target:
        """What ``url`` says, and the options in it and in ``given``, which count first.

        Raises:
            UnknownOption: One does not exist.
            ConfigurationError: It is no URL of a Redis server, or a value makes no sense. Its
                text shows nothing that may be a part of a password.
        """
        read = BrokerUrl.of(url, broker="Redis", ports=PORTS, example="redis://localhost:6379")
        scheme = read.scheme
        addresses, service, database = _place(read)
        options = RedisOptions.read(read.query, given or {})
        options.check_tls(scheme, "rediss")
        login = {"username": read.user, "password": read.password}
        steps = [service] if service else []
        steps += [str(database)] if database else []
        return cls(
            options=options,
            scheme=scheme,
            addresses=deque(addresses),
            database=database,
            service=service,
            login={name: text for name, text in login.items() if text},
            names=Names(options.namespace),
            where="/".join([shown(scheme, *addresses), *steps]),
        )

    def connection(self, address: Address) -> dict[str, Any]:
        """The keywords of a redis-py connection to ``address``."""
        if self.scheme == "redis+unix":
            return {"path": address.host, **self.login}
        return {"host": address.host, "port": address.port, "db": self.database, **self.login}


def _place(url: BrokerUrl) -> tuple[tuple[Address, ...], str, int]:
    """The servers or sentinels, the service that these are asked for, and the database."""
    scheme = url.scheme
    if scheme == "redis+unix":
        socket = unquote(url.hosts + url.path)
        if not socket.startswith("/"):
            raise ConfigurationError(
                "a Unix socket has an absolute path, with three slashes: "
                "redis+unix:///run/redis.sock"
            )
        return (Address(socket, 0),), "", 0
    addresses = url.addresses(PORTS[scheme])
    steps = url.path.strip("/").split("/")
    service = unquote(steps.pop(0)) if scheme == "redis+sentinel" else ""
    if scheme == "redis+sentinel" and not service:
        raise ConfigurationError(
            "a sentinel is asked for a service, which the URL's path names: "
            "redis+sentinel://localhost:26379/mymaster"
        )
    database = "".join(steps)
    if len(steps) > 1 or (database and not re.fullmatch(r"[0-9]{1,5}", database)):
        raise ConfigurationError(
            f"the path of a {scheme}:// URL ends with the number of a database, as in "
            "redis://localhost:6379/0"
        )
    return addresses, service, int(database or 0)
