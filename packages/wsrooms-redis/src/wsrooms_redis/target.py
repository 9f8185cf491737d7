"""What a Redis URL says: which servers, who asks, which options."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from wsrooms.errors import ConfigurationError

__all__ = ["Address", "Target"]

SCHEMES = ("redis", "rediss", "redis+unix", "redis+sentinel")
PORTS = {"redis": 6379, "rediss": 6379, "redis+sentinel": 26379}

_PARTS = re.compile(r"(?P<netloc>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?", re.DOTALL)
_HOST = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[\w.~%-]+)?)\]|(?P<name>[^:\[\]\s]*))(?::(?P<port>[0-9]{1,5}))?"
)


class Address(NamedTuple):
    """Where one server listens: host and port, or the path of a Unix socket and 0."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in SCHEMES:
            known = ", ".join(f"{each}://" for each in SCHEMES)
            raise ConfigurationError(
                f"a Redis URL begins with {known}, as in redis://localhost:6379"
            )
        parts = _PARTS.match(rest)
        assert parts is not None  # it matches anything
        netloc, path, query = parts["netloc"], parts["path"], parts["query"] or ""
        if ("@" not in netloc and "@" in rest) or "#" in rest:
            raise ConfigurationError(
                f"in this {scheme}:// URL a character has to be percent-encoded: '/' is %2F, "
                "'?' is %3F, '#' is %23 and '@' is %40 in a user, a password and an option"
            )
        user, _, hosts = netloc.rpartition("@")
        login = dict(zip(("username", "password"), map(unquote, user.split(":", 1)), strict=False))
        login = {name: text for name, text in login.items() if text}
        if scheme == "redis+unix":
            socket = unquote(hosts + path)
            if not socket.startswith("/"):
                raise ConfigurationError(
                    "a Unix socket has an absolute path, with three slashes: "
                    "redis+unix:///run/redis.sock"
                )
            return cls(scheme, (Address(socket, 0),), 0, "", login, query)
        addresses = tuple(_address(scheme, text) for text in hosts.split(","))
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


def _address(scheme: str, text: str) -> Address:
    match = _HOST.fullmatch(text)
    port = PORTS[scheme] if match is None or match["port"] is None else int(match["port"])
    if match is None or not 0 < port < 65536:
        raise ConfigurationError(
            f"the host and port of this {scheme}:// URL cannot be read: write host:port, "
            "[address]:port for IPv6, and a comma between several"
        )
    return Address(unquote(match["six"] or "") or match["name"] or "localhost", port)
