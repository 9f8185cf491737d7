"""``NatsTransport``: rooms across instances through NATS.

One connection. Each message is a PUB in the envelope of wsrooms, each room a SUB; a PING
after each batch of them asks for the PONG that confirms it, as nothing else at NATS does.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Unpack

from wsrooms.transports import (
    Address,
    BrokerLink,
    BrokerTransport,
    BrokerUrl,
    WsBroadcastTransport,
    checked,
)
from wsrooms_nats.asked import too_long
from wsrooms_nats.link import NatsLink
from wsrooms_nats.login import PORT, Login, is_number
from wsrooms_nats.options import NatsKeywords, NatsOptions
from wsrooms_nats.subjects import Subjects

__all__ = ["NatsTransport"]

AROUND_SUBJECT = 32
"""Bytes of a command beside its subject, at most."""

MOST_SERVERS = 64
"""Of a cluster."""


class NatsTransport(BrokerTransport):
    """Joins instances through NATS, a single server or a cluster.

    .. code-block:: python

        WsApp(broadcast_transport="nats://localhost")
        WsApp(broadcast_transport=NatsTransport("nats://a,b,c", user_credentials="app.creds"))

    Keeps what docs/transports/contract.md promises. NATS keeps no log: what is published
    while an instance has no connection is lost for it, and told as a gap.
    """

    options: NatsOptions

    def __init__(self, url: str = "nats://localhost:4222", **options: Unpack[NatsKeywords]) -> None:
        """Prepare a transport; ``start()`` connects it.

        Args:
            url: ``nats://[user:password@|token@]host[:port][,host…]``, ``tls://…`` where
                the connection has to be encrypted. Of several hosts the first that answers
                is used; they share the ``connect_timeout``. Others of their cluster are
                learnt from them. The query may hold options.
            options: See :class:`NatsOptions`; they count before those of the URL.

        Raises:
            UnknownOption: One does not exist.
            ConfigurationError: The URL or a value makes no sense.
        """
        self._url = url
        self._given = options
        read = BrokerUrl.of(
            url,
            broker="NATS",
            ports={"nats": PORT, "tls": PORT},
            example="nats://localhost:4222",
        )
        chosen = NatsOptions.read(read.query, options)
        chosen.check_tls(read.scheme, "tls", "tls", "tls_hostname", "tls_first")
        self.login: Login = Login.of(read, chosen)
        self._configured = read.addresses(PORT)
        where = f"{read.scheme}://{','.join(map(str, self._configured))}"
        super().__init__(chosen, where=where, max_payload=chosen.max_payload, logger=chosen.logger)
        self.exchange.check = self._check
        self.subjects: Subjects = Subjects(chosen.namespace)
        self.longest: int = chosen.max_control_line - AROUND_SUBJECT
        """Bytes of a subject: a server that takes less is found out."""
        self.addresses: deque[Address] = deque(self._configured)
        """The servers, in the order in which they are tried next."""
        if chosen.randomize:
            random.shuffle(self.addresses)

    def replica(self) -> NatsTransport:
        """Another transport with the same URL and options."""
        return NatsTransport(self._url, **self._given)

    def _make_links(self) -> Sequence[BrokerLink]:
        return (NatsLink(self),)

    def subject(self, channel: str) -> bytes:
        """What ``channel`` is called at NATS."""
        return self.subjects.of(channel)

    def channel(self, subject: str) -> str:
        """The channel that is called so."""
        return self.subjects.channel(subject)

    def _check(self, channel: str) -> None:
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


def from_url(url: str) -> WsBroadcastTransport:
    """What the core calls for a NATS URL."""
    return NatsTransport(url)
