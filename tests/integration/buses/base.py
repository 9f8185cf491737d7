"""What the tests ask of a broker, whatever it is: to run, to be overheard, to carry forgeries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = ["Broker", "Bus", "Heard", "Overhearing"]


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
    """

    name: str

    @abstractmethod
    def url(self, **options: str | float) -> str:
        """What the instances are given, with options of the transport."""

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
