"""What the URL of a broker says: which servers, who asks, which options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

from wsrooms.errors import ConfigurationError

__all__ = ["Address", "BrokerUrl", "shown"]

_PARTS = re.compile(r"(?P<netloc>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?", re.DOTALL)
_HOST = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[\w.~%-]+)?)\]|(?P<name>[^:\[\]\s]*))(?::(?P<port>[0-9]{1,5}))?"
)
_LOGINS = re.compile("@[^@]*,")


class Address(NamedTuple):
    """Where one server listens: host and port, or the path of a Unix socket and 0."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def read(cls, text: str, port: int) -> Address | None:
        """The address ``host[:port]``, where ``port`` is the default; None if it is none."""
        match = _HOST.fullmatch(text)
        if match is None:
            return None
        number = port if match["port"] is None else int(match["port"])
        if not 0 < number < 65536:
            return None
        return cls(unquote(match["six"] or "") or match["name"] or "localhost", number)


def shown(scheme: str, *addresses: Address) -> str:
    """Servers as logs and errors name them, without any secret: ``scheme://host:port,host:port``."""
    return f"{scheme}://{','.join(map(str, addresses))}"


@dataclass(frozen=True)
class BrokerUrl:
    """A broker's URL, ``scheme://[user[:password]@]hosts[/path][?query]``, in its parts.

    Attributes:
        scheme: In lower case.
        user: Who asks; "" for nobody.
        password: Likewise.
        hosts: The servers, as they are written.
        path: With its first slash, if there is one.
        query: The options, not read yet.
    """

    scheme: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    hosts: str
    path: str
    query: str = field(repr=False)

    @classmethod
    def of(cls, url: str, *, broker: str, ports: Mapping[str, int], example: str) -> BrokerUrl:
        """What ``url`` says.

        Args:
            url: The URL.
            broker: What the errors call it.
            ports: The schemes that it may have, and their ports.
            example: A URL that is right.

        Raises:
            ConfigurationError: It is no such URL. Its text shows nothing that may be a part
                of a password.
        """
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in ports:
            known = ", ".join(f"{each}://" for each in ports)
            raise ConfigurationError(f"a {broker} URL begins with {known}, as in {example}")
        parts = _PARTS.match(rest)
        assert parts is not None  # it matches anything
        netloc, path, query = parts["netloc"], parts["path"], parts["query"] or ""
        if ("@" not in netloc and "@" in rest) or "#" in rest:
            raise ConfigurationError(
                f"in this {scheme}:// URL a character has to be percent-encoded: '/' is %2F, "
                "'?' is %3F, '#' is %23 and '@' is %40 in a user, a password and an option"
            )
        login, _, hosts = netloc.rpartition("@")
        if _LOGINS.search(login):  # else all servers but the last would be a part of a password
            raise ConfigurationError(
                f"in this {scheme}:// URL the login stands once, before all servers: "
                "user:password@host,host; in it '@' is %40 and ',' is %2C"
            )
        user, _, password = login.partition(":")
        return cls(scheme, unquote(user), unquote(password), hosts, path, query)

    def addresses(self, port: int) -> tuple[Address, ...]:
        """The servers to try in turn.

        Raises:
            ConfigurationError: One of them cannot be read.
        """
        found = [Address.read(text, port) for text in self.hosts.split(",")]
        addresses = tuple(address for address in found if address is not None)
        if len(addresses) < len(found):
            raise ConfigurationError(
                f"the host and port of this {self.scheme}:// URL cannot be read: write host:port, "
                "[address]:port for IPv6, and a comma between several"
            )
        return addresses
