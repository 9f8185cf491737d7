"""The options of the Kafka transport."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from wsrooms.errors import ConfigurationError
from wsrooms.transports import TlsKeywords, TlsOptions

__all__ = ["KafkaKeywords", "KafkaOptions", "Mechanism"]

BOUNDS = (
    ("partitions", 1, 10_000),
    ("replication", 1, 32_767),
    ("retention", 1, 1e9),
    ("fetch_gather", 0, 1),
    ("linger", 0, 1),
)
"""What Kafka could not read, or would take hours to make, is not worth a try."""

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, kw_only=True)
class KafkaOptions(TlsOptions):
    """Options of the Kafka transport, with those of every transport.

    Attributes:
        start_timeout: Seconds until ``start()`` gives up; the topic may have to be made.
        connect_timeout: Seconds for one try to connect, log in, and find the end of the log.
        outbox_age: Seconds that a message may wait: longer than with other brokers, since one
            that was killed is refused by its own cluster for 9 s, and then reads its log.
        client_name: What the broker's log and metrics show.
        max_payload: Bytes that a message may have. The broker's ``message.max.bytes``
            (1,048,588 by default) counts for the whole batch, with 1 KiB for the room's name.
        partitions: Of the topic, if it has to be made: how far reading can be spread at the
            brokers. A topic that has fewer gets more, one that has more keeps them.
        replication: Brokers that keep each message, if the topic has to be made; None: 3, or
            as many as there are.
        retention: Seconds that the topic keeps messages, if it has to be made: how long an
            instance may be cut off and lose nothing.
        create_topic: Whether to make the topic, and to repair it.
        idempotence: Whether the broker drops what is sent twice; without it receivers do.
        fetch_max_wait: Seconds that the broker waits with an answer while nothing happens:
            it does not delay messages, and says what idling costs. At most half of
            ``ping_interval`` and of ``confirm_timeout``.
        fetch_gather: Seconds in which messages that come quickly, one after the other, are
            let come together, since each fetch costs as much as 200 messages. A message that
            comes after a longer pause is never held. 0: fetch at once, for less latency.
        linger: Seconds between two batches to send, at least; one after a longer pause goes
            out at once. Even without it, what is published while a batch is under way goes
            out in one.
        username: Who logs in, if the URL does not say so.
        password: Of the user.
        sasl_mechanism: How to log in.
        tls: How to encrypt, instead of the options whose names begin with ``ssl_``.
        logger: For what nobody else is told.
    """

    may_be_zero: ClassVar[frozenset[str]] = frozenset({"fetch_gather", "linger"})

    start_timeout: float = 10.0
    connect_timeout: float = 5.0
    outbox_age: float = 30.0
    client_name: str = "wsrooms"
    max_payload: int = 1024 * 1024 - 256 - 1024
    partitions: int = 8
    replication: int | None = None
    retention: float = 300.0
    create_topic: bool = True
    idempotence: bool = False
    fetch_max_wait: float = 0.5
    fetch_gather: float = 0.005
    linger: float = 0.0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sasl_mechanism: Mechanism = "PLAIN"
    tls: ssl.SSLContext | None = None
    logger: logging.Logger | None = None

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ConfigurationError: A value makes no sense; the text says which would.
        """
        super().__post_init__()
        for name, least, most in BOUNDS:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ConfigurationError(
                    f"option {name!r} has to be between {least:g} and {most:g}, not {value!r}"
                )
        self.check_context(self.tls)


class KafkaKeywords(TlsKeywords, total=False):
    """The keywords of :class:`KafkaTransport`, which :class:`KafkaOptions` explains."""

    client_name: str
    max_payload: int
    partitions: int
    replication: int | None
    retention: float
    create_topic: bool
    idempotence: bool
    fetch_max_wait: float
    fetch_gather: float
    linger: float
    username: str | None
    password: str | None
    sasl_mechanism: Mechanism
    tls: ssl.SSLContext | None
    logger: logging.Logger | None
