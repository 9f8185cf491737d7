"""What is measured: of all that there is what was asked for and can be measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from benchmarks.harness.machine import CannotMeasure

__all__ = ["chosen", "skipped"]

T = TypeVar("T")


def chosen(names: str, known: Iterable[str], what: str) -> list[str]:
    """The words of an option, which are names of these; "all" is all of them.

    Raises:
        CannotMeasure: One of them is none.
    """
    known = list(known)
    wanted = known if names == "all" else names.split(",")
    for name in wanted:
        if name not in known:
            raise CannotMeasure(f"there is no {what} {name!r}; there are {', '.join(known)}")
    return wanted


def skipped(wanted: Mapping[str, T], why_not: Callable[[T], str | None]) -> dict[str, str]:
    """Why these cannot be measured here, of those that cannot; the user is told."""
    found = {name: reason for name, each in wanted.items() if (reason := why_not(each))}
    for name, reason in found.items():
        print(f"wsrooms: {name} is skipped: {reason}")
    return found
