"""Checks that a user's type checker knows the public API: ``pyright --verifytypes``, read.

Every symbol of the modules in ``api.PUBLIC`` has an annotation, and all that it names has one,
down to attributes of private classes: what is left to inference, type checkers do
differently. The score must be 100 %.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from api import PUBLIC


def verify(module: str) -> dict[str, Any]:
    """Pyright's report on a module."""
    command = ["pyright", "--ignoreexternal", "--verifytypes", module, "--outputjson"]
    report = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: dict[str, Any] = json.loads(report.stdout)["typeCompleteness"]
    except (ValueError, KeyError):
        sys.exit(report.stdout + report.stderr)
    return found


def complaints(symbols: list[dict[str, Any]]) -> list[str]:
    """What is to be annotated: not those that only name another which is."""
    return [
        f"{symbol['name']}: {diagnostic['message']}"
        for symbol in symbols
        if symbol["isExported"]
        for diagnostic in symbol["diagnostics"]
        if "annotation" in diagnostic["message"]
    ]


def main() -> None:
    incomplete: list[str] = []
    for module in PUBLIC:
        report = verify(module)
        score, symbols = report["completenessScore"], report["symbols"]
        exported = sum(symbol["isExported"] for symbol in symbols)
        print(f"{module}: the types of {exported} symbols are {100 * score:.2f} % complete")
        if not exported or score < 1:
            incomplete += complaints(symbols) or [f"{module}: its types are not complete"]
    if incomplete:
        sys.exit("\n".join(dict.fromkeys(incomplete)))


if __name__ == "__main__":
    main()
