"""The load generator as a program: its command line, and the line it tells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.harness.results import BINARIES
from benchmarks.harness.server import Failed

if TYPE_CHECKING:
    from benchmarks.harness.machine import Cores

__all__ = ["told", "wsload"]


def wsload(cores: Cores, *words: str) -> list[str]:
    """What starts it, on its core."""
    return cores.pinned([str(BINARIES / "wsload"), *words], load=True)


def told(output: str) -> dict[str, float]:
    """The figures of its last line.

    Raises:
        Failed: It told an error, or nothing that could be read.
    """
    try:
        figures: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise Failed(f"wsload said {output[:100]!r}") from None
    if "error" in figures:
        raise Failed(str(figures["error"]))
    return figures
