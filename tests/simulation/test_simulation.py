"""A few hundred seeds of the simulation; ``make simulate SEEDS=10000`` runs more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutants_linked import MUTANTS
from tests.simulation.run import simulate

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("WSROOMS_SEEDS", "300"))
CHUNK = 25

MOST_SEEDS = 150
"""Within so many each planted bug has to be found."""


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_a_fleet_keeps_its_promises_whatever_happens_to_it(first: int) -> None:
    for seed in range(first, first + CHUNK):
        outcome = simulate(seed)
        assert not outcome.failures, (
            f"replay with: python tools/simulate.py --seed {seed}\n" + outcome.failures[0]
        )


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    with MUTANTS[name].plant():
        found = next((seed for seed in range(MOST_SEEDS) if simulate(seed).failures), None)

    assert found is not None


def test_contributing_lists_every_planted_bug() -> None:
    told = (ROOT / "CONTRIBUTING.md").read_text("utf-8")

    assert [name for name in MUTANTS if f"| {name} | {MUTANTS[name].what} |" not in told] == []


def test_what_was_planted_is_gone_afterwards() -> None:
    for mutant in MUTANTS.values():
        with mutant.plant():
            pass

    assert not simulate(0).failures


def digest(seed: int, hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "tools/simulate.py", "--seed", str(seed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_seed_is_the_same_run_in_every_process(seed: int) -> None:
    first = digest(seed, "0")

    assert "every promise was kept" in first
    assert digest(seed, "12345") == first
