"""Run many seeds of the simulation (tests/simulation) on all cores, or replay one.

    python tools/simulate.py --seeds 10000
    python tools/simulate.py --seed 4711          # the same run again, with its history
    python tools/simulate.py --mutants            # how soon each planted bug is found

It exits with 1 if a promise was broken; each failing seed is listed with the command
that replays it, with as few steps as still fail.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.simulation.mutants_linked import MUTANTS  # noqa: E402 - the path is set above
from tests.simulation.run import Outcome, simulate  # noqa: E402
from tests.simulation.storm import STEPS  # noqa: E402

CHUNK = 20
SHOWN = 10


def failures_of(seeds: range) -> tuple[int, list[tuple[int, int, str]]]:
    """How many records a chunk of seeds wrote, and each that failed: seed, steps, why."""
    failed: list[tuple[int, int, str]] = []
    records = 0
    for seed in seeds:
        outcome = simulate(seed)
        records += outcome.records
        if outcome.failures:
            failed.append((seed, fewest_steps(seed), outcome.failures[0]))
    return records, failed


def fewest_steps(seed: int) -> int:
    """As few steps of a failing seed as bisection finds that still fail."""
    works, fails = 0, STEPS
    while fails - works > 1:
        middle = (works + fails) // 2
        if simulate(seed, middle).failures:
            fails = middle
        else:
            works = middle
    return fails


def run_all(first: int, count: int, jobs: int) -> int:
    """Run ``count`` seeds; returns how many failed."""
    began = time.monotonic()
    last = first + count
    chunks = [range(at, min(at + CHUNK, last)) for at in range(first, last, CHUNK)]
    done = records = 0
    failed: list[tuple[int, int, str]] = []
    with multiprocessing.Pool(jobs) as pool:
        for chunk, (written, found) in zip(chunks, pool.imap(failures_of, chunks), strict=True):
            done += len(chunk)
            records += written
            failed += found
            for seed, steps, why in found[: max(0, SHOWN - len(failed) + len(found))]:
                print(f"seed {seed} fails within {steps} steps: {why.splitlines()[0]}")
                print(f"    replay: python tools/simulate.py --seed {seed} --steps {steps}")
            if not done % 1000:
                print(f"{done} seeds, {time.monotonic() - began:.0f} s", flush=True)
    seconds = time.monotonic() - began
    print(
        f"{done} seeds, {records} records, {len(failed)} failed, in {seconds:.0f} s "
        f"({seconds * 1000 / max(1, done):.0f} ms a seed)"
    )
    if failed:
        print("failed:", *(seed for seed, _, _ in failed[:100]))
    return len(failed)


def replay(seed: int, steps: int) -> int:
    """Run one seed and print what happened; returns how many promises it broke."""
    outcome = simulate(seed, steps)
    for number, record in enumerate(outcome.history):
        print(f"#{number:<6} {record.at:12.6f}  {record.told()}")
    print(told(outcome))
    return len(outcome.failures)


def told(outcome: Outcome) -> str:
    """What came of a run."""
    head = (
        f"seed {outcome.seed}, {outcome.steps} steps, {outcome.records} records, "
        f"{outcome.seconds:.1f} s of virtual time, digest {outcome.digest}"
    )
    return "\n\n".join([head, *(outcome.failures or ["every promise was kept"])])


def find_mutants(names: Iterable[str], most: int) -> Iterator[tuple[str, int | None, str]]:
    """How many seeds each planted bug took to be found, and by what."""
    for name in names:
        with MUTANTS[name].plant():
            for seed in range(most):
                failures = simulate(seed).failures
                if failures:
                    yield name, seed + 1, failures[0].partition(":")[0]
                    break
            else:
                yield name, None, ""


def show_mutants(most: int) -> int:
    """Print the table; returns how many were not found."""
    missed = 0
    print("| planted bug | what goes wrong | peer | seeds | found as |\n|---|---|---|---|---|")
    for name, seeds, rule in find_mutants(MUTANTS, most):
        missed += seeds is None
        mutant = MUTANTS[name]
        found = f"over {most}" if seeds is None else seeds
        print(f"| {name} | {mutant.what} | {mutant.peer} | {found} | {rule} |", flush=True)
    return missed


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description="Run the simulation.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--steps", type=int, default=STEPS, help="with --seed: only so many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--mutants", action="store_true", help="find the planted bugs")
    parser.add_argument("--most", type=int, default=300, help="seeds for each of them")
    given = parser.parse_args()
    if given.seed is not None:
        return 1 if replay(given.seed, given.steps) else 0
    if given.mutants:
        return 1 if show_mutants(given.most) else 0
    return 1 if run_all(given.first, given.seeds, given.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
