"""Options: what cannot work is refused by name, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.ids import shown
from wsrooms import (
    ConfigurationError,
    InvalidHandler,
    MemoryBus,
    MemoryTransport,
    UnknownOption,
    UnknownScheme,
    WsApp,
    WsLimits,
    tagged,
    use_ws_rooms,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Plain:
    """Three methods, and nothing behind them."""

    def publish(self, channel: str, payload: str) -> None: ...

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> None: ...

    def unsubscribe(self, channel: str) -> None: ...


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"max_message_size": 0}, "max_message_size"),
        ({"max_message_size": 1.5}, "max_message_size"),
        ({"max_concurrent_messages": True}, "max_concurrent_messages"),
        ({"max_concurrent_messages": -1}, "max_concurrent_messages"),
        ({"join_timeout": 0}, "join_timeout"),
        ({"join_timeout": "8"}, "join_timeout"),
        ({"join_timeout": float("nan")}, "join_timeout"),
        ({"shutdown_timeout": -1.0}, "shutdown_timeout"),
        ({"shutdown_timeout": float("inf")}, "shutdown_timeout"),
        ({"heartbeat_timeout": None}, "heartbeat_timeout"),
        ({"heartbeat_interval": -1}, "heartbeat_interval"),
        ({"allowed_origins": "https://example.org"}, r"\['https://example.org'\]"),
        ({"allowed_origins": [b"https://example.org"]}, "allowed_origins"),
        ({"allowed_origins": None}, "allowed_origins"),
        ({"lifespan": 1}, "lifespan"),
        ({"message_parser": "json"}, "message_parser"),
        ({"message_serializer": "json"}, "message_serializer"),
        ({"enc_hook": "json"}, "enc_hook"),
        ({"limits": {"outbox_bytes": 1}}, r"WsLimits\(\.\.\.\)"),
        ({"limits": WsLimits(waiting_messages=0)}, "limits.waiting_messages"),
        ({"limits": WsLimits(outbox_bytes=-1)}, "limits.outbox_bytes"),
        ({"limits": WsLimits(slow_client="drop")}, "drop_oldest, drop_newest"),  # type: ignore[arg-type]  # the mistake
        ({"broadcast_transport": object()}, "publish, subscribe, unsubscribe"),
        ({"broadcast_transport": MemoryTransport}, "is a class"),
        ({"broadcast_transport": "localhost"}, "redis://localhost"),
    ],
    ids=shown,
)
def test_an_option_that_cannot_work_is_refused_by_name(options: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigurationError, match=names):
        WsApp(**options)


def test_a_url_that_nobody_speaks_is_refused_at_once() -> None:
    with pytest.raises(UnknownScheme):
        WsApp(broadcast_transport="gopher://localhost")


@pytest.mark.parametrize("interval", [None, 0, 0.5])
def test_a_heartbeat_may_be_off_or_quick(interval: float | None) -> None:
    WsApp(heartbeat_interval=interval, allowed_origins=("https://a.example",))


def test_hooks_of_a_wrong_signature_are_refused_where_they_are_declared() -> None:
    app = WsApp()
    with pytest.raises(InvalidHandler):
        app.on_gap(lambda: None)
    with pytest.raises(InvalidHandler):
        app.on_error(lambda error: None)


async def test_a_replica_has_the_same_declarations_and_its_own_state(connect: Connect) -> None:
    bus = MemoryBus()
    app = WsApp(broadcast_transport=MemoryTransport(bus), max_message_size=100)
    errors: list[str] = []
    app.on_error(lambda error, route: errors.append(route))

    @app.on_message("join", "/r")
    async def join() -> None:
        await use_ws_rooms().join()

    @app.on_message("fail", "/r")
    def fail() -> None:
        raise LookupError

    twin = app.replica()
    async with app.serving() as one, twin.serving() as two:
        a, b = await connect(one), await connect(two)
        await a.call("join", "/r")
        await b.call("join", "/r")
        assert len(app.room("/r")) == len(twin.room("/r")) == 1
        app.room("/r").broadcast("hi")
        assert await b.push() == {"event": "hi", "path": "/r"}
        await b.call("fail", "/r")
        assert errors == ["fail /r"]
        assert app.stats()["handler_errors"] == 0
        b.send("x", "/" + "x" * 100)
        await b.settled()
        assert twin.stats()["dropped_too_long"] == 1


async def test_hooks_declared_after_the_replica_was_made_count_as_routes_do(
    connect: Connect,
) -> None:
    deliver: dict[str, Callable[[str], None]] = {}

    class Bus(Plain):
        def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
            deliver[channel] = handler

    app = WsApp(broadcast_transport=tagged(Plain()))
    twin = app.replica(broadcast_transport=tagged(Bus()))
    told: list[tuple[str, str]] = []
    twin.on_error(lambda error, route: told.append(("twin", route)))
    app.on_error(lambda error, route: told.append(("app", route)))
    app.on_gap(lambda gap: told.append(("app", f"gap {gap.missing}")))
    app.on_message("fail", "/", lambda: 1 // 0)
    async with twin.serving() as address:
        await (await connect(address)).call("fail", "/")
        deliver["ws:server"]('1 other 1 1 {"event":"e","path":"/p"}')
        deliver["ws:server"]('1 other 1 3 {"event":"e","path":"/p"}')
    assert told == [("app", "fail /"), ("twin", "fail /"), ("app", "gap 1")]
    told.clear()
    async with app.serving() as address:
        await (await connect(address)).call("fail", "/")
    assert told == [("app", "fail /")]


@pytest.mark.parametrize("generation", [1, 2])
async def test_a_replica_is_on_the_bus_of_a_memory_url(connect: Connect, generation: int) -> None:
    app = WsApp(broadcast_transport="memory://")
    app.on_message("ping", "/", lambda: "pong")
    twin = app
    for _ in range(generation):
        twin = twin.replica()
    async with app.serving() as one, twin.serving() as two:
        here, there = await connect(one), await connect(two)
        await app.broadcast("e", "/p")
        assert await there.push() == await here.push() == {"event": "e", "path": "/p"}
        await twin.broadcast("f", "/p")
        assert await here.push() == await there.push() == {"event": "f", "path": "/p"}


def test_two_apps_with_one_memory_url_are_apart() -> None:
    one, other = WsApp(broadcast_transport="memory://"), WsApp(broadcast_transport="memory://")
    assert one._life.transport is not other._life.transport
    assert one._life.transport.bus is not other._life.transport.bus  # type: ignore[union-attr]  # it is a MemoryTransport


def test_the_replica_of_a_subclass_is_a_plain_app() -> None:
    class Chat(WsApp):
        def __init__(self, motto: str) -> None:
            super().__init__(debug=True)
            self.on_message("motto", "/", lambda: motto)

    twin = Chat("hi").replica()
    assert type(twin) is WsApp
    assert [route[:2] for route in twin.routes()] == [("motto", "/")]
    assert twin._options["debug"] is True


def test_a_replica_may_change_options_and_nothing_else() -> None:
    app = WsApp()
    assert app.replica(debug=True, join_timeout=1.0)._options["join_timeout"] == 1.0
    assert app._options["join_timeout"] == 8.0
    with pytest.raises(UnknownOption, match="join_timeout"):
        app.replica(join_timout=1)


def test_two_apps_cannot_share_a_transport_object() -> None:
    transport = Plain()
    app = WsApp(broadcast_transport=transport)
    with pytest.raises(ConfigurationError, match="share"):
        WsApp(broadcast_transport=transport)
    with pytest.raises(ConfigurationError, match="replica"):
        app.replica()
    app.replica(broadcast_transport=Plain())
    with pytest.raises(ConfigurationError, match=r"no replica\(\)"):
        WsApp(broadcast_transport=tagged(Plain())).replica()


def test_two_apps_cannot_share_what_tagged_wraps() -> None:
    transport = Plain()
    app = WsApp(broadcast_transport=tagged(tagged(transport)))
    for again in (transport, tagged(transport)):
        with pytest.raises(ConfigurationError, match="share"):
            WsApp(broadcast_transport=again)
    assert app.stats()["connections"] == 0  # it is alive, and so is its claim


def test_a_transport_is_free_again_when_its_app_is_gone() -> None:
    import gc

    transport = Plain()
    WsApp(broadcast_transport=transport)
    gc.collect()
    WsApp(broadcast_transport=transport)


# Calls that are no options


def test_a_misspelt_option_is_told_with_what_was_meant() -> None:
    make: Any = WsApp
    with pytest.raises(UnknownOption) as caught:
        make(alowed_origins="*")
    assert caught.value.option == "alowed_origins"
    assert set(caught.value.known) == set(WsApp()._options)
    assert str(caught.value).endswith("; did you mean 'allowed_origins'?")


def test_an_option_without_its_name_is_told_to_have_one() -> None:
    make: Any = WsApp
    with pytest.raises(ConfigurationError, match=r"WsApp\(\) takes no str without a name: give"):
        make("redis://x")


def test_a_logger_is_a_logger() -> None:
    name: Any = "mine"
    with pytest.raises(ConfigurationError, match="logger='mine': give a logger, such as"):
        WsApp(logger=name)


@pytest.mark.parametrize(
    ("origin", "meant"),
    [
        ("example.org", "https://example.org"),
        ("example.org/app", "https://example.org"),
        ("http://example.org/", "http://example.org"),
        ("https://", "https://"),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{origin!r} is no origin .* such as {meant!r}"):
        WsApp(allowed_origins=["https://example.org", origin])


@pytest.mark.parametrize("origin", ["null", "*", "http://[::1]:8080", "app://local"])
def test_every_origin_that_a_browser_may_send_passes(origin: str) -> None:
    WsApp(allowed_origins=[origin])


def test_what_tagged_wraps_is_a_transport_object() -> None:
    wrap: Any = tagged
    with pytest.raises(ConfigurationError, match=r"tagged\(transport_from_url\(url\)\)"):
        WsApp(broadcast_transport=wrap("redis://x"))
    with pytest.raises(ConfigurationError, match="Plain is a class: give an object"):
        WsApp(broadcast_transport=wrap(Plain))
