"""No broker: what one instance does by itself, beside which the others are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.harness.fleet.brokers.broker import Broker

if TYPE_CHECKING:
    from benchmarks.harness.machine import Cores

__all__ = ["Nobody"]


class Nobody(Broker):
    """Stands where a broker would; there is no process."""

    kind: ClassVar[str] = "memory"
    scheme: ClassVar[str] = "memory"
    title: ClassVar[str] = "in memory"
    knows_rooms: ClassVar[bool] = False

    def __init__(self, cores: Cores, name: str, port: int = 0) -> None:
        """Do nothing."""
        self.port = self.pid = 0

    @property
    def url(self) -> str:
        """What a transport is given."""
        return "memory://"

    def resident_kb(self) -> int:
        """Nothing."""
        return 0

    def cpu_seconds(self) -> float:
        """Nothing."""
        return 0

    def stop(self) -> None:
        """Do nothing."""

    def command(self, port: int) -> list[str]:
        """Nothing."""
        return []

    def subscriptions(self) -> int:
        """None."""
        return 0

    @classmethod
    def why_not(cls) -> str | None:
        """It can always be."""
        return None

    @classmethod
    def version(cls) -> tuple[str, str]:
        """None of its own."""
        return "no broker", "in memory"
