"""What a run leaves behind: one JSON file with every single measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import msgspec
from msgspec import Struct

__all__ = [
    "BINARIES",
    "MADE",
    "ROOT",
    "Calls",
    "Disconnect",
    "Flood",
    "Goodbyes",
    "Idle",
    "Instructions",
    "Joining",
    "Level",
    "Load",
    "Memory",
    "Restart",
    "ResultFile",
    "Results",
    "Rooms",
    "Run",
    "Settings",
    "Stranger",
    "Traffic",
    "Turns",
    "What",
]

What = Literal["server", "fleet", "transports"]
"""One server alone, fleets beside those of other libraries, or all of our transports."""

ROOT = Path(__file__).resolve().parents[2]

MADE = ROOT / "benchmarks/results"
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
    received: int = 0
    each_s: list[float] = []

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
        # Of several programs that were measured, the first has this core.
        own = self.each_s[0] / self.wall_s if self.each_s else self.busy
        return max(0, self.core_busy - own) + self.core_stolen

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


class Memory(Struct, kw_only=True):
    """The same connections: opened, after a request each, and in their rooms."""

    connections: int
    memberships: int
    base_kb: int
    open_kb: int
    spoken_kb: int
    joined_kb: int

    @property
    def open_kb_each(self) -> float:
        """Resident memory for each that has said nothing yet; the kernel's is not in it."""
        return (self.open_kb - self.base_kb) / self.connections

    @property
    def spoken_kb_each(self) -> float:
        """Likewise, after its first message."""
        return (self.spoken_kb - self.base_kb) / self.connections

    @property
    def membership_bytes(self) -> float:
        """What a room adds to a connection."""
        return 1024 * (self.joined_kb - self.spoken_kb) / self.memberships


class Joining(Struct, kw_only=True):
    """Joins that were all asked for at once."""

    count: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Confirmed joins a second."""
        return self.count / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of the server for each."""
        return 1e6 * self.cpu_s / self.count


class Goodbyes(Struct, kw_only=True):
    """Connections that left beside ``others``; the median and the least of some batches."""

    others: int
    rooms: int
    cpu_us: float
    least_us: float


class Disconnect(Struct, kw_only=True):
    """Goodbyes as the instance grew: first with one room, then with a room each."""

    steps: list[Goodbyes]

    def growing(self, *, one_room: bool) -> list[Goodbyes]:
        """Those with one room, or those with many."""
        return [step for step in self.steps if (step.rooms == 1) == one_room]


class Level(Struct, kw_only=True):
    """A window at a share of what the server can do."""

    share: float
    load: Load


class Instructions(Struct, kw_only=True):
    """Instructions outside the kernel for each delivery or reply, by scenario."""

    counted_by: str
    each: dict[str, float]


class Turns(Struct, kw_only=True):
    """Joins of rooms that nobody was in, one after the other by each client, on one instance."""

    clients: int
    count: int
    seconds: float
    cpu_s: float
    broker_cpu_s: float
    p50_us: float
    p99_us: float

    @property
    def rate(self) -> float:
        """Confirmed joins a second."""
        return self.count / self.seconds


class Rooms(Struct, kw_only=True):
    """An instance and its broker before and after so many joins, of a room each."""

    rooms: int
    base_kb: int
    full_kb: int
    broker_base_kb: int
    broker_full_kb: int

    @property
    def bytes_each(self) -> float:
        """Resident memory of the instance for each room, with its one member."""
        return 1024 * (self.full_kb - self.base_kb) / self.rooms

    @property
    def broker_bytes_each(self) -> float:
        """Likewise, of the broker."""
        return 1024 * (self.broker_full_kb - self.broker_base_kb) / self.rooms


