"""What measuring Kafka leaves behind: one JSON file."""

from __future__ import annotations

from msgspec import Struct

from benchmarks.harness.results import ResultFile

__all__ = ["Idle", "KafkaCosts", "Others", "Speed", "Way"]


class Way(Struct, kw_only=True):
    """How long messages take from one process to another, so many a second."""

    setting: str
    rate: int
    count: int
    p50_us: float
    p90_us: float
    p99_us: float
    most_us: float


class Speed(Struct, kw_only=True):
    """How many messages a second go from one process to another, many at a time."""

    setting: str
    messages: int
    seconds: float


class Idle(Struct, kw_only=True):
    """Shares of a core that a client and the broker take while nobody says anything.

    Attributes:
        fetch_max_wait: Seconds; 0 where there is no client.
    """

    fetch_max_wait: float
    partitions: int
    client: float
    broker: float


class Others(Struct, kw_only=True):
    """A process that wants nothing of what others say."""

    subject: str
    rate: int
    messages: int
    seconds: float
    cpu_s: float
    broker_cpu_s: float
    idle: float

    @property
    def share(self) -> float:
        """The share of a core that it takes."""
        return self.cpu_s / self.seconds

    @property
    def each_us(self) -> float:
        """Microseconds for each message, beside what it takes when all is quiet."""
        return 1e6 * max(0, self.cpu_s - self.idle * self.seconds) / self.messages


class KafkaCosts(ResultFile, kw_only=True):
    """A whole run."""

    when: str
    machine: str
    versions: dict[str, str]
    skipped: dict[str, str]
    repetitions: int = 0
    ways: list[Way]
    speeds: list[Speed]
    idles: list[Idle]
    others: list[Others]
