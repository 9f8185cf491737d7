"""``KafkaTransport``: rooms across instances through one topic of Apache Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from wsrooms.transports import BrokerLink, BrokerTransport, WsBroadcastTransport
from wsrooms_kafka.link import KafkaLink
from wsrooms_kafka.target import Target

if TYPE_CHECKING:
    from wsrooms_kafka.options import KafkaKeywords, KafkaOptions

__all__ = ["KafkaTransport", "from_url"]


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
        self.target: Target = Target.of(url, options)
        chosen = self.target.options
        super().__init__(
            chosen,
            where=self.target.where,
            max_payload=chosen.max_payload,
            logger=chosen.logger,
        )

    def replica(self) -> KafkaTransport:
        """Another transport with the same URL and options."""
        return KafkaTransport(self._url, **self._given)

    def _make_links(self) -> Sequence[BrokerLink]:
        return (KafkaLink(self, self.target),)


def from_url(url: str) -> WsBroadcastTransport:
    """What the core calls for a Kafka URL."""
    return KafkaTransport(url)
