"""Mistakes that are told while an app is made or started."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    Mistake = Any  # the fixture of conftest.py


# Options


def test_an_option_is_spelt_as_it_is(mistake: Mistake) -> None:
    """A misspelt option of WsApp.

    Why: An option that does not exist would change nothing, without a word.
    Remedy: The text names those there are, and the one that was probably meant.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(alowed_origins=["https://example.org"])
    """) == (
        "wsrooms.errors.UnknownOption: unknown option 'alowed_origins'; known options: "
        "allowed_origins, broadcast_transport, debug, enc_hook, heartbeat_interval, "
        "heartbeat_timeout, join_timeout, lifespan, limits, logger, "
        "max_concurrent_messages, max_message_size, message_parser, message_serializer, "
        "shutdown_timeout, start_without_broker; did you mean 'allowed_origins'?"
    )


def test_an_option_has_its_name(mistake: Mistake) -> None:
    """An option of WsApp without its name.

    Why: There are too many of them to be told apart by their order.
    Remedy: `WsApp(broadcast_transport="redis://localhost")`.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp("redis://localhost")
    """) == (
        "wsrooms.errors.ConfigurationError: WsApp() takes no str without a name: give each "
        "option with its own, such as broadcast_transport=..."
    )


def test_an_option_of_the_server_is_none_of_the_app(mistake: Mistake) -> None:
    """A misspelt option of run(), listen() or serving().

    Why: As above. These take the options of one address; those of the app go to `WsApp(...)`.
    Remedy: See [options of an address](serving.md#options-of-an-address).
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp()
        ws.run(pth="/ws")
    """) == (
        "wsrooms: unknown option 'pth'; known options: http_handler, path, reuse_port, ssl, "
        "subprotocols, unix_path; did you mean 'path'?"
    )


def test_an_origin_is_a_scheme_and_a_host(mistake: Mistake) -> None:
    """An allowed origin that no browser sends.

    Why: A browser sends scheme, host and port, as in `https://example.org`. Anything else in the
    list would be equal to no origin, so it would let nobody in.
    Remedy: Take what the text proposes, with `http` where the pages come by that.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(allowed_origins=["example.org"])
    """) == (
        "wsrooms.errors.ConfigurationError: allowed_origins: 'example.org' is no origin as "
        "browsers send them: scheme and host alone, such as 'https://example.org'"
    )


async def test_a_lifespan_is_a_context_manager(mistake: Mistake) -> None:
    """A lifespan without @asynccontextmanager.

    Why: `lifespan(app)` is entered at start and left at close; a generator can be neither.
    Remedy: Put `@contextlib.asynccontextmanager` above the function.
    """
    assert await mistake.main_raises("""
        from wsrooms import WsApp

        async def lifespan(app):
            app.start_task(tick(app), name="tick")
            yield

        async def tick(app):
            ...

        ws = WsApp(lifespan=lifespan)

        async def main():
            await ws.listen(8000)
    """) == (
        "wsrooms.errors.ConfigurationError: lifespan=lifespan (app.py:3) gives no async "
        "context manager but async_generator: put @contextlib.asynccontextmanager above it, "
        "and yield once inside"
    )


# Addresses


def test_a_port_is_free(mistake: Mistake) -> None:
    """A port that is in use.

    Why: Another program listens there, often an earlier run of this one.
    Remedy: End that, or take another port. `run()` ends with this line and status 1; `listen()`
    raises `ServerNotStarted`.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        mistake.means("8000", taken.getsockname()[1])
        assert mistake.raises("""
            from wsrooms import WsApp

            ws = WsApp()
            ws.run(port=8000)
        """) == (
            "wsrooms: port 8000 on 127.0.0.1 is in use: stop what uses it, or choose another, "
            "such as port=0 for a free one"
        )


def test_a_port_below_1024_is_the_systems(
    mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that is not allowed.

    Why: On most systems ports below 1024 are for the administrator.
    Remedy: Listen on a higher one, behind a server that owns port 443.
    """

    async def not_allowed(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("wsrooms.running._loop_factory", lambda: (None, "asyncio"))
    monkeypatch.setattr(asyncio.SelectorEventLoop, "create_server", not_allowed)
    assert (
        mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp()
        ws.run("0.0.0.0", 443)
    """)
        == "wsrooms: port 443 on 0.0.0.0 is not allowed to this user: use a port above 1023"
    )


async def test_a_host_is_one_of_this_machine(mistake: Mistake) -> None:
    """A host that is not this machine's.

    Why: `host` is where the server listens, not where clients find it.
    Remedy: `127.0.0.1` for this machine alone, `0.0.0.0` or `::` for all of its addresses.
    """
    assert await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp()

        async def main():
            await ws.listen(8000, "http://localhost")
    """) == (
        "wsrooms.errors.ServerNotStarted: host 'http://localhost' is no address of this "
        "machine: use 127.0.0.1, 0.0.0.0 or ::"
    )


def test_run_takes_the_host_first(mistake: Mistake) -> None:
    """run() with the port alone.

    Why: `run(host, port)` is called as others' `run()` is; `listen(port, host)` and
    `serving(port, host)` nearly always get a port alone.
    Remedy: `ws.run(port=8000)`.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp()
        ws.run(8000)
    """) == (
        "wsrooms: host=8000 and port=8000 are not a str and an int: run() takes the host "
        "first, listen() and serving() the port, so give them by name"
    )


async def test_tls_needs_a_certificate(mistake: Mistake) -> None:
    """An SSLContext without a certificate.

    Why: Clients would be refused one by one, with nothing to see here.
    Remedy: `context.load_cert_chain("cert.pem", "key.pem")`.
    """
    assert await mistake.main_raises("""
        import ssl

        from wsrooms import WsApp

        ws = WsApp()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)

        async def main():
            await ws.listen(8443, ssl=context)
    """) == (
        "wsrooms.errors.ServerNotStarted: the SSLContext holds no certificate: call "
        "context.load_cert_chain('cert.pem', 'key.pem') first"
    )


async def test_tls_needs_a_context(mistake: Mistake) -> None:
    """The path of a certificate in place of an SSLContext.

    Why: How a certificate is loaded, and what else TLS may do, is Python's `ssl` module's
    affair.
    Remedy: `context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)`, then load it.
    """
    assert await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp()

        async def main():
            await ws.listen(8443, ssl="cert.pem")
    """) == (
        "wsrooms.errors.ServerNotStarted: ssl='cert.pem': give an ssl.SSLContext with your "
        "certificate"
    )


