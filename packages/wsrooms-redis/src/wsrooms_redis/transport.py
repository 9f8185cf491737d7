"""``RedisTransport``: rooms across instances through Redis or Valkey pub/sub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from wsrooms.transports import BrokerLink, BrokerTransport, WsBroadcastTransport
from wsrooms_redis.link import HearingLink, PublishingLink
from wsrooms_redis.target import Target

if TYPE_CHECKING:
    from wsrooms_redis.options import RedisKeywords, RedisOptions

__all__ = ["RedisTransport", "from_url"]


class RedisTransport(BrokerTransport):
    """Joins instances through a Redis or Valkey server.

    .. code-block:: python

        WsApp(broadcast_transport="redis://localhost")
        WsApp(broadcast_transport=RedisTransport("redis://localhost", namespace="staging"))

    Keeps what docs/transports/contract.md promises. Redis keeps no log: what is published
    while an instance has no connection is lost for it, and told as a gap.
    """

    options: RedisOptions

    def __init__(
        self, url: str = "redis://localhost:6379", **options: Unpack[RedisKeywords]
    ) -> None:
        """Prepare a transport; ``start()`` connects it.

        Args:
            url: ``redis://[user:password@]host[:port][,host…][/database]``, ``rediss://…``
                for TLS, ``redis+unix:///path`` for a Unix socket,
                ``redis+sentinel://host[:port][,host…]/service[/database]`` for whichever
                server the sentinels name. Of several hosts the first that is there and no
                replica is used; they share the ``connect_timeout``. The query may hold options.
            options: See :class:`RedisOptions`; they count before those of the URL.

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

    def replica(self) -> RedisTransport:
        """Another transport with the same URL and options."""
        return RedisTransport(self._url, **self._given)

    def _make_links(self) -> Sequence[BrokerLink]:
        return HearingLink(self, self.target), PublishingLink(self, self.target)


def from_url(url: str) -> WsBroadcastTransport:
    """What the core calls for a Redis URL."""
    return RedisTransport(url)
