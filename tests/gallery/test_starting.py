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


# Between instances


def test_a_url_needs_the_package_that_speaks_it(
    mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transport whose package is not installed.

    Why: The core brings no client of any broker.
    Remedy: Run what the text says.
    """
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [])
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="redis://localhost")
    """) == (
        "wsrooms.errors.MissingTransport: redis:// needs a package that is not installed: "
        'pip install "wsrooms-core[redis]"'
    )


def test_a_scheme_is_one_that_something_speaks(
    mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL with an unknown scheme.

    Why: The scheme chooses the transport.
    Remedy: Take one that is known, or install the package that brings it.
    """
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [])
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="reddis://localhost")
    """) == (
        "wsrooms.errors.UnknownScheme: no transport speaks 'reddis' URLs; known schemes: "
        "kafka, kafka+ssl, memory, nats, redis, redis+unix, rediss, tls; did you mean "
        "'redis' or 'rediss'?"
    )


def test_an_address_without_a_scheme_is_no_url(mistake: Mistake) -> None:
    """An address in place of a URL.

    Why: `localhost:6379` does not say what listens there.
    Remedy: Put the scheme before it: `redis://localhost:6379`.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="localhost:6379")
    """) == (
        "wsrooms.errors.ConfigurationError: broadcast_transport='localhost:6379' is no URL "
        "such as redis://localhost, nor an object with publish, subscribe and unsubscribe"
    )


def test_an_option_in_a_url_is_spelt_as_it_is(mistake: Mistake) -> None:
    """A misspelt option in a URL.

    Why: As with the options of `WsApp`.
    Remedy: The text names those that this transport has.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        ws = WsApp(broadcast_transport="memory://?namspace=tests")
    """) == (
        "wsrooms.errors.UnknownOption: unknown option 'namspace'; known options: namespace; "
        "did you mean 'namespace'?"
    )


def test_a_transport_is_an_object(mistake: Mistake) -> None:
    """A transport's class in place of an object.

    Why: A class is connected to nothing.
    Remedy: Make an object of it.
    """
    assert mistake.raises("""
        from wsrooms import MemoryTransport, WsApp

        ws = WsApp(broadcast_transport=MemoryTransport)
    """) == (
        "wsrooms.errors.ConfigurationError: broadcast_transport=MemoryTransport is a class: "
        "give an object, MemoryTransport(...)"
    )


def test_a_transport_has_three_methods(mistake: Mistake) -> None:
    """A transport that lacks a method.

    Why: All three are needed: a room is subscribed with its first member, and unsubscribed
    with its last.
    Remedy: Write what is missing; it may be `async` or not.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        class MyTransport:
            async def publish(self, channel, payload): ...
            async def subscribe(self, channel, handler): ...

        ws = WsApp(broadcast_transport=MyTransport())
    """) == (
        "wsrooms.errors.ConfigurationError: MyTransport is no transport: it lacks "
        "unsubscribe; a transport has publish, subscribe and unsubscribe"
    )


def test_tagged_wraps_an_object(mistake: Mistake) -> None:
    """tagged() around a URL.

    Why: `tagged()` wraps a transport that is there already.
    Remedy: `tagged(transport_from_url("redis://localhost"))`; both are in `wsrooms`.
    """
    assert mistake.raises("""
        from wsrooms import WsApp, tagged

        ws = WsApp(broadcast_transport=tagged("redis://localhost"))
    """) == (
        "wsrooms.errors.ConfigurationError: tagged() wraps a transport and no str: give an "
        "object, such as tagged(transport_from_url(url))"
    )


def test_a_transport_belongs_to_one_app(mistake: Mistake) -> None:
    """One transport object for two apps.

    Why: A transport hands on what others publish, not what was published through itself; each
    app would miss what the other one says.
    Remedy: An object for each app. In one process they meet on one `MemoryBus`.
    """
    assert mistake.raises("""
        from wsrooms import MemoryTransport, WsApp

        transport = MemoryTransport()
        one = WsApp(broadcast_transport=transport)
        other = WsApp(broadcast_transport=transport)
    """) == (
        "wsrooms.errors.ConfigurationError: two apps cannot share a transport object: an "
        "instance would not hear the other; make one for each app, or use app.replica()"
    )


def test_a_replica_needs_a_transport_of_its_own(mistake: Mistake) -> None:
    """A replica of an app whose transport cannot be doubled.

    Why: A replica is one more instance on the same bus, so it needs a second transport, and
    only a transport with a method `replica()` can make one.
    Remedy: Give it one: `ws.replica(broadcast_transport=MyTransport())`.
    """
    assert mistake.raises("""
        from wsrooms import WsApp

        class MyTransport:
            async def publish(self, channel, payload): ...
            async def subscribe(self, channel, handler): ...
            async def unsubscribe(self, channel): ...

        ws = WsApp(broadcast_transport=MyTransport())
        other = ws.replica()
    """) == (
        "wsrooms.errors.ConfigurationError: MyTransport cannot be shared by two apps; give "
        "the replica its own with replica(broadcast_transport=...)"
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
