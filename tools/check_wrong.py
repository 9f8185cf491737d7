"""Checks that type checkers tell the mistakes of tests/typing/wrong.py, and nothing else there.

A line that ends in ``# error`` must be reported by mypy and by pyright.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WRONG = ROOT / "tests/typing/wrong.py"


def output(*command: str) -> str:
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.stdout or sys.exit(ran.stderr)


def told_by_mypy() -> set[int]:
    """The lines that mypy reports."""
    text = output("mypy", "--no-error-summary", str(WRONG))
    return {int(line) for line in re.findall(r"wrong\.py:(\d+): error:", text)}


def told_by_pyright() -> set[int]:
    """The lines that pyright reports."""
    # By a configuration of its own: that of the repository leaves the file out.
    project = str(WRONG.with_suffix(".json"))
    report = json.loads(output("pyright", "--outputjson", "--project", project))
    return {
        told["range"]["start"]["line"] + 1
        for told in report["generalDiagnostics"]
        if told["severity"] == "error"
    }


def main() -> None:
    lines = WRONG.read_text("utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith("# error")}
    found: list[str] = []
    for checker, told in (("mypy", told_by_mypy()), ("pyright", told_by_pyright())):
        print(f"{checker} tells {len(told & marked)} of {len(marked)} mistakes")
        for number in sorted(told ^ marked):
            what = "does not tell" if number in marked else "should not mind"
            found.append(f"{checker} {what} line {number}: {lines[number - 1].strip()}")
    if found or not marked:
        sys.exit("\n".join(found) or f"{WRONG} marks no mistake")


if __name__ == "__main__":
    main()