# Start and end


async def test_run_does_not_run_inside_a_loop(mistake: Mistake) -> None:
    """run() in a notebook, or in an async function.

    Why: `run()` starts an event loop, and there is one already.
    Remedy: `await ws.listen(8000)`, later `await ws.close()`; or `async with ws.serving(8000):`.
    """
    assert await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp()

        async def main():
            ws.run(port=8000)
    """) == (
        "wsrooms: run() cannot be used where an event loop is running already (a notebook, "
        "an async function): use 'await app.listen(port)' and 'await app.close()' there"
    )


def test_an_app_is_used_while_it_runs(mistake: Mistake) -> None:
    """An app that is used before it has started.

    Why: Rooms and clients are there from start to close. A module is imported before that.
    Remedy: Broadcast in a handler, in `lifespan`, or in a task that it starts.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp()
        ws.room("/news").broadcast("started")
        ws.run(port=8000)
    """) == (
        "wsrooms.errors.NotRunning: the app is not running: use it between start and close, "
        "inside 'async with app.serving()' or after 'await app.listen()'"
    )


@pytest.mark.filterwarnings("ignore:coroutine 'WsApp.listen' was never awaited")
async def test_listen_is_awaited(mistake: Mistake) -> None:
    """listen() without await.

    Why: A coroutine that is not awaited does nothing. Python says so too, at some later time:
    `RuntimeWarning: coroutine 'WsApp.listen' was never awaited`.
    Remedy: `await ws.listen(8000)`.
    """
    assert await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp()

        async def main():
            ws.listen(8000)
            ws.broadcast("started", "/")
    """) == (
        "wsrooms.errors.NotRunning: the app is not running: use it between start and close, "
        "inside 'async with app.serving()' or after 'await app.listen()'"
    )


async def test_a_closed_app_is_closed_for_every_thread(mistake: Mistake) -> None:
    """An app that is used after it has closed.

    Why: A thread goes on where nobody ends it, and its app is gone meanwhile.
    Remedy: End threads in `lifespan`, or let them expect `NotRunning`.
    """
    assert await mistake.main_raises("""
        import asyncio

        from wsrooms import WsApp

        ws = WsApp()

        async def main():
            async with ws.serving():
                room = ws.room("/news")
            await asyncio.to_thread(room.broadcast, "late")
    """) == (
        "wsrooms.errors.NotRunning: the app is not running: use it between start and close, "
        "inside 'async with app.serving()' or after 'await app.listen()'"
    )


async def test_a_handler_asks_for_the_app_that_runs_it(mistake: Mistake) -> None:
    """The app's name in a handler that a replica runs.

    Why: `ws` is the app that was declared. What runs in a `Cluster`, and after `ws.replica()`,
    is another one with the same handlers, which have to ask which one it is.
    Remedy: `use_ws_server().room("/news")` in handlers and hooks, `on_gap` too; in a task the
    `app` that `lifespan` was given.
    """
    app = mistake.runs("""
        from wsrooms import WsApp

        ws = WsApp()

        @ws.on_message("tell", "/news")
        def tell():
            ws.room("/news").broadcast("told")

        replica = ws.replica()
    """).replica
    async with mistake.client(app) as client:
        assert await client.call("tell", "/news") == [
            '→ {"event": "tell", "path": "/news", "id": 1}',
            '← {"id":1,"error":{"code":500,"message":"Internal Error"}}',
        ]
    assert mistake.log() == [
        (
            "ERROR tell /news: its handler failed\nTraceback (most recent call last):\n  ...\n"
            "wsrooms.errors.NotRunning: the app is not running, while another "
            "one runs what is called here, such as a replica() of it in a Cluster: there "
            "use_ws_server() is the one that runs, and so is the app that lifespan gets"
        ),
    ]


def test_a_task_is_started_in_an_app_that_runs(mistake: Mistake) -> None:
    """start_task() before start.

    Why: There is no event loop yet that could run it.
    Remedy: Start it in `lifespan`.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp()

        async def tick():
            ...

        ws.start_task(tick(), name="tick")
    """) == (
        "wsrooms.errors.NotRunning: task 'tick' needs a running app: start it in lifespan or later"
    )


async def test_a_task_is_made_of_a_coroutine(mistake: Mistake) -> None:
    """start_task() with the function itself.

    Why: An async function is a recipe; what runs is the coroutine that calling it makes.
    Remedy: `ws.start_task(tick(), name="tick")`.
    """
    assert (
        await mistake.main_raises("""
        from wsrooms import WsApp

        ws = WsApp()

        async def tick():
            ...

        async def main():
            async with ws.serving():
                ws.start_task(tick, name="tick")
    """)
        == "TypeError: start_task(tick): give a coroutine, which calling an async function makes"
    )
