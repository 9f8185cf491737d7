"""An app on a transport of a broker: it starts without one, joins through outages, says what is."""

from __future__ import annotations

import asyncio

import pytest

from tests.core.transports.lines import LineTransport, on_virtual_time, refuse
from wsrooms import Gap, WsApp, use_ws_rooms
from wsrooms.errors import TransportUnavailable
from wsrooms.testing import connect_client


def make_app(transport: LineTransport, **options: bool) -> WsApp:
    app = WsApp(broadcast_transport=transport, **options)  # type: ignore[arg-type]  # bools only

    @app.on_message("join", "/room")
    async def join() -> str:
        await use_ws_rooms().join()
        return "joined"

    return app


@on_virtual_time
async def test_an_app_without_its_broker_does_not_start() -> None:
    transport = LineTransport()
    transport.prepare = lambda t: setattr(t.hearing, "connecting", refuse)
    app = make_app(transport)
    with pytest.raises(TransportUnavailable, match="nobody is there"):
        async with connect_client(app):
            pass


@on_virtual_time
async def test_an_app_may_start_without_its_broker_and_joins_are_answered_when_it_is_there() -> (
    None
):
    transport = LineTransport()
    transport.prepare = lambda t: setattr(t.hearing, "connecting", refuse)
    app = make_app(transport, start_without_broker=True)
    async with connect_client(app) as client:
        health = app.health()
        assert (health.state, health.error) == ("down", "nobody is there")
        joined = asyncio.ensure_future(client.call("join", "/room", timeout=30))
        await asyncio.sleep(3)
        assert not joined.done()
        tried = len(transport.made)
        assert tried >= 3  # about every second, each time with new links
        transport.prepare = lambda _: None
        assert await joined == "joined"
        assert app.health().state == "up"
        assert "ws:room:/room" in transport.hearing.subscribed
        assert len(transport.made) == tried + 1
    assert transport.state == "closed"


@on_virtual_time
async def test_an_app_joins_again_after_an_outage_and_tells_its_gap() -> None:
    transport = LineTransport()
    app = make_app(transport)
    gaps: list[Gap] = []
    app.on_gap(gaps.append)
    async with connect_client(app) as client:
        assert await client.call("join", "/room") == "joined"
        transport.hearing.connecting = refuse
        transport.hearing.lose("cut")
        await asyncio.sleep(0.1)
        assert app.health().state == "down"
        transport.hearing.connecting = None
        await asyncio.sleep(5)
        assert app.health().state == "up"
        assert "ws:room:/room" in transport.hearing.subscribed
        assert gaps == [Gap(None, None, None)]
        stats = app.stats()
        assert (stats["gaps"], stats["reconnects"], stats["outbox"]) == (1, 1, 0)
