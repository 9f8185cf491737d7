"""How many small mistakes in a module do its tests notice?

    make mutants                            every module below, minutes each
    make mutants ARGS="hub router"          some
    make mutants ARGS="--show hub"          and the survivors as diffs
    make mutants ARGS="--every 10 wire"     a sample: each tenth mistake

mutmut makes the mistakes, all in one copy of the module that asks the environment which of
them is meant. Here the tests about the module run once for each: mutmut's own runs are two
of pytest in one process, where pytest finds no parametrised test by its name, and that is
taken for a mistake that was noticed. What may survive is in ``tools/mutants.toml``, with the
reason. Ends with status 1 where the score of a module is below ``WANTED``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
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

HELPERS = [
    "tests/conftest.py",
    "tests/brokers",
    "tests/core/conftest.py",
    "tests/core/hard/fuzzing",
]

CONFIG = """\
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/wsrooms/{module}.py"]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
"""

PRELOAD = ["pytest", "hypothesis.stateful", "msgspec", "websockets.server"]
"""What the tests of every mutant import, and had better find imported."""

OPTIONS = [
    *("-x", "-q", "-p", "no:cacheprovider", "--rootdir=."),
    # Hypothesis's plugin for pytest is among what is imported, which pytest would have rewritten.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
]

NONE = "none"
EVERY = "fail"
"""What mutmut takes for all at once: each function that has mistakes raises."""

PATIENCE = 5
"""A mistake may make the tests run for ever: so many times as long as they took without."""

EVERY_SECONDS = 60.0
"""Between signs of life."""

KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeout"


class Mutant(NamedTuple):
    """One mistake, and what became of it."""

    name: str
    status: str


def stage(module: str) -> list[str]:
    """Make a project with ``module``, its mutants and the tests about it; returns the tests."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(ROOT / "packages/wsrooms-core/src", STAGE / "src")
    tests = [f"tests/core/{name}" for name in TESTS[module]]
    for name in [*tests, *HELPERS]:
        source, target = ROOT / name, STAGE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    pytest = project[project.index("[tool.pytest.ini_options]") :]
    settings = pytest[: pytest.index("\n\n")]
    config = CONFIG.format(module=module, tests=tests)
    (STAGE / "pyproject.toml").write_text(f"{config}\n{settings}\n", "utf-8")
    return tests


def mutmut(*arguments: str) -> str:
    """Run mutmut on what is staged; returns what it says."""
    return subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=STAGE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    ).stdout


def names_of(module: str) -> list[str]:
    """Let mutmut write the mutants of ``module``, and run none of them."""
    output = mutmut("run", "no-such-mutant")
    notes = STAGE / f"mutants/src/wsrooms/{module}.py.meta"
    if not notes.exists():
        sys.exit(f"{module}: mutmut made no mutants:\n{output[-3000:]}")
    names: dict[str, object] = json.loads(notes.read_text("utf-8"))["exit_code_by_key"]
    return list(names)


class Runner:
    """Runs the tests with one mutant at a time, each in a process of its own."""

    def __init__(self, tests: list[str]) -> None:
        self._tests = tests
        self._patience = 600.0
        for name in PRELOAD:
            importlib.import_module(name)
        started = time.monotonic()
        if self.run(NONE) != SURVIVED:
            sys.exit("the tests fail without any mutant")
        self._patience = 10 + PATIENCE * (time.monotonic() - started)
        if self.run(EVERY) != KILLED:
            sys.exit("the tests do not reach the mutants: this run would prove nothing")

    def run(self, name: str) -> str:
        """What the tests do about the mutant ``name``."""
        sys.stdout.flush()
        child = os.fork()
        if not child:
            self._become(name)
        until = time.monotonic() + self._patience
        while time.monotonic() < until:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return self._verdict(os.waitstatus_to_exitcode(status))
            time.sleep(0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return TIMEOUT

    def _become(self, name: str) -> None:
        os.environ["MUTANT_UNDER_TEST"] = name
        os.chdir(STAGE / "mutants")
        sys.path[:0] = [str(STAGE / "mutants/src"), str(STAGE / "mutants")]
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        status = 70
        try:
            import pytest

            status = int(pytest.main([*OPTIONS, *self._tests]))
        finally:
            os._exit(status)

    @staticmethod
    def _verdict(status: int) -> str:
        if status == 0:
            return SURVIVED
        # 1: a test failed; 2: it could not even be imported; below 0: it died of a signal.
        if status in (1, 2) or status < 0:
            return KILLED
        sys.exit(f"pytest ended with status {status}, which says nothing about a mutant")


def difference(mutant: Mutant) -> tuple[str, str, str]:
    """What a mutant changes: the lines before, the lines after, and the whole diff."""
    diff = mutmut("show", mutant.name)
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    was, becomes = (
        "\n".join(line[1:].strip() for line in lines if line[:1] == sign) for sign in "-+"
    )
    return was, becomes, diff


def report(module: str, accepted: list[dict[str, str]], *, show: bool, every: int) -> float:
    """Print how ``module`` does; returns the per cent of its mutants that are noticed."""
    tests = stage(module)
    names = names_of(module)[::every]
    runner = Runner(tests)
    mutants: list[Mutant] = []
    told = time.monotonic()
    for name in names:
        mutants.append(Mutant(name, runner.run(name)))
        if time.monotonic() - told > EVERY_SECONDS:
            told = time.monotonic()
            alive = sum(mutant.status == SURVIVED for mutant in mutants)
            print(f"{module}: {len(mutants)} of {len(names)}, {alive} alive", file=sys.stderr)
    counts = Counter(mutant.status for mutant in mutants)
    lines: list[str] = []
    known = 0
    for mutant in mutants:
        if mutant.status != SURVIVED:
            continue
        was, becomes, diff = difference(mutant)
        change = {"module": module, "was": was, "becomes": becomes}
        if any(change.items() <= entry.items() for entry in accepted):
            known += 1
            continue
        lines.append(f"    {mutant.name}: {was!r} -> {becomes!r}")
        if show:
            lines.append(diff)
    score = 100 * (len(mutants) - counts[SURVIVED]) / len(mutants)
    summary = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    print(f"{module}: {score:.1f} % of {len(mutants)} noticed ({summary}; {known} accepted)")
    print(*lines, sep="\n", end="\n" if lines else "", flush=True)
    return score


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", nargs="*", metavar="module")
    parser.add_argument("--show", action="store_true", help="show survivors as diffs")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take each Nth mutant")
    asked = parser.parse_args()
    if unknown := set(asked.modules) - set(TESTS):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    accepted: list[dict[str, str]] = tomllib.loads(ACCEPTED.read_text("utf-8"))["accepted"]
    scores = [
        report(module, accepted, show=asked.show, every=asked.every)
        for module in asked.modules or TESTS
    ]
    return 1 if min(scores) < WANTED else 0


if __name__ == "__main__":
    sys.exit(main())
