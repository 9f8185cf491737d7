"""What a Kafka URL and the options say: which brokers, who asks, and which topic."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from wsrooms.errors import ConfigurationError
from wsrooms.transports import Address, BrokerUrl, shown
from wsrooms_kafka.options import KafkaOptions

__all__ = ["Target"]

PORTS = {"kafka": 9092, "kafka+ssl": 9093}


@dataclass(frozen=True)
class Target:
    """Where the brokers are, and who asks.

    Attributes:
        options: What was chosen.
        scheme: One of the two.
        addresses: The brokers to ask for the others, in the order in which they are asked next.
        login: User and password, as aiokafka's keywords; none for nobody.
        topic: Of all that is said there.
        where: The brokers, as they may be shown.
    """

    options: KafkaOptions
    scheme: str
    addresses: deque[Address]
    login: dict[str, str] = field(repr=False)
    topic: str
    where: str

    @classmethod
    def of(cls, url: str, given: Mapping[str, object] | None = None) -> Target:
        """What ``url`` says, and the options in it and in ``given``, which count first.

        Raises:
            UnknownOption: One does not exist.
            ConfigurationError: It is no URL of a Kafka broker, or a value makes no sense. Its
                text shows nothing that may be a part of a password.
        """
        read = BrokerUrl.of(url, broker="Kafka", ports=PORTS, example="kafka://localhost:9092")
        if read.path.strip("/"):
            raise ConfigurationError(f"a {read.scheme}:// URL has no path behind its brokers")
        options = KafkaOptions.read(read.query, given or {})
        options.check_tls(read.scheme, "kafka+ssl", "tls")
        login = _login(read, options)
        addresses = read.addresses(PORTS[read.scheme])
        return cls(
            options=options,
            scheme=read.scheme,
            addresses=deque(addresses),
            login=login,
            topic=f"wsrooms-{options.namespace}" if options.namespace else "wsrooms",
            where=shown(read.scheme, *addresses),
        )

    def turn(self) -> None:
        """Ask another broker first: one that is silent must not take the others' time."""
        self.addresses.rotate(-1)


def _login(url: BrokerUrl, options: KafkaOptions) -> dict[str, str]:
    """Who asks, as the URL and the options say, which count first."""
    user = url.user if options.username is None else options.username
    password = url.password if options.password is None else options.password
    if bool(user) != bool(password):
        missing, there = ("password", "user") if user else ("user", "password")
        raise ConfigurationError(f"there is a {there} for Kafka and no {missing}: give both")
    if "\0" in user + password:
        raise ConfigurationError("a user or password for Kafka has a NUL in it")
    return {"sasl_plain_username": user, "sasl_plain_password": password} if user else {}
