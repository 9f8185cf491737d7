"""What the tests ask of a broker, whatever it is: to run, to be overheard, to carry forgeries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from wsrooms.testing import TcpProxy

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tests.brokers import Server

__all__ = ["Broker", "Bus", "Heard", "Overhearing"]


PROXIES = 3
"""How many proxies a test may put before a broker: one for each instance."""


class Heard(NamedTuple):
    """What a foreign client of the broker reads of one message between instances."""

    channel: str
    instance: str
    epoch: int
    seq: int
    payload: bytes


class Overhearing(ABC):
    """A foreign client that listens; nothing is missed from the moment it is there."""

    @abstractmethod
    async def next(self) -> Heard:
        """The next message; AssertionError if it is none of ours.

        Raises:
            TimeoutError: None has come.
        """


class Broker(ABC):
    """One broker that runs, for one test. Channels are those of the core, such as ``ws:room:a``.

    Attributes:
        name: For whoever reads a report.
        keeps_log: Whether an instance reads on from where its link broke, also after a restart
            of the server: then nothing is lost, and no gap told.
        at_least: Options that must not be less than this, however quick a test wants to be.
    """

    name: str
    keeps_log: bool = False
    at_least: Mapping[str, float] = MappingProxyType({})

    @abstractmethod
    def url(self, **options: str | float) -> str:
        """What the instances are given, with options of the transport."""

    @property
    @abstractmethod
    def server(self) -> Server:
        """What runs: it can be killed, stopped and started again."""

    def proxied(self, number: int = 0, *, login: bool = False) -> TcpProxy:
        """A proxy before it: whoever is given its port reaches the broker by no other way.

        Args:
            number: Of ``PROXIES`` numbers each is that of one proxy at a time.
            login: Whether it is for those who log in.
        """
        return TcpProxy(self.server.host, self.server.port)

    @abstractmethod
    def overhear(
        self, *channels: str, namespace: str = ""
    ) -> AbstractAsyncContextManager[Overhearing]:
        """Listen as a client of the broker that is no instance."""

    @abstractmethod
    async def publish(self, channel: str, data: bytes, *, namespace: str = "") -> None:
        """Publish ``data`` as they are, as a foreigner does."""

    @abstractmethod
    async def forge(
        self, channel: str, payload: bytes, *, instance: str, seq: str, epoch: str = "1"
    ) -> None:
        """Publish ``payload`` in the envelope of an instance."""

    @abstractmethod
    async def subscriptions(self) -> set[str] | None:
        """What instances hear of each other, by the broker's own list; None if it has none.

        A namespace is part of a name, as the broker shows it.
        """

    @abstractmethod
    async def connections(self) -> list[str] | None:
        """A name for each connection of an instance to the broker; None if it tells nobody."""


class Bus(ABC):
    """A kind of broker.

    Attributes:
        name: Of the kind, as tests show it.
    """

    name: str

    @abstractmethod
    def prepare(self) -> None:
        """Load what takes so long that no test's event loop should have to wait for it."""

    @abstractmethod
    def running(self) -> AbstractAsyncContextManager[Broker]:
        """Start one; skips the test, or fails it, where there is none."""

    def end(self) -> None:  # noqa: B027 - most have nothing that outlives a test
        """Leave nothing of what outlived a test. No loop runs then."""
