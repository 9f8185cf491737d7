"""What a run leaves behind: one JSON file with every single measurement."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

__all__ = ["BINARIES", "MADE", "Calls", "Idle", "Load", "Results", "Run", "Settings"]

MADE = Path(__file__).resolve().parent.parent / "results"
"""Everything that the harness makes; git does not see it."""

BINARIES = MADE / "bin"


class Load(Struct, kw_only=True, forbid_unknown_fields=True):
    """One window under load, as wsload tells it."""

    connections: int
    connect_s: float
    wall_s: float
    count: int
    user_s: float
    system_s: float
    load_cpu: float
    core_busy: float
    core_stolen: float
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    missing: int
    out_of_order: int
    wrong_room: int
    to_sender: int
    closed: int

    @property
    def rate(self) -> float:
        """Deliveries, or replies, a second."""
        return self.count / self.wall_s

    @property
    def user_us(self) -> float:
        """Microseconds that the server spent on each outside the kernel."""
        return 1e6 * self.user_s / self.count if self.count else 0

    @property
    def system_us(self) -> float:
        """Likewise, inside of it."""
        return 1e6 * self.system_s / self.count if self.count else 0

    @property
    def cpu_us(self) -> float:
        """Both."""
        return self.user_us + self.system_us

    @property
    def busy(self) -> float:
        """The share of the window that the server had the CPU."""
        return (self.user_s + self.system_s) / self.wall_s

    @property
    def foreign(self) -> float:
        """The share of the server's core that others took; 0 where it was not pinned."""
        if not self.core_busy:
            return 0
        return max(0, self.core_busy - self.busy) + self.core_stolen

    @property
    def faults(self) -> dict[str, int]:
        """What went wrong, by kind."""
        kinds = ("missing", "out_of_order", "wrong_room", "to_sender", "closed")
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind)}


class Idle(Struct, kw_only=True):
    """Many silent connections."""

    connections: int
    failed: int
    base_kb: int
    full_kb: int
    connect_s: float

    @property
    def kb_each(self) -> float:
        """Resident memory for each connection; the kernel's is not in it."""
        return (self.full_kb - self.base_kb) / self.connections


class Calls(Struct, kw_only=True):
    """System calls for each delivery, by name."""

    burst1: dict[str, float]
    burst20: dict[str, float]


class Run(Struct, kw_only=True, omit_defaults=True):
    """One measurement of one server."""

    server: str
    scenario: str
    repetition: int
    load: Load | None = None
    idle: Idle | None = None
    calls: Calls | None = None
    error: str | None = None


class Settings(Struct, kw_only=True):
    """How it was measured."""

    repetitions: int
    seconds: float
    warm: float
    pinned: bool


class Results(Struct, kw_only=True):
    """A whole run."""

    when: str
    machine: str
    versions: dict[str, str]
    settings: Settings
    skipped: dict[str, str]
    runs: list[Run]

    def save(self, path: Path) -> None:
        """Write the file anew."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read a file that :meth:`save` wrote.

        Raises:
            OSError: It cannot be read.
            msgspec.MsgspecError: It is none of ours.
        """
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def servers(self) -> list[str]:
        """Who was measured, in the order of their first run."""
        return list(dict.fromkeys(run.server for run in self.runs))

    def of(self, server: str, scenario: str) -> list[Run]:
        """The repetitions of one cell."""
        return [run for run in self.runs if (run.server, run.scenario) == (server, scenario)]

    def loads(self, server: str, scenario: str) -> list[Load]:
        """Those that gave figures."""
        return [run.load for run in self.of(server, scenario) if run.load is not None]
