"""Kafka."""

from __future__ import annotations

import struct
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from tests.brokers import KafkaServer, kafka_server
from tests.brokers.kept import Kept
from tests.transports.kinds.base import DEFAULTS, Kind
from wsrooms_kafka import KafkaKeywords, KafkaOptions, KafkaTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.brokers import Server
    from wsrooms.testing import TcpProxy

__all__ = ["KEPT", "KafkaKind"]

KEPT: Kept[KafkaServer] = Kept()
"""A Kafka takes five seconds to start: tests share them."""

USER, MECHANISM = "somebody", "SCRAM-SHA-256"
REVOKING = {
    # Whoever has logged in is let go after that: a new password needs no restart.
    "CONNECTIONS_MAX_REAUTH_MS": "2500",
    "CONNECTION_FAILED_AUTHENTICATION_DELAY_MS": "10",
}

FETCH = 1
ANSWERS: Any = import_module("aiokafka.protocol.fetch")  # which has no types


class KafkaConversation:
    """What passes over a connection of Kafka's, in its own frames.

    A frame is a length and what has it. A question begins with what it is, the version of that,
    and its number, with which its answer begins.
    """

    def __init__(self) -> None:
        self._sent = self._came = b""
        self._fetches: dict[int, int] = {}

    def sent(self, data: bytes) -> None:
        """Note which questions are for messages, and of what version."""
        frames, self._sent = _frames(self._sent + data)
        for frame in frames:
            what, version, number = struct.unpack_from(">hhi", frame)
            if what == FETCH:
                self._fetches[number] = version

    def came(self, data: bytes, *, muted: bool) -> bytes:
        """All answers that are whole, without the messages in them while ``muted``."""
        frames, self._came = _frames(self._came + data)
        passed: list[bytes] = []
        for frame in frames:
            version = self._fetches.pop(struct.unpack_from(">i", frame)[0], None)
            if version is not None and muted:
                answers = getattr(ANSWERS, f"FetchResponse_v{version}")
                answer = answers.decode(frame[4:])
                answer.topics = [
                    (name, [(*partition[:-1], b"") for partition in partitions])
                    for name, partitions in answer.topics
                ]
                frame = frame[:4] + answer.encode()
            passed.append(struct.pack(">i", len(frame)) + frame)
        return b"".join(passed)


def _frames(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames at the beginning, and what is behind them."""
    frames: list[bytes] = []
    while len(data) >= 4 and len(data) >= (end := 4 + struct.unpack_from(">i", data)[0]):
        frames.append(data[4:end])
        data = data[end:]
    return frames, data


class KafkaKind(Kind):
    """``KafkaTransport``."""

    name = "kafka"
    options = KafkaOptions
    keywords = KafkaKeywords
    place = "kafka://h:7"
    tls_place = "kafka+ssl://h:7"
    ports = (9092, 9093)
    defaults: ClassVar = {
        **DEFAULTS,
        "start_timeout": 10.0,
        "connect_timeout": 5.0,
        "outbox_age": 30.0,
        "max_payload": 1_047_296,
        "partitions": 8,
        "replication": None,
        "retention": 300.0,
        "create_topic": True,
        "idempotence": False,
        "fetch_max_wait": 0.5,
        "fetch_gather": 0.005,
        "linger": 0.0,
        "username": None,
        "password": None,
        "sasl_mechanism": "PLAIN",
        "tls": None,
    }
    needs: ClassVar = {"username": {"password": "p"}, "password": {"username": "u"}}
    may_be_zero = frozenset({"fetch_gather", "linger"})
    keyword_only = frozenset({"tls", "logger"})
    closes = 80
    started_in = 0.3
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

    def server(self, *, tls: bool = False) -> AbstractAsyncContextManager[KafkaServer]:
        return KEPT.server(("open", tls), lambda: kafka_server(tls=tls))

    def way(self, server: Server) -> tuple[int, int]:
        assert isinstance(server, KafkaServer)
        return server.way()

    def proxy(self, server: Server) -> TcpProxy:
        assert isinstance(server, KafkaServer)
        return server.proxy()

    def conversation(self) -> KafkaConversation:
        return KafkaConversation()

    @asynccontextmanager
    async def guarded(self, password: str) -> AsyncIterator[KafkaServer]:
        def make() -> KafkaServer:
            return kafka_server(sasl=MECHANISM, settings=REVOKING)

        async with KEPT.server("guarded", make) as server:
            await self.demand(server, password)
            yield server

    async def demand(self, server: Server, password: str) -> None:
        assert isinstance(server, KafkaServer)
        await server.rights.add_user(USER, password, MECHANISM)

    def url(self, server: Server, *, password: str = "", user: str = "") -> str:
        login = f"{quote(user or USER, safe='')}:{quote(password, safe='')}@" if password else ""
        query = f"?sasl_mechanism={MECHANISM}" if password else ""
        return f"{server.setup.scheme}://{login}{server.host}:{server.port}{query}"

    def holding(self, secret: str) -> Iterable[KafkaTransport]:
        encoded = quote(secret, safe="")
        for scheme in ("kafka", "kafka+ssl"):
            at = "127.0.0.1:1,[::1]:1"
            for mechanism in ("PLAIN", "SCRAM-SHA-256"):
                query = f"?sasl_mechanism={mechanism}"
                yield KafkaTransport(f"{scheme}://somebody:{encoded}@{at}{query}")
                yield KafkaTransport(f"{scheme}://{at}{query}", username="u", password=secret)
                yield KafkaTransport(f"{scheme}://{at}{query}&username=u&password={encoded}")

    def logging_in(self, server: Server, secret: str) -> Iterable[KafkaTransport]:
        yield KafkaTransport(self.url(server, password=secret))
        yield KafkaTransport(self.url(server, password=secret, user="nobody"))
        for mechanism in ("PLAIN", "SCRAM-SHA-512"):  # which are not enabled
            url = f"{server.url}?sasl_mechanism={mechanism}"
            yield KafkaTransport(url, username=USER, password=secret)

    def text(self, option: str, folder: Path) -> str:
        if option not in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
            return super().text(option, folder)
        file = folder / option
        file.write_text("", "utf-8")
        return str(file)
