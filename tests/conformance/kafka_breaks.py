"""Kafka transports that break a promise as only one of Kafka can, and who has to notice it."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tests.conformance.server_breaks import Disobedient
from wsrooms_kafka import KafkaTransport
from wsrooms_kafka.link import KafkaLink
from wsrooms_kafka.reader import Extent, Reader
from wsrooms_kafka.writer import Writer

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer
    from aiokafka.protocol.metadata import MetadataResponse

    from wsrooms.receipt import Receipt
    from wsrooms.transports import BrokerLink, BrokerTransport, Outgoing
    from wsrooms_kafka.target import Target

    Message = Outgoing[bytes]

T = TypeVar("T")

BREAKS: list[tuple[str, type[KafkaTransport]]] = []

LATE = 0.5
"""Seconds by which something is done too late."""


def noticed_by(*names: str) -> Callable[[type[T]], type[T]]:
    """Register a transport that is broken, or whose link, reader or writer is."""

    def register(broken: type[T]) -> type[T]:
        kind = broken if issubclass(broken, KafkaTransport) else _with(broken)
        BREAKS.extend((name, kind) for name in names)
        return broken

    return register


def _with(broken: type[Any]) -> type[KafkaTransport]:
    link = broken if issubclass(broken, KafkaLink) else _link_with(broken)

    class WithLink(KafkaTransport):
        def _make_links(self) -> Sequence[BrokerLink]:
            return (link(self, self.target),)

    WithLink.__name__ = broken.__name__
    return WithLink


def _link_with(broken: type[Any]) -> type[KafkaLink]:
    class WithReader(KafkaLink):
        def __init__(self, transport: BrokerTransport, target: Target) -> None:
            super().__init__(transport, target)
            self._reader = broken(transport, target)

    class WithWriter(KafkaLink):
        def _run(self, coroutine: Coroutine[Any, Any, None], what: str) -> None:
            if what == "reads" and self._writer is not None:  # before it writes
                self._writer = broken(
                    self._transport, self._target, self._writer._producer, self._spread
                )
            super()._run(coroutine, what)

    return WithReader if issubclass(broken, Reader) else WithWriter


# Reading


@noticed_by("confirmed_subscribe_misses_nothing")
class HearsLate(Reader):
    def subscribe(self, channel: str) -> None:
        asyncio.get_running_loop().call_later(LATE, super().subscribe, channel)


@noticed_by("tcp_cut_of_the_subscriber")
class BeginsAtTheEnd(Reader):
    """As a consumer of aiokafka does that is made anew, and one of NATS must."""

    def begin(self, consumer: AIOKafkaConsumer, log: Extent) -> None:
        self._places.clear()
        super().begin(consumer, log)


@noticed_by("tcp_cut_of_the_subscriber")
class BeginsAtTheBeginning(Reader):
    """As ``auto_offset_reset="earliest"`` does by itself."""

    def begin(self, consumer: AIOKafkaConsumer, log: Extent) -> None:
        super().begin(consumer, log)
        for place in self._places.values():
            place.next = 0


# Writing


@noticed_by("a_burst_is_batched")
class SendsOneByOne(Writer):
    async def _send(self, chunk: list[Message]) -> None:
        for message in chunk:
            await super()._send([message])


@noticed_by("tcp_cut_of_the_publisher")
class ConfirmsBeforeItSends(Writer):
    async def _send(self, chunk: list[Message]) -> None:
        self._transport.exchange.settled(dict.fromkeys(chunk))
        await asyncio.sleep(LATE)
        await super()._send(chunk)


@noticed_by("order_with_concurrent_callers")
class SendsTwoBatchesAtOnce(Writer):
    """As a producer of aiokafka does, of which the first may fail and be sent again."""

    async def _send(self, chunk: list[Message]) -> None:
        half = len(chunk) // 2
        await asyncio.gather(super()._send(chunk[half:]), super()._send(chunk[:half]))


# The link


@noticed_by("own_messages_are_skipped")
class DoesNotSeeACut(KafkaLink):
    """As aiokafka, which makes a new connection and tells nobody."""

    def _broke(self, address: str) -> None:
        """Go on."""


@noticed_by("half_open_idle")
class DoesNotMindSilence(KafkaLink):
    def _broke(self, address: str) -> None:
        """Go on."""

    def tick(self, now: float, late: float) -> None:
        """Wait."""


@noticed_by("restart_with_a_lost_log")
class MakesTheTopicOnce(KafkaLink):
    async def _topic(self, given: dict[str, Any], metadata: MetadataResponse, until: float) -> int:
        return self._spread or await super()._topic(given, metadata, until)


# Names and sizes


@noticed_by("odd_room_names")
class TakesNamesForText(KafkaTransport):
    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Receipt:
        return super().subscribe(unicodedata.normalize("NFC", channel), handler)

    def publish(self, channel: str, payload: str) -> Receipt:
        return super().publish(unicodedata.normalize("NFC", channel), payload)


@noticed_by("payloads")
class ForgetsTheEnvelope(Disobedient, KafkaTransport):
    instead: ClassVar[dict[str, Any]] = {"max_payload": 1024 * 1024}


# TLS


@noticed_by("tls_to_plain_port")
class DoesWithoutTls(KafkaTransport):
    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url.replace("kafka+ssl://", "kafka://"), **options)


@noticed_by("tls_untrusted")
class TrustsAnybody(KafkaTransport):
    def __init__(self, url: str, **options: Any) -> None:
        if url.startswith("kafka+ssl://"):
            options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
        super().__init__(url, **options)
