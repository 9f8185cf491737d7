"""Fuzzes on its own, with the code of the tests, for as long as told and no longer.

    python tools/fuzz.py --frames 1000000 --seed 1
    python tools/fuzz.py --router 100000 --envelopes 1000000 --seed 1

It stops at its first finding, which it makes as small as it can, and then ends with
status 1. ``--first`` starts at a later case: each depends on the seed and its number
alone, so ``--frames 1 --first N`` runs the one stream N again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.hard.fuzzing.frames_bench import Bench

EVERY = 30.0
"""Seconds between signs of life."""


class Clock:
    """Says now and then how far a run has come."""

    def __init__(self) -> None:
        self.started = self._told = time.monotonic()

    def tell(self, done: str) -> None:
        now = time.monotonic()
        if now - self._told > EVERY:
            self._told = now
            print(f"{now - self.started:6.0f} s: {done}", flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


def fuzz_frames(seed: str, frames: int, first: int) -> bool:
    from tests.core.hard.fuzzing.frames_run import fuzz

    clock = Clock()

    def progress(bench: Bench, number: int) -> None:
        clock.tell(f"{bench.frames} frames, stream {number}")

    outcome = fuzz(seed, frames, first=first, progress=progress)
    print(
        f"frames: {outcome.frames} in {outcome.streams} streams, of which {outcome.unsure} were "
        f"judged in part; seed {seed}, {clock.seconds:.0f} s, {len(outcome.findings)} findings"
    )
    for finding in outcome.findings:
        print(finding)
    return not outcome.findings


def fuzz_cases(
    what: str, check: Callable[[Random], str | None], seed: str, cases: int, first: int
) -> bool:
    clock = Clock()
    for number in range(first, first + cases):
        told = check(Random(f"{seed}/{number}"))
        if told is not None:
            print(f"{what}: seed {seed}, case {number}: {told}")
            return False
        clock.tell(f"{number} {what}")
    print(f"{what}: {cases} cases; seed {seed}, {clock.seconds:.0f} s, 0 findings")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=0, help="frames to send to a server")
    parser.add_argument("--router", type=int, default=0, help="routers to ask for paths")
    parser.add_argument("--envelopes", type=int, default=0, help="texts to read as from a bus")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    asked = parser.parse_args()
    if not (asked.frames or asked.router or asked.envelopes):
        parser.error("say what and how much: --frames, --router, --envelopes")
    fine = True
    if asked.frames:
        fine = fuzz_frames(asked.seed, asked.frames, asked.first)
    if asked.router:
        from tests.core.hard.fuzzing import routes

        fine &= fuzz_cases("lookups", routes.check, asked.seed, asked.router, asked.first)
        costs = max(1, asked.router // 20)
        fine &= fuzz_cases("costs", routes.check_cost, asked.seed, costs, asked.first)
    if asked.envelopes:
        from tests.core.hard.fuzzing import envelopes

        fine &= fuzz_cases("envelopes", envelopes.check, asked.seed, asked.envelopes, asked.first)
    return 0 if fine else 1


if __name__ == "__main__":
    # Started as a file, Python finds this folder and not the one that holds the tests.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    sys.exit(main())
