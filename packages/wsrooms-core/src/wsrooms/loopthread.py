"""Which thread runs the event loop, and how other threads reach it.

Everything in wsrooms lives on one loop. A public method that may be called from
elsewhere asks :attr:`LoopThread.inside` and, where it is not, hands itself over:
:meth:`LoopThread.post` for what sends, :meth:`LoopThread.ask` for what answers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import threading
from collections.abc import Callable
from typing import TypeVar

from wsrooms.errors import NotRunning
from wsrooms.receipt import Receipt

__all__ = ["LoopThread"]

T = TypeVar("T")

ASK_TIMES = 5
"""How often it looks where it holds up a loop of its own, before it gives up."""

ASK_AGAIN = 1.0
"""Seconds after which a thread that waits for an answer looks whether the loop still exists."""


class LoopThread:
    """The loop of one running app, as seen from any thread."""

    __slots__ = ("_ident", "loop", "on_unseen")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the calling thread, which runs ``loop``, as home."""
        self.loop: asyncio.AbstractEventLoop = loop
        self._ident = threading.get_ident()
        self.on_unseen: Callable[[Exception], None] | None = None
        """Told of a call from another thread that failed and whose receipt was dropped."""

    @property
    def inside(self) -> bool:
        """Whether the caller is on the loop's thread."""
        return threading.get_ident() == self._ident

    def post(self, call: Callable[[], None]) -> None:
        """Run ``call`` on the loop soon; calls of one thread run in their order.

        Raises:
            NotRunning: The loop has closed.
        """
        try:
            self.loop.call_soon_threadsafe(call)
        except RuntimeError as error:
            raise NotRunning("the app's event loop has closed") from error

    def post_receipt(self, call: Callable[[], Receipt]) -> Receipt:
        """Run ``call`` on the loop soon; the receipt returned here ends as its receipt does.

        Whoever awaits it and is cancelled gives up that one, if it is still open then.
        """
        receipt = Receipt(on_cancel=self._give_up, on_unseen=self.on_unseen)

        def run() -> None:
            try:
                inner = call()
            except Exception as error:  # noqa: BLE001 - it belongs to the caller, who holds the receipt
                # This frame holds the receipt: with its trace the error would close a circle.
                receipt.settle(error.with_traceback(None))
            else:
                receipt._follow(inner)

        self.post(run)
        return receipt

    def _give_up(self, receipt: Receipt) -> None:
        with contextlib.suppress(NotRunning):  # nothing is left to give up
            self.post(receipt._give_up)

    def ask(self, question: Callable[[], T]) -> T:
        """Answer ``question`` from the loop's thread; waits for the loop's next turn.

        On a thread that runs another loop it holds that one up for as long.

        Raises:
            NotRunning: The loop has closed.
            RuntimeError: The calling thread runs a loop, and has waited for five
                seconds: as a rule because the app's loop waits for that one likewise.
        """
        if self.inside:
            return question()
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                answer.set_result(question())
            except Exception as error:  # noqa: BLE001 - raised again in the asking thread
                answer.set_exception(error)

        self.post(run)
        for _ in range(ASK_TIMES) if _runs_a_loop() else itertools.count():
            try:
                return answer.result(ASK_AGAIN)
            except TimeoutError:
                if answer.done():  # in the last moment, or with a TimeoutError of its own
                    return answer.result()
                if self.loop.is_closed():  # it ended between the post and its next turn
                    raise NotRunning("the app's event loop has closed") from None
        raise RuntimeError(
            f"the app's event loop has not answered for {ASK_TIMES * ASK_AGAIN:g} s, in which this "
            "thread's loop stood still: ask another loop with await asyncio.to_thread(...)"
        )


def _runs_a_loop() -> bool:
    """Whether the calling thread runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
