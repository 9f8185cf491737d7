"""An app whose broker is not there at the start, or will not have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import (
    TransportUnavailable,
    WsApp,
    use_ws_rooms,
)

from .fake_broker import FakeBroker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]


async def test_without_its_broker_an_app_does_not_start() -> None:
    broker = FakeBroker()
    app = WsApp(broadcast_transport=broker)
    with pytest.raises(TransportUnavailable, match="no broker at nowhere:1"):
        await app.listen(0)
    assert broker.closed == 1
    assert app.health().state == "closed"


@pytest.mark.parametrize("error", [TransportUnavailable("no broker"), OSError("no broker")])
async def test_start_without_broker_serves_at_once_and_joins_when_it_is_there(
    connect: Connect, eventually: Eventually, error: Exception
) -> None:
    broker = FakeBroker()
    broker.error = error
    app = WsApp(broadcast_transport=broker, start_without_broker=True, join_timeout=DEADLINE)

    @app.on_message("join", "/r")
    async def join() -> str:
        await use_ws_rooms().join()
        return "joined"

    app.on_message("ping", "/", lambda: "pong")
    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("ping", "/") == "pong"
        health = app.health()
        assert health.state == "down"
        assert "no broker" in (health.error or "")
        peer.send("join", "/r", id="j")
        await peer.settled()
        assert broker.subscribed == []
        broker.up = True
        assert await peer.reply("j") == "joined"
        assert set(broker.subscribed) == {"ws:server", "ws:room:/r"}
        assert app.health().state == "up"
    assert broker.closed == 1


async def test_start_without_broker_answers_joins_with_503(connect: Connect) -> None:
    broker = FakeBroker()
    app = WsApp(broadcast_transport=broker, start_without_broker=True, join_timeout=0.05)

    @app.on_message("join", "/r")
    async def join() -> str:
        use_ws_rooms().join()
        return "joined"

    async with app.serving() as address:
        peer = await connect(address)
        for _ in range(2):
            answer = await peer.call("join", "/r")
            assert answer["error"] == {"code": 503, "message": "Service Unavailable"}
        assert app.stats()["memberships"] == 0
        assert app.stats()["joins_failed"] == 2
    assert broker.starts >= 1
    assert broker.closed == 1


@pytest.mark.parametrize("without_broker", [True, False])
async def test_a_server_wide_channel_that_is_refused_at_the_start(
    connect: Connect,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    plain_bus: Any,
    without_broker: bool,
) -> None:
    monkeypatch.setattr("wsrooms.rooms.WISH_AGAIN", 0.01)
    transport = plain_bus.transport()
    transport.failing["subscribe ws:server"] = LookupError("not yet")
    app = WsApp(broadcast_transport=transport, start_without_broker=without_broker)
    if not without_broker:
        with pytest.raises(TransportUnavailable, match="not yet"):
            await app.listen(0)
        assert plain_bus.channels() == {}
        return
    async with app.serving() as address:
        peer = await connect(address)
        del transport.failing["subscribe ws:server"]
        await eventually(lambda: plain_bus.channels() == {"ws:server": 1})
        await plain_bus.transport().publish("ws:server", '{"event":"e","path":"/"}')
        assert await peer.push() == {"event": "e", "path": "/"}


async def test_a_server_wide_channel_that_is_never_confirmed_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, plain_bus: Any
) -> None:
    monkeypatch.setattr("wsrooms.life.START_SERVER_CHANNEL", 0.02)
    transport = plain_bus.transport()
    transport.hold("subscribe ws:server")
    app = WsApp(broadcast_transport=transport)
    with pytest.raises(TransportUnavailable, match="server-wide"):
        await app.listen(0)
    assert app.health().state == "closed"
