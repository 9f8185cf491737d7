"""Names of cases that are the same in every process: an address in them would not be."""

from __future__ import annotations

import re

__all__ = ["shown"]

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def shown(value: object) -> str:
    """The repr of ``value``, without where it is."""
    return _ADDRESS.sub("", repr(value))
