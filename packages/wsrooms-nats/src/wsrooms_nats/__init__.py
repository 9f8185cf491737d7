"""Rooms across instances through NATS: ``pip install "wsrooms-core[nats]"``."""

from wsrooms_nats._version import __version__
from wsrooms_nats.options import NatsKeywords, NatsOptions
from wsrooms_nats.transport import NatsTransport, from_url

__all__ = ["NatsKeywords", "NatsOptions", "NatsTransport", "__version__", "from_url"]
