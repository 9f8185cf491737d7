"""One server under one load, and which of its functions the time goes to.

Three views, each of a window of its own, so that none sees the cost of another: ``perf`` samples
native functions and the kernel, ``py-spy`` samples Python functions, and ``callgrind`` counts the
instructions of native functions, which no other program on the machine disturbs.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.contenders import CONTENDERS, PEERS_PYTHON, Contender, why_not
from benchmarks.harness.instructions import Callgrind
from benchmarks.harness.machine import (
    CannotMeasure,
    build,
    choose_cores,
    end_of_an_interrupt,
)
from benchmarks.harness.measure import Bench
from benchmarks.harness.scenarios import LOADS, SCENARIOS, Scenario
from benchmarks.harness.server import Failed
from benchmarks.harness.tables import Row, table

__all__ = ["by_function", "main"]

VIEWS = ("perf", "py-spy", "callgrind")

SAMPLES = 499
"""A second; odd, so that no timer of the server keeps step with it."""


def main(arguments: list[str] | None = None) -> int:
    """Profile and print the tables; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        views = options.views.split(",")
        for name, known in (
            (options.server, list(CONTENDERS)),
            (options.scenario, LOADS),
            *((view, list(VIEWS)) for view in views),
        ):
            if name not in known:
                raise CannotMeasure(f"there is no {name!r}; there are {', '.join(known)}")
        build()
        contender = CONTENDERS[options.server]
        if (reason := why_not(contender)) is not None:
            raise CannotMeasure(f"{contender.name} cannot run: {reason}")
        cores, _ = choose_cores()
        bench = Bench(
            cores=cores,
            seconds=options.secs,
            warm=0.5,
            idle_connections=0,
            crowd=0,
            sockets=0,
        )
        profiler = Profiler(bench, contender, SCENARIOS[options.scenario], options.top)
        for view in views:
            print("\n".join([*profiler.view(view), ""]), flush=True)
    except (CannotMeasure, Failed, OSError) as error:
        print(f"wsrooms: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return end_of_an_interrupt()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks/profile.py", description="Shows where the time of a server goes."
    )
    option = parser.add_argument
    option("server", help="as `benchmarks/run.py --list` names it")
    option("scenario", help=", ".join(LOADS))
    option("--secs", type=float, default=4, help="seconds of each view (4)")
    option("--top", type=int, default=30, help="functions of each view (30)")
    option("--views", metavar="A,B", default="perf,py-spy", help=f"of {', '.join(VIEWS)}")
    return parser


