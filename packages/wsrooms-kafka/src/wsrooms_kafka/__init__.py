"""Rooms across instances through Apache Kafka: ``pip install "wsrooms-core[kafka]"``."""

from wsrooms_kafka._version import __version__
from wsrooms_kafka.options import KafkaKeywords, KafkaOptions
from wsrooms_kafka.transport import KafkaTransport, from_url

__all__ = ["KafkaKeywords", "KafkaOptions", "KafkaTransport", "__version__", "from_url"]
