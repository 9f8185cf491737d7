"""The places in the documentation that programs write."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["between", "replace_between", "with_parts"]


def with_parts(page: Path, **parts: list[str]) -> str:
    """This page with the lines of its parts anew.

    Raises:
        ValueError: It lacks the markers of one of them.
    """
    text = page.read_text("utf-8")
    for name, lines in parts.items():
        text = replace_between(text, "\n".join(lines), name)
    return text


def replace_between(text: str, inner: str, name: str) -> str:
    """``text`` with ``inner`` between its markers of this name, in place of what was there.

    Raises:
        ValueError: It does not have them, once each and in this order.
    """
    before, first, _, last, after = _divided(text, name)
    return f"{before}{first}\n\n{inner}\n\n{last}{after}"


def between(text: str, name: str) -> str:
    """What is between these markers.

    Raises:
        ValueError: It does not have them, once each and in this order.
    """
    return _divided(text, name)[2]


def _divided(text: str, name: str) -> tuple[str, str, str, str, str]:
    first = f"<!-- {name}: begin (written by benchmarks/run.py) -->"
    last = f"<!-- {name}: end -->"
    before, begin, rest = text.partition(first)
    inner, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {first!r} and {last!r}")
    return before, first, inner, last, after