@dataclass
class Profiler:
    """One server, one load."""

    bench: Bench
    contender: Contender
    scenario: Scenario
    top: int

    def view(self, name: str) -> list[str]:
        """The lines of one view; a missing program is told in its place."""
        head = [f"## {self.contender.name}, {self.scenario.name}: {name}", ""]
        try:
            if name == "callgrind":
                return head + self._counted()
            return head + (self._python() if name == "py-spy" else self._native())
        except Failed as error:
            return [*head, f"not to be had here: {error}"]

    def _counted(self) -> list[str]:
        if shutil.which("callgrind_annotate") is None:
            raise Failed("valgrind is not on PATH")
        counter = Callgrind(self.contender, self.bench.cores)
        with counter.server as server:
            load, count = self.bench.counted(self.contender, self.scenario, counter, server)
            words = ["callgrind_annotate", "--threshold=100", str(counter.newest())]
            told = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        rows = _annotated(told, count, load.received)[: self.top]
        each = f"{count / load.received:,.0f} instructions for each of {load.received:,}"
        each = f"{each} {self.scenario.unit}, none of the kernel's"
        return [each, "", *table(["function", "share", "for each", "in"], rows)]

    def _native(self) -> list[str]:
        if shutil.which("perf") is None:
            raise Failed("perf is not on PATH")
        with tempfile.TemporaryDirectory() as folder:
            data = str(Path(folder) / "perf.data")
            record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES), "-o", data]
            cost = self._under_load(record, "-p")
            report = ["perf", "report", "-i", data, "--stdio", "-t", "\t", "-F", "sample,dso,sym"]
            told = subprocess.run(report, capture_output=True, text=True, check=False)
        rows = _sampled(told.stdout)
        if not rows:
            raise Failed(f"perf: {told.stderr.strip()[-200:]}")
        return [cost, "", *table(["function", "share", "in"], rows[: self.top])]

    def _python(self) -> list[str]:
        near = [str(Path(python).parent / "py-spy") for python in (sys.executable, PEERS_PYTHON)]
        found = next(filter(None, map(shutil.which, ["py-spy", *near])), None)
        if found is None:
            raise Failed("py-spy is not on PATH (pip install py-spy)")
        with tempfile.TemporaryDirectory() as folder:
            stacks = Path(folder) / "stacks"
            record = [found, "record", "--format", "raw", "--rate", str(SAMPLES), "--function"]
            record += ["--duration", str(round(self.bench.seconds)), "--output", str(stacks)]
            cost = self._under_load(record, "--pid")
            if not stacks.exists():
                raise Failed("py-spy has written nothing; does it need root?")
            lines = stacks.read_text("utf-8").splitlines()
        heads = ["function", "itself", "with what it calls"]
        return [cost, "", *table(heads, by_function(lines)[: self.top])]

    def _under_load(self, record: list[str], pid: str) -> str:
        """Load the server with ``record`` looking on; returns what the load has cost."""
        with self.bench.start(self.contender) as server:
            self.bench.load(self.contender, self.scenario, server, seconds=0.2)
            # It starts while clients connect and stops in the window's last second.
            look = subprocess.Popen(
                [*record, pid, str(server.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            try:
                load = self.bench.load(self.contender, self.scenario, server)
            finally:
                look.terminate()
                look.communicate(timeout=30)
        return (
            f"{load.rate:,.0f} {self.scenario.unit}/s at {load.user_us:.2f} + "
            f"{load.system_us:.2f} µs (user + system) each, slowed by being looked at"
        )


def by_function(stacks: Iterable[str]) -> list[Row]:
    """Stacks as py-spy's raw format has them, "a;b;c 12": who worked, and on whose behalf."""
    itself: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        path = frames.split(";")
        itself[path[-1]] += int(count)
        for frame in set(path):
            whole[frame] += int(count)
    total = itself.total() or 1
    ranked = sorted(whole, key=lambda frame: (itself[frame], whole[frame]), reverse=True)
    return [
        [frame, f"{itself[frame] / total:.1%}", f"{whole[frame] / total:.1%}"] for frame in ranked
    ]


def _sampled(told: str) -> list[Row]:
    found: list[tuple[int, str, str]] = []
    for line in told.splitlines():
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) == 3 and fields[0].isdigit():
            found.append((int(fields[0]), fields[1], fields[2]))
    total = sum(count for count, _, _ in found) or 1
    kernel = sum(count for count, _, symbol in found if symbol.startswith("[k]"))
    rows: list[Row] = [["all of the kernel", f"{kernel / total:.1%}", ""]] if found else []
    return rows + [
        [symbol.removeprefix("[.] "), f"{count / total:.1%}", library]
        for count, library, symbol in sorted(found, reverse=True)
    ]


def _annotated(told: str, count: int, deliveries: int) -> list[Row]:
    """One row a function: callgrind has more, by source file and depth of recursion."""
    itself: Counter[str] = Counter()
    libraries: dict[str, str] = {}
    line_of = re.compile(r"^\s*([\d,]+) \(\s*[\d.]+%\)\s+\S*?:(.+?)(?:'\d+)?(?: \[(.*)\])?$")
    for line in told.splitlines():
        if (found := line_of.match(line)) is None:
            continue
        itself[found[2]] += int(found[1].replace(",", ""))
        if found[3]:
            libraries[found[2]] = Path(found[3]).name
    return [
        [name, f"{own / count:.1%}", f"{own / deliveries:,.0f}", libraries.get(name, "")]
        for name, own in itself.most_common()
    ]
