"""Writes the list of cases in docs/transports/contract.md, from the conformance suite itself.

With ``--check`` nothing is written, and it fails if the page has another list.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wsrooms.testing.conformance import cases

PAGE = Path(__file__).resolve().parent.parent / "docs/transports/contract.md"
HEAD = "\n## The cases\n"


def section() -> str:
    """The list, one row for each case."""
    rows = ["| | case | what holds |", "|---|---|---|"]
    for case in cases():
        sentence = (
            case.sentence.partition("\n\n")[0]
            .replace("\n", " ")
            .replace("``", "`")
            .replace("|", "\\|")
        )
        rows.append(f"| {case.number} | `{case.name}`{{#{case.name}}} | {sentence} |")
    return "\n".join(["", *rows, ""])


def main(*, check: bool) -> None:
    page = PAGE.read_text("utf-8")
    before, head, _ = page.partition(HEAD)
    made = before + head + section()
    if not check:
        PAGE.write_text(made, "utf-8")
    elif made != page:
        sys.exit(f"{PAGE.name} lists other cases than the suite has: run tools/contract_page.py")


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])
