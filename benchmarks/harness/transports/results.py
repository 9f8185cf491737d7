"""What measuring transports leaves behind: one JSON file."""

from __future__ import annotations

from msgspec import Struct

from benchmarks.harness.results import ResultFile

__all__ = ["Burst", "Cost", "Costs"]


class Burst(Struct, kw_only=True):
    """Messages from one process to another, so many at a time.

    Attributes:
        each_s: Seconds of CPU of the process that publishes, of the one that hears, and of the
            broker.
    """

    at_a_time: int
    count: int
    each_s: list[float]


class Cost(Struct, kw_only=True):
    """All figures of one subject; what could not be measured is None."""

    subject: str
    repetition: int
    rooms: int
    bursts: list[Burst] = []
    p50_us: float = 0
    p99_us: float = 0
    subscribe_s: float = 0
    subscribe_cpu_s: float = 0
    subscriptions: int = 0
    traced_bytes: int = 0
    resident_kb: int = 0
    broker_kb: int = 0
    idle_share: float = 0
    restored_s: float | None = None
    restored_cpu_s: float | None = None


class Costs(ResultFile, kw_only=True):
    """A whole run."""

    when: str
    machine: str
    versions: dict[str, str]
    skipped: dict[str, str]
    costs: list[Cost]

    def of(self, subject: str) -> list[Cost]:
        """The repetitions of one subject."""
        return [cost for cost in self.costs if cost.subject == subject]
