"""How many small mistakes in a module do its tests notice?

    make mutants                            every module below, a few minutes each
    make mutants ARGS="hub router"          some
    make mutants ARGS="--show hub"          and the survivors as diffs

mutmut makes the mistakes, one at a time, and runs the tests that reach them. It wants
a project of its own shape, so this makes one in ``.mutants/`` with the module, the tests
that are about it, and nothing else. What may survive is in ``tools/mutants.toml``, with
the reason. Ends with status 1 where the score of a module is below ``WANTED``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / ".mutants"
ACCEPTED = ROOT / "tools/mutants.toml"
WANTED = 85

TESTS = {
    "hub": ["test_hub.py"],
    "router": [
        "test_router.py",
        "test_router_routes.py",
        "test_router_memo.py",
        "hard/test_fuzz_router.py",
    ],
    "patterns": ["test_router.py", "test_router_routes.py", "hard/test_fuzz_router.py"],
    "inbound": ["test_inbound.py"],
    "wire": ["test_wire.py", "test_wire_names.py", "test_inbound.py"],
    "sendbuffer": [
        "test_sendbuffer.py",
        "test_sendbuffer_batches.py",
        "test_sendbuffer_sequences.py",
    ],
}
"""The tests that a module is judged by: those about it, which are quick and need no socket."""

HELPERS = ["tests/conftest.py", "tests/core/conftest.py", "tests/core/hard/fuzzing"]

CONFIG = """\
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/wsrooms/{module}.py"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
# A mutant may run for ever, and the machine may be busy.
timeout_constant = 30.0
"""


class Mutant(NamedTuple):
    """One mistake, and what became of it."""

    name: str
    status: str


def stage(module: str) -> None:
    """Make the project in which ``module`` is judged."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(ROOT / "packages/wsrooms-core/src", STAGE / "src")
    there = [name for name in TESTS[module] if (ROOT / "tests/core" / name).exists()]
    tests = [f"tests/core/{name}" for name in there]
    for name in [*tests, *HELPERS]:
        source, target = ROOT / name, STAGE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.exists():
            shutil.copy(source, target)
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    pytest = project[project.index("[tool.pytest.ini_options]") :]
    settings = pytest[: pytest.index("\n\n")]
    config = CONFIG.format(module=module, tests=tests)
    (STAGE / "pyproject.toml").write_text(f"{config}\n{settings}\n", "utf-8")


def mutmut(*arguments: str, quiet: bool = True) -> str:
    """Run mutmut on what is staged."""
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=STAGE,
        env={**os.environ, "PYTHONPATH": ""},
        stdout=subprocess.PIPE if quiet else None,
        text=True,
        check=False,
    )
    return done.stdout or ""


def judge(module: str) -> list[Mutant]:
    """Try every mutant of ``module``."""
    stage(module)
    jobs = os.environ.get("JOBS", "1")
    output = mutmut("run", "--max-children", jobs)
    mutants = [
        Mutant(*found)
        for found in re.findall(
            r"^\s+(\S+): (.+)$", mutmut("results", "--all", "true"), re.MULTILINE
        )
    ]
    if not mutants:
        sys.exit(f"{module}: mutmut made no mutants:\n{output[-3000:]}")
    return mutants


def difference(mutant: Mutant) -> tuple[str, str, str]:
    """What a mutant changes: the lines before, the lines after, and the whole diff."""
    diff = mutmut("show", mutant.name)
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    was, becomes = (
        "\n".join(each[1:].strip() for each in lines if each[:1] == sign) for sign in "-+"
    )
    return was, becomes, diff


def report(module: str, accepted: list[dict[str, str]], *, show: bool) -> float:
    """Print how ``module`` does; returns the per cent of its mutants that are noticed."""
    mutants = judge(module)
    counts = Counter(mutant.status for mutant in mutants)
    alive = [each for each in mutants if each.status not in ("killed", "timeout")]
    lines: list[str] = []
    known = 0
    for mutant in alive:
        was, becomes, diff = difference(mutant)
        change = {"module": module, "was": was, "becomes": becomes}
        if any(change.items() <= entry.items() for entry in accepted):
            known += 1
            continue
        lines.append(f"    {mutant.name} ({mutant.status}): {was!r} -> {becomes!r}")
        if show:
            lines.append(diff)
    score = 100 * (len(mutants) - len(alive)) / len(mutants)
    told = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    print(f"{module}: {score:.1f} % of {len(mutants)} noticed ({told}; {known} accepted)")
    print(*lines, sep="\n", end="\n" if lines else "", flush=True)
    return score


def main(arguments: list[str]) -> int:
    show = "--show" in arguments
    modules = [each for each in arguments if each != "--show"] or list(TESTS)
    accepted: list[dict[str, str]] = tomllib.loads(ACCEPTED.read_text("utf-8"))["accepted"]
    scores = [report(module, accepted, show=show) for module in modules]
    return 1 if min(scores) < WANTED else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
