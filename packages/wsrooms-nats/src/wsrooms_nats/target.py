"""What a NATS URL and the options say: which servers, who asks, and what channels are called."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from itertools import islice

from wsrooms.errors import ConfigurationError
from wsrooms.transports import PROBE_PREFIX, Address, BrokerUrl, checked, shown
from wsrooms_nats.asked import too_long
from wsrooms_nats.options import NatsOptions
from wsrooms_nats.subjects import Subjects

__all__ = ["PORTS", "Target", "is_number"]

PORTS = {"nats": 4222, "tls": 4222}

AROUND_SUBJECT = 32
"""Bytes of a command beside its subject, at most."""

MOST_SERVERS = 64
"""Of a cluster."""


class Target:
    """Where the servers are, and who asks.

    Attributes:
        options: What was chosen.
        scheme: "tls": a server has to encrypt. "nats": if it wants to.
        addresses: The servers, in the order in which they are tried next.
        login: User, password, token, and what else nats-py takes as keywords.
        subjects: What channels are called there.
        longest: Bytes of a subject: a server that takes less is found out.
        probe: Bytes of the subject on which an instance probes itself: a server has to take it.
        where: The servers, as they may be shown.
    """

    def __init__(self, read: BrokerUrl, options: NatsOptions) -> None:
        """Take what is right in itself; :meth:`of` checks the rest."""
        self._configured = read.addresses(PORTS[read.scheme])
        self.options: NatsOptions = options
        self.scheme: str = read.scheme
        self.addresses: deque[Address] = deque(self._configured)
        self.login: dict[str, str] = _login(read, options)
        self.subjects: Subjects = Subjects(options.namespace)
        self.longest: int = options.max_control_line - AROUND_SUBJECT
        self.probe: int = len(self.subjects.of(PROBE_PREFIX + "0" * 16))
        self.where: str = shown(read.scheme, *self._configured)
        if self.longest < self.probe:
            raise ConfigurationError(
                f"option 'max_control_line' has to be at least {self.least_line}, "
                f"not {options.max_control_line}"
            )
        if options.randomize:
            random.shuffle(self.addresses)

    @classmethod
    def of(cls, url: str, given: Mapping[str, object] | None = None) -> Target:
        """What ``url`` says, and the options in it and in ``given``, which count first.

        Raises:
            UnknownOption: One does not exist.
            ConfigurationError: It is no URL of a NATS server, or a value makes no sense. Its
                text shows nothing that may be a part of a password.
        """
        read = BrokerUrl.of(url, broker="NATS", ports=PORTS, example="nats://localhost:4222")
        if read.path.strip("/"):
            raise ConfigurationError(f"a {read.scheme}:// URL has no path behind its servers")
        options = NatsOptions.read(read.query, given or {})
        options.check_tls(read.scheme, "tls", "tls", "tls_hostname", "tls_first")
        options.check_login()
        return cls(read, options)

    @property
    def least_line(self) -> int:
        """Bytes of a command that a server has to take."""
        return self.probe + AROUND_SUBJECT

    def check(self, channel: str) -> None:
        """Check that NATS could carry ``channel``.

        Raises:
            InvalidChannel: It is empty, too long, or UTF-8 cannot encode it.
        """
        checked(channel)
        if len(self.subjects.of(channel)) > self.longest:
            raise too_long(channel, self.longest)

    def name_of(self, address: Address) -> str:
        """What the certificate of the server at ``address`` has to name."""
        if address in self._configured or not is_number(address.host):
            return address.host
        return self._configured[0].host  # the servers of a cluster tell each other's numbers

    def learn(self, servers: Iterable[Address]) -> None:
        """Try these servers too, and no longer those that were learnt before."""
        known = dict.fromkeys([*self._configured, *islice(servers, MOST_SERVERS)])
        kept = [address for address in self.addresses if address in known]
        new = [address for address in known if address not in kept]
        if self.options.randomize:
            random.shuffle(new)
        self.addresses.clear()
        self.addresses.extend([*kept, *new])


def _login(url: BrokerUrl, options: NatsOptions) -> dict[str, str]:
    """Who asks, as the URL and the options say, which count first."""
    if url.password and not url.user:
        raise ConfigurationError(
            f"in this {url.scheme}:// URL is a password without a user: write user:password@ "
            "or token@"
        )
    keywords = {
        name: value
        for name in ("user", "password", "token")
        if (value := getattr(options, name)) is not None
    }
    if options.has_login:
        return keywords
    if url.password:
        return {"user": url.user, "password": url.password}
    return {"token": url.user} if url.user else keywords


def is_number(host: str) -> bool:
    """Whether ``host`` is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
