"""``KafkaTransport``: rooms across instances through one topic of Apache Kafka."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Unpack

from wsrooms.errors import ConfigurationError
from wsrooms.transports import Address, BrokerLink, BrokerTransport, BrokerUrl, WsBroadcastTransport
from wsrooms_kafka.link import KafkaLink
from wsrooms_kafka.login import Login
from wsrooms_kafka.options import KafkaKeywords, KafkaOptions

__all__ = ["KafkaTransport"]

PORTS = {"kafka": 9092, "kafka+ssl": 9093}


class KafkaTransport(BrokerTransport):
    """Joins instances through one topic, of which each of them reads everything.

    .. code-block:: python

        WsApp(broadcast_transport="kafka://localhost")
        WsApp(broadcast_transport=KafkaTransport("kafka://a,b,c", namespace="staging"))

    Keeps what docs/transports/contract.md promises. Kafka keeps a log: an instance that was
    cut off reads what it has missed.
    """

    options: KafkaOptions
    keeps_log = True

    def __init__(
        self, url: str = "kafka://localhost:9092", **options: Unpack[KafkaKeywords]
    ) -> None:
        """Prepare a transport; ``start()`` connects it.

        Args:
            url: ``kafka://[user:password@]host[:port][,host…]``, or ``kafka+ssl://…``; any
                broker of the cluster will do. The query may hold options.
            options: See :class:`KafkaOptions`; they count before those of the URL.

        Raises:
            UnknownOption: One does not exist.
            ConfigurationError: The URL or a value makes no sense.
        """
        self._url = url
        self._given = options
        read = BrokerUrl.of(url, broker="Kafka", ports=PORTS, example="kafka://localhost:9092")
        if read.path.strip("/"):
            raise ConfigurationError(f"a {read.scheme}:// URL has no path behind its brokers")
        chosen = KafkaOptions.read(read.query, options)
        chosen.check_tls(read.scheme, "kafka+ssl", "tls")
        self.login: Login = Login.of(read, chosen)
        self.addresses: deque[Address] = deque(read.addresses(PORTS[read.scheme]))
        """The brokers to ask for the others, in the order in which they are asked next."""
        self.scheme: str = read.scheme
        where = f"{read.scheme}://{','.join(map(str, self.addresses))}"
        super().__init__(chosen, where=where, max_payload=chosen.max_payload, logger=chosen.logger)
        self.topic: str = f"wsrooms-{chosen.namespace}" if chosen.namespace else "wsrooms"

    def replica(self) -> KafkaTransport:
        """Another transport with the same URL and options."""
        return KafkaTransport(self._url, **self._given)

    def next_address(self) -> None:
        """Ask another broker first: one that is silent must not take the others' time."""
        self.addresses.rotate(-1)

    def _make_links(self) -> Sequence[BrokerLink]:
        return (KafkaLink(self),)


def from_url(url: str) -> WsBroadcastTransport:
    """What the core calls for a Kafka URL."""
    return KafkaTransport(url)
