"""Which program a command line is for: the first word says it."""

from __future__ import annotations

from importlib import import_module

__all__ = ["main"]

PROGRAMS = {
    "costs": "benchmarks.harness.transports.cli",
    "kafka": "benchmarks.harness.kafka.cli",
    "many": "benchmarks.harness.many",
    "sizing": "benchmarks.harness.sizing.cli",
}
"""Those with options of their own; each is loaded when it is asked for only."""


def main(arguments: list[str]) -> int:
    """Run it; returns its exit status."""
    word, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if word not in PROGRAMS:
        word, rest = "", arguments
    program = import_module(PROGRAMS.get(word, "benchmarks.harness.cli"))
    status: int = program.main(rest)
    return status
