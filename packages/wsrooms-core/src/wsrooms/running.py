"""``run()``: from an app to a process that a person starts and a signal ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from wsrooms._version import __version__
from wsrooms.errors import ConfigurationError, TransportError

if TYPE_CHECKING:
    from typing import Unpack

    from wsrooms.server import ServerOptions, WsAddress

__all__ = ["run_app"]


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
) -> None:
    """Serve ``app`` in this process until a signal ends it.

    Raises:
        SystemExit: It could not start.
        ConfigurationError: An event loop is running here already.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise ConfigurationError(
            "run() cannot be used where an event loop is running already (a notebook, an async "
            "function): use 'await app.listen(port)' and 'await app.close()' there"
        )
    _set_up_logging(logger, debug=debug)
    factory = _loop_factory()
    try:
        with asyncio.Runner(loop_factory=factory, debug=False) as runner:
            runner.run(_serve(app, host, port, options, logger, factory is not None))
    except (ConfigurationError, TransportError) as error:
        raise SystemExit(f"wsrooms: {error}") from error
    except KeyboardInterrupt:  # where signals cannot be caught on the loop
        return


async def _serve(
    app: Runnable,
    host: str,
    port: int,
    options: ServerOptions,
    logger: logging.Logger,
    uvloop: bool,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    signals = 0

    def on_signal(number: int) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            logger.warning("second signal: ending at once")
            logging.shutdown()
            os._exit(128 + number)
        logger.info("%s: closing; a second one ends at once", signal.Signals(number).name)
        stop.set()

    caught = _catch_signals(loop, on_signal)
    try:
        address = await app.listen(port, host, **options)
        logger.info(
            "wsrooms %s serves %s on %s; Ctrl+C ends it",
            __version__,
            address.url,
            "uvloop" if uvloop else "asyncio",
        )
        try:
            await stop.wait()
        finally:
            await app.close()
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


def _catch_signals(
    loop: asyncio.AbstractEventLoop, on_signal: Callable[[int], None]
) -> list[signal.Signals]:
    caught = []
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, on_signal, number)
        except NotImplementedError:  # Windows: its loops cannot; the handler wakes the loop itself
            signal.signal(number, lambda got, _: loop.call_soon_threadsafe(on_signal, got))
        except (RuntimeError, ValueError):  # not the main thread: whoever started it ends it
            break
        else:
            caught.append(number)
    return caught


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)


def _set_up_logging(logger: logging.Logger, *, debug: bool) -> None:
    """Show our lines where nobody has said what to do with logs."""
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
