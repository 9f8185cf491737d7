"""``run()``: from an app to a process that a person starts and a signal ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from wsrooms._version import __version__
from wsrooms.errors import ConfigurationError, TransportError

if TYPE_CHECKING:
    from types import FrameType
    from typing import Unpack

    from wsrooms.server.settings import ServerOptions, WsAddress

__all__ = ["run_app"]

PATIENCE = 1.0
"""Seconds after which a person is told why the process does not end yet."""


class Runnable(Protocol):
    """An app, as ``run_app`` sees it."""

    async def listen(
        self, port: int, host: str = "127.0.0.1", **options: Unpack[ServerOptions]
    ) -> WsAddress:
        """Start and accept."""
        ...

    async def close(self) -> None:
        """Stop."""
        ...


def run_app(
    app: Runnable,
    host: str,
    port: int,
    options: ServerOptions,
    logger: logging.Logger,
    *,
    debug: bool,
    until_closed: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """Serve ``app`` in this process until a signal or its own ``close()`` ends it.

    Args:
        app: What listens and closes.
        host: Where it listens.
        port: Likewise.
        options: Likewise.
        logger: Where it tells what it does.
        debug: Tell more.
        until_closed: Returns once the app, which listens, has closed.

    Raises:
        SystemExit: It could not start, or a loop is running here already; the one line
            that Python prints says what to do.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise SystemExit(
            "wsrooms: run() cannot be used where an event loop is running already (a notebook, an "
            "async function): use 'await app.listen(port)' and 'await app.close()' there"
        )
    _set_up_logging(logger, debug=debug)
    factory, name = _loop_factory()
    try:
        with _EndSignals(logger) as signals, asyncio.Runner(loop_factory=factory) as runner:
            logger.debug("wsrooms %s on %s, process %d", __version__, name, os.getpid())
            runner.run(_serve(app, host, port, options, signals, until_closed))
    except (ConfigurationError, TransportError) as error:
        raise SystemExit(f"wsrooms: {error}") from error


async def _serve(
    app: Runnable,
    host: str,
    port: int,
    options: ServerOptions,
    signals: _EndSignals,
    until_closed: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    asked_to_end = signals.wait()
    starting = asyncio.ensure_future(app.listen(port, host, **options))
    try:
        await asyncio.wait((starting, asked_to_end), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            closed = asyncio.ensure_future(until_closed())
            await asyncio.wait((asked_to_end, closed), return_when=asyncio.FIRST_COMPLETED)
            closed.cancel()
        else:  # a broker may not answer for seconds, and nobody waits for that any more
            starting.cancel()
            await asyncio.wait((starting,))
    finally:
        await app.close()


class _EndSignals:
    """SIGINT and SIGTERM while it is entered: the first tells the loop, the second ends us.

    Plain handlers and not the loop's: those do not exist on Windows, and none of
    them runs while a handler of the app blocks the loop.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._came = False
        self._tell: Callable[[str], object] = lambda name: None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # SIGBREAK is Windows' Ctrl+Break, which is also how one process there ends another.
        numbers = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGBREAK", None)]
        with contextlib.suppress(ValueError):  # not the main thread: whoever started it ends it
            for number in numbers:
                if number is not None:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def wait(self) -> asyncio.Future[None]:
        """Done once the process should end."""
        loop = asyncio.get_running_loop()
        asked = loop.create_future()

        def end() -> None:
            if not asked.done():
                asked.set_result(None)

        def ask(name: str) -> None:
            end()
            loop.call_later(
                PATIENCE, self._logger.info, "%s: closing; a second signal ends at once", name
            )

        self._tell = lambda name: loop.call_soon_threadsafe(ask, name)
        if self._came:  # before there was a loop
            end()
        return asked

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if not self._came:
            self._came = True
            with contextlib.suppress(RuntimeError):  # the loop is closing anyway
                self._tell(name)
            return
        with contextlib.suppress(Exception):  # it may have interrupted a handler of the log
            self._logger.warning("%s again: ending at once", name)
        os._exit(128 + number)


def _loop_factory() -> tuple[Callable[[], asyncio.AbstractEventLoop] | None, str]:
    try:
        import uvloop
    except ImportError:
        return None, "asyncio"
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop), "uvloop"


def _set_up_logging(logger: logging.Logger, *, debug: bool) -> None:
    """Show our lines where nobody has said what to do with logs."""
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
