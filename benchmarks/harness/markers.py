"""The places in the documentation that programs write."""

from __future__ import annotations

__all__ = ["replace_between"]


def replace_between(text: str, inner: str, name: str) -> str:
    """``text`` with ``inner`` between its markers of this name, in place of what was there.

    Raises:
        ValueError: It does not have them, once each and in this order.
    """
    first = f"<!-- {name}: begin (written by benchmarks/run.py) -->"
    last = f"<!-- {name}: end -->"
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {first!r} and {last!r}")
    return f"{before}{first}\n\n{inner}\n\n{last}{after}"
