"""``NatsTransport``: rooms across instances through NATS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from wsrooms.transports import BrokerLink, BrokerTransport, WsBroadcastTransport
from wsrooms_nats.link import NatsLink
from wsrooms_nats.target import Target

if TYPE_CHECKING:
    from wsrooms_nats.options import NatsKeywords, NatsOptions

__all__ = ["NatsTransport", "from_url"]


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
        self.target: Target = Target.of(url, options)
        chosen = self.target.options
        super().__init__(
            chosen,
            where=self.target.where,
            max_payload=chosen.max_payload,
            logger=chosen.logger,
        )
        self.exchange.check = self.target.check

    def replica(self) -> NatsTransport:
        """Another transport with the same URL and options."""
        return NatsTransport(self._url, **self._given)

    def _make_links(self) -> Sequence[BrokerLink]:
        return (NatsLink(self, self.target),)


def from_url(url: str) -> WsBroadcastTransport:
    """What the core calls for a NATS URL."""
    return NatsTransport(url)
