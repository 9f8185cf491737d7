"""What was met last: a set that forgets, so that it never grows past a bound.

Pure: the room manager knows by it whose echo may still come, and debug mode what it has
told already.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Recent"]

T = TypeVar("T", bound=Hashable)


class Recent(Generic[T]):
    """The things that were added last.

    Attributes:
        complete: Whether none was forgotten yet.
    """

    __slots__ = ("_limit", "_things", "complete")

    def __init__(self, limit: int) -> None:
        """Keep at most ``limit``."""
        self.complete: bool = True
        self._things: OrderedDict[T, None] = OrderedDict()
        self._limit = limit

    def add(self, thing: T) -> bool:
        """Keep ``thing``; the oldest goes, if there are too many.

        Returns:
            Whether it is new.
        """
        if thing in self._things:
            return False
        self._things[thing] = None
        if len(self._things) > self._limit:
            self._things.popitem(last=False)
            self.complete = False
        return True

    def __contains__(self, thing: object) -> bool:
        return thing in self._things
