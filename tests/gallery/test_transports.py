"""Mistakes in what is to join several instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    Mistake = Any  # the fixture of conftest.py


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
        "kafka, kafka+ssl, memory, nats, redis, redis+sentinel, redis+unix, rediss, tls; did you "
        "mean 'redis' or 'rediss'?"
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
