"""What a Redis URL says: which servers, who asks, which options."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from wsrooms.errors import ConfigurationError
from wsrooms.transports import Address, BrokerUrl

__all__ = ["Target"]

PORTS = {"redis": 6379, "rediss": 6379, "redis+unix": 0, "redis+sentinel": 26379}


@dataclass(frozen=True)
class Target:
    """Where the broker is, and who asks.

    Attributes:
        scheme: One of the four.
        addresses: The servers to try in turn; of ``redis+sentinel`` the sentinels.
        database: Its number, which pub/sub does not care for and a login may.
        service: What sentinels call the server.
        login: User and password, as redis-py's keywords.
        query: The options of the URL, not read yet.
    """

    scheme: str
    addresses: tuple[Address, ...]
    database: int
    service: str
    login: dict[str, str] = field(repr=False)
    query: str = field(repr=False)

    @classmethod
    def of(cls, url: str) -> Target:
        """What ``url`` says.

        Raises:
            ConfigurationError: It is no URL of a Redis server. Its text shows nothing that
                may be a part of a password.
        """
        read = BrokerUrl.of(url, broker="Redis", ports=PORTS, example="redis://localhost:6379")
        scheme, path, query = read.scheme, read.path, read.query
        login = {"username": read.user, "password": read.password}
        login = {name: text for name, text in login.items() if text}
        if scheme == "redis+unix":
            socket = unquote(read.hosts + path)
            if not socket.startswith("/"):
                raise ConfigurationError(
                    "a Unix socket has an absolute path, with three slashes: "
                    "redis+unix:///run/redis.sock"
                )
            return cls(scheme, (Address(socket, 0),), 0, "", login, query)
        addresses = read.addresses(PORTS[scheme])
        steps = path.strip("/").split("/")
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
        return cls(scheme, addresses, int(database or 0), service, login, query)

    @property
    def where(self) -> str:
        """The broker, as it may be shown."""
        steps = [self.service] if self.service else []
        steps += [str(self.database)] if self.database else []
        hosts = ",".join(map(str, self.addresses))
        return "/".join([f"{self.scheme}://{hosts}", *steps])

    def connection(self, address: Address) -> dict[str, Any]:
        """The keywords of a redis-py connection to ``address``."""
        if self.scheme == "redis+unix":
            return {"path": address.host, **self.login}
        return {"host": address.host, "port": address.port, "db": self.database, **self.login}
