"""What join, leave and broadcast return: a result that may be awaited or dropped.

A receipt owns no task, no coroutine and, until somebody awaits it, no future.
Whoever made it settles it once, on the loop's thread; other threads may wait
with :meth:`Receipt.result`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator
from typing import Any

__all__ = ["FINISHED", "Receipt"]


class Receipt:
    """What join, leave and broadcast return.

    They have taken effect here already; await it to know that the transport
    confirmed, or drop it. It is neither a task nor a coroutine: dropping it
    leaks nothing and warns of nothing. A failure that nobody awaits is counted
    and logged.

    A transport that knows the outcome of a publish later may return one: it makes
    an open ``Receipt()`` and settles that. Nobody settles another's.

    Attributes:
        done: Whether the outcome is known.
        error: Why it failed; None while it is open and when it succeeded.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_followed",
        "_on_cancel",
        "_on_unseen",
        "_seen",
        "done",
        "error",
    )

    done: bool
    error: Exception | None

    def __init__(
        self,
        *,
        on_cancel: Callable[[Receipt], None] | None = None,
        on_unseen: Callable[[Exception], None] | None = None,
    ) -> None:
        """Make an open receipt.

        Args:
            on_cancel: Called when an awaiting task is cancelled before it has been told
                the outcome: it takes back what the receipt stands for. The receipt may
                have been confirmed in that very turn of the loop. It is called on the
                thread of that task.
            on_unseen: Called with the error of a failed receipt that is
                thrown away without anybody having looked.
        """
        self.done = False
        self.error = None
        self._seen = False
        self._followed: Receipt | None = None
        # Always a list: threads that wait may append to it at the same moment.
        self._callbacks: list[Callable[[Receipt], None]] = []
        self._on_cancel = on_cancel
        self._on_unseen = on_unseen

    @classmethod
    def failed(
        cls, error: Exception, on_unseen: Callable[[Exception], None] | None = None
    ) -> Receipt:
        """A receipt that has failed already."""
        receipt = cls(on_unseen=on_unseen)
        receipt.settle(error)
        return receipt

    def settle(self, error: Exception | None = None) -> None:
        """Make the outcome known to all who wait; later calls change nothing.

        For whoever made this receipt, on the thread of its loop.

        Args:
            error: Why it failed; None: it is confirmed.
        """
        if self.done:
            return
        self.error = error
        self.done = True
        self._on_cancel = None
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def _follow(self, other: Receipt) -> None:
        """End as ``other`` does; whoever looks at this one has looked at that one too."""
        self._followed = other
        self._on_unseen = None  # it is the other one that tells
        other._when_done(lambda done: self.settle(done.error))

    def _give_up(self) -> None:
        """Whoever awaited this one was cancelled: take back what it follows, if that is open."""
        followed = self._followed
        if followed is not None and followed._on_cancel is not None:
            followed._on_cancel(followed)

    def _abandon(self) -> None:
        """Tell its maker that nobody waits for it any more, as a cancelled await does."""
        if not self.done and self._on_cancel is not None:
            self._on_cancel(self)

    def _when_done(self, callback: Callable[[Receipt], None]) -> None:
        """Call ``callback`` with this receipt once the outcome is known, or now if it is.

        It is called where the outcome becomes known, and must not raise.
        """
        if self.done:
            callback(self)
        else:
            self._callbacks.append(callback)

    @property
    def _waiting(self) -> int:
        """How many wait for the outcome."""
        return len(self._callbacks)

    def _told_to(self, on_unseen: Callable[[Exception], None]) -> Receipt:
        """Let ``on_unseen`` know of a failure, unless the maker has said who should."""
        if self._on_unseen is None and not (self.done and self.error is None):
            self._on_unseen = on_unseen
        return self

    def _take_error(self) -> Exception | None:
        """The error, which from now on counts as seen."""
        self._look()
        return self.error

    def __await__(self) -> Generator[Any, None, None]:
        if not self.done:
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            home = threading.get_ident()

            def arrive() -> None:
                if not future.done():
                    future.set_result(None)

            def wake(_: Receipt) -> None:
                if threading.get_ident() == home:
                    arrive()
                    return
                with contextlib.suppress(RuntimeError):  # that loop has closed meanwhile
                    loop.call_soon_threadsafe(arrive)

            on_cancel = self._on_cancel
            self._when_done(wake)
            if self._is_done():  # by another thread, between the check and the append
                arrive()
            try:
                yield from future
            except asyncio.CancelledError:
                # Also if it was confirmed in this very turn: whoever awaits will not know.
                if on_cancel is not None and self.error is None:
                    on_cancel(self)
                raise
            finally:
                del on_cancel  # the frame may live on in a traceback
        self._look()
        if self.error is not None:
            try:
                raise self.error
            finally:
                del self  # or error, trace, this frame and receipt would be a circle

    def result(self, timeout: float | None = None) -> None:
        """Wait for it in another thread than the loop's.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Raises:
            TimeoutError: The outcome is not known yet.
            RuntimeError: Called on a thread that runs an event loop, which it would block.
            Exception: Whatever the outcome is, as ``await`` would raise it.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("result() would block the event loop: await the receipt instead")
        if not self.done:
            known = threading.Event()
            self._when_done(lambda _: known.set())
            # A settle() that ran between the check and the append saw the old list.
            if not self.done and not known.wait(timeout):
                raise TimeoutError(f"no outcome within {timeout} s")
        self._look()
        if self.error is not None:
            try:
                raise self.error
            finally:
                del self  # or error, trace, this frame and receipt would be a circle

    def _is_done(self) -> bool:
        return self.done

    def _look(self) -> None:
        self._seen = True
        if self._followed is not None:
            self._followed._look()

    def __del__(self) -> None:
        if self.error is not None and not self._seen and self._on_unseen is not None:
            self._on_unseen(self.error)

    def __repr__(self) -> str:
        state = "open" if not self.done else "confirmed" if self.error is None else "failed"
        return f"<Receipt {state}{'' if self.error is None else f': {self.error!r}'}>"


def _finished() -> Receipt:
    receipt = Receipt()
    receipt.settle()
    return receipt


FINISHED: Receipt = _finished()
"""The one receipt for whatever has nothing to wait for; settled, so it never changes."""
