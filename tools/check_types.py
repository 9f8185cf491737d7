"""Checks that a user's type checker knows the public API: ``pyright --verifytypes``, read.

Nothing that can be reached may have an unknown type. What hangs on a public name (one in
the ``__all__`` of ``PUBLIC``) must also be annotated, not left to inference, which
type checkers do differently. Inside, attributes may be inferred.
"""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from typing import Any

PUBLIC = ("wsrooms", "wsrooms.transports")


def public_prefixes() -> tuple[str, ...]:
    """Where the public names are defined, as pyright writes it."""
    places: set[str] = set()
    for module in map(importlib.import_module, PUBLIC):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                places.add(f"{thing.__module__}.{thing.__qualname__}")
    return tuple(f"{place}." for place in places)


def complaint(symbol: dict[str, Any], prefixes: tuple[str, ...]) -> str | None:
    """What is wrong with a symbol of pyright's report."""
    told = [diagnostic["message"].splitlines()[0] for diagnostic in symbol["diagnostics"]]
    unknown = not symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]
    inferred = any("missing type annotation" in message for message in told)
    if unknown or (inferred and symbol["name"].startswith(prefixes)):
        return f"{symbol['name']}: {'; '.join(told) or 'its type is unknown'}"
    return None


def main() -> None:
    command = ["pyright", "--ignoreexternal", "--verifytypes", "wsrooms", "--outputjson"]
    report = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        symbols = json.loads(report.stdout)["typeCompleteness"]["symbols"]
    except (ValueError, KeyError):
        sys.exit(report.stdout + report.stderr)
    prefixes = public_prefixes()
    complaints = [told for symbol in symbols if (told := complaint(symbol, prefixes))]
    print(f"{len(symbols)} public symbols, {len(complaints)} of them without a certain type")
    if complaints:
        sys.exit("\n".join(complaints))


if __name__ == "__main__":
    main()