class Restart(Struct, kw_only=True):
    """A broker that was killed and started anew, under an instance with many rooms.

    Seconds count from the moment when it accepts again; None is never. All that was ``said``
    meanwhile was said to members of some of these rooms; ``lost`` is what they never heard of it.
    """

    rooms: int
    outage_s: float
    channels: int
    channels_after: int
    channels_s: float | None
    heard_s: float | None
    heard: int
    twice: int
    said: int
    lost: int
    closed: int
    cpu_s: float


class Stranger(Struct, kw_only=True):
    """An instance that hosts none of the rooms in which others talk."""

    messages: int
    seconds: float
    cpu_s: float
    idle_share: float

    @property
    def cpu_us(self) -> float:
        """Microseconds for each message of the others, beside what it takes when all is quiet."""
        return 1e6 * max(0, self.cpu_s - self.idle_share * self.seconds) / self.messages


class Flood(Struct, kw_only=True):
    """Messages of one process to so many others, without WebSockets.

    Attributes:
        hearing: How many hear each of them.
        bytes_in: What the first process sent for all of it, with all headers.
        bytes_out: What one of the others received for it.
        stranger_cpu_s: Of one more process, which wants none of them, if there is one.
    """

    rate: int
    hearing: int
    messages: int
    seconds: float
    broker_cpu_s: float
    talker_cpu_s: float
    hearer_cpu_s: float
    stranger_cpu_s: float | None
    bytes_in: int
    bytes_out: int


class Traffic(Struct, kw_only=True):
    """What messages cost the broker and its connections.

    Attributes:
        payload: The bytes of each message.
        connections: Of one process to the broker.
        idle_share: Of a core, of the broker while nobody says anything.
        broker_kb: The resident memory of the broker then.
    """

    payload: int
    connections: int
    idle_share: float
    broker_kb: int
    floods: list[Flood]


class Run(Struct, kw_only=True, omit_defaults=True):
    """One measurement of one server.

    ``most`` is a second window, in which as much was sent as went through.
    """

    server: str
    scenario: str
    repetition: int
    load: Load | None = None
    most: Load | None = None
    idle: Idle | None = None
    calls: Calls | None = None
    memory: Memory | None = None
    joins: dict[str, Joining] | None = None
    disconnect: Disconnect | None = None
    levels: list[Level] | None = None
    instructions: Instructions | None = None
    turns: list[Turns] | None = None
    rooms: Rooms | None = None
    restart: Restart | None = None
    stranger: Stranger | None = None
    writes: dict[str, float] | None = None
    traffic: Traffic | None = None
    error: str | None = None

    def windows(self) -> list[Load]:
        """Every window under load that is in it."""
        whole = [load for load in (self.load, self.most) if load is not None]
        return whole + [level.load for level in self.levels or []]


class Settings(Struct, kw_only=True):
    """How it was measured."""

    repetitions: int
    seconds: float
    warm: float
    pinned: bool


class ResultFile(Struct, kw_only=True):
    """What is kept as one JSON file."""

    def save(self, path: Path) -> None:
        """Write the file anew."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.as_json(), "utf-8")

    def as_json(self) -> str:
        """The text of the file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that :meth:`save` wrote.

        Raises:
            OSError: It cannot be read.
            msgspec.MsgspecError: It is none of ours.
        """
        return msgspec.json.decode(path.read_bytes(), type=cls)


class Results(ResultFile, kw_only=True):
    """A whole run."""

    when: str
    machine: str
    versions: dict[str, str]
    settings: Settings
    skipped: dict[str, str]
    runs: list[Run]
    what: What = "server"

    def servers(self) -> list[str]:
        """Who was measured, in the order of their first run."""
        return list(dict.fromkeys(run.server for run in self.runs))

    def of(self, server: str, scenario: str) -> list[Run]:
        """The repetitions of one cell."""
        return [run for run in self.runs if (run.server, run.scenario) == (server, scenario)]

    def loads(self, server: str, scenario: str) -> list[Load]:
        """Those that gave figures."""
        return [run.load for run in self.of(server, scenario) if run.load is not None]
