"""The servers that these tests share: each takes five seconds to start."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from tests.brokers import KafkaServer, kafka_server
from tests.kafka.shared import needs_kafka
from tests.transports.kinds.kafka import KEPT

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = ["PLAIN_USERS", "documented_server", "fresh", "open_server", "secured_server"]

PLAIN_USERS = {"ann": "pa \"ss\\w:/?#@%'", "bob": "b"}
"""Who may log in by PLAIN at the secured server; by SCRAM whoever a test adds."""

TLS_LOGIN, TLS_ONLY = 0, 1
"""The proxies of the secured server: through the first one logs in, to the second one shows a
certificate."""


def open_server() -> AbstractAsyncContextManager[KafkaServer]:
    """One that lets everybody do everything, the same as in ``tests/transports``."""
    needs_kafka()
    return KEPT.server(("open", False), kafka_server)


def secured_server() -> AbstractAsyncContextManager[KafkaServer]:
    """One with logins by PLAIN and SCRAM-SHA-256, whose users may do what they are granted."""
    return KEPT.server("secured", _secured)


def _secured() -> KafkaServer:
    return kafka_server(
        sasl="PLAIN,SCRAM-SHA-256",
        users=PLAIN_USERS,
        acls=True,
        proxies=("SASL_SSL", "SSL"),
        settings={
            "SSL_CLIENT_AUTH": "required",
            "SSL_TRUSTSTORE_TYPE": "PEM",
            "SSL_TRUSTSTORE_LOCATION": "ca.pem",
            "CONNECTION_FAILED_AUTHENTICATION_DELAY_MS": "10",
        },
    )


def documented_server() -> AbstractAsyncContextManager[KafkaServer]:
    """One for what the documentation shows: it grants its users nothing.

    Behind its proxies are TLS, nothing, and TLS that wants a certificate.
    """
    return KEPT.server("documented", _documented)


def _documented() -> KafkaServer:
    third = "listener.name.proxied2.ssl"
    return kafka_server(
        sasl="PLAIN,SCRAM-SHA-512",
        users={"wsrooms": "p@ssword", "chat": "sesame"},
        acls=True,
        proxies=("SSL", "PLAINTEXT", "SSL"),
        settings={
            f"{third}.client.auth": "required",
            f"{third}.truststore.type": "PEM",
            f"{third}.truststore.location": "ca.pem",
            # Whoever shows a certificate is this user.
            "ssl.principal.mapping.rules": "RULE:^.*$/wsrooms/",
        },
    )


def fresh() -> str:
    """A namespace that nobody else has, and so a topic; also a user's name."""
    return uuid.uuid4().hex[:12]
