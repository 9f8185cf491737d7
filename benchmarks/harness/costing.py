"""What the programs share that measure transports without servers: options, errors, the report."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from benchmarks.harness.machine import CannotMeasure, end_like_an_interrupt, end_of_an_interrupt
from benchmarks.harness.results import MADE, ResultFile
from benchmarks.harness.server import Failed

__all__ = ["Costing", "Tell"]

F = TypeVar("F", bound=ResultFile)

Tell = Callable[[str], None]
"""Is told what was measured, as it is."""


@dataclass(frozen=True, kw_only=True)
class Costing(Generic[F]):
    """One of these programs.

    Attributes:
        name: Its word on the command line, and the name of its result file.
        about: What it measures.
        file: What it leaves behind.
        add_options: Adds those of its own.
        prepare: Makes an empty file of the options; raises CannotMeasure where it can be no more.
        measure: Fills it.
        summary: Tells of it, line by line.
        publish: Writes it into the documentation; returns which pages these are.
    """

    name: str
    about: str
    file: type[F]
    add_options: Callable[[argparse.ArgumentParser], None]
    prepare: Callable[[argparse.Namespace], F]
    measure: Callable[[argparse.Namespace, F, Tell], None]
    summary: Callable[[F], list[str]]
    publish: Callable[[F], list[Path]]

    def main(self, arguments: list[str] | None = None) -> int:
        """Measure or report; returns the exit status: 2 if nothing could be done."""
        options = self._parser().parse_args(arguments)
        end_like_an_interrupt()
        try:
            found = self._found(options)
            print("\n".join(["", *self.summary(found)]))
            if options.write:
                print(f"wrote {', '.join(path.name for path in self.publish(found))}")
        except (CannotMeasure, Failed, msgspec.MsgspecError, ValueError, OSError) as error:
            print(f"wsrooms: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return end_of_an_interrupt()
        return 0

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(
            prog=f"benchmarks/run.py {self.name}", description=self.about
        )
        self.add_options(parser)
        option = parser.add_argument
        option("--out", type=Path, default=MADE / f"{self.name}.json", help="the result file")
        option("--report", metavar="FILE", type=Path, help="measure nothing, show this result file")
        option("--write", action="store_true", help="renew the tables in docs/")
        return parser

    def _found(self, options: argparse.Namespace) -> F:
        if options.report is not None:
            return self.file.read(options.report)
        found = self.prepare(options)
        began = time.monotonic()

        def tell(line: str) -> None:
            print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

        try:
            self.measure(options, found, tell)
        finally:
            found.save(options.out)
            print(f"wsrooms: every figure is in {options.out}")
        return found
