"""Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from tests.transports.kinds.base import DEFAULTS, Kind
from wsrooms_kafka import KafkaKeywords, KafkaOptions, KafkaTransport

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["KafkaKind"]


class KafkaKind(Kind):
    """``KafkaTransport``."""

    name = "kafka"
    options = KafkaOptions
    keywords = KafkaKeywords
    place = "kafka://h:7"
    tls_place = "kafka+ssl://h:7"
    defaults: ClassVar = {
        **DEFAULTS,
        "start_timeout": 10.0,
        "connect_timeout": 5.0,
        "max_payload": 1_047_296,
        "partitions": 8,
        "replication": None,
        "retention": 300.0,
        "create_topic": True,
        "idempotence": False,
        "fetch_max_wait": 0.5,
        "linger": 0.0,
        "username": None,
        "password": None,
        "sasl_mechanism": "PLAIN",
        "tls": None,
    }
    needs: ClassVar = {"username": {"password": "p"}, "password": {"username": "u"}}
    may_be_zero = frozenset({"linger"})
    keyword_only = frozenset({"tls", "logger"})
    broken = (
        "kafka://u:{}@host:port",
        "kafka://{}@host:99999",
        "kafka+ssl://u:{}@[::1",
        "kafka://u:{}@a,b:0",
        "kafka://u:{}@a,u:b@c",
        "kafka://host?pasword={}",
        "kafka://host?password={}",
        "kafka://{}@host?username=x&username=y",
        "kafka+ssl://somebody:{}@@host?x=1",
        "kafka://u:{}@host/path",
        "kafka:{}@host",
        "kafka+tls://u:{}@host",
    )

    def transport(self, url: str, **options: Any) -> KafkaTransport:
        return KafkaTransport(url, **options)

    def holding(self, secret: str) -> Iterable[KafkaTransport]:
        encoded = quote(secret, safe="")
        for scheme in ("kafka", "kafka+ssl"):
            at = "127.0.0.1:1,[::1]:1"
            for mechanism in ("PLAIN", "SCRAM-SHA-256"):
                query = f"?sasl_mechanism={mechanism}"
                yield KafkaTransport(f"{scheme}://somebody:{encoded}@{at}{query}")
                yield KafkaTransport(f"{scheme}://{at}{query}", username="u", password=secret)
                yield KafkaTransport(f"{scheme}://{at}{query}&username=u&password={encoded}")

    def text(self, option: str, folder: Path) -> str:
        if option not in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
            return super().text(option, folder)
        file = folder / option
        file.write_text("", "utf-8")
        return str(file)
