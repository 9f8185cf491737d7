"""Contexts of a connection: a test calls a hook as if somebody had connected, or left."""

from __future__ import annotations

import pytest

from wsrooms import OutsideContext, WsApp, WsError, use_ws_connection, use_ws_rooms
from wsrooms.testing import prepare_test_ws_connection_context


@pytest.fixture
def app() -> WsApp:
    return WsApp()


def test_in_a_connection_context_a_connection_is_as_in_on_connect(app: WsApp) -> None:
    with prepare_test_ws_connection_context(
        path="/ws?token=t", headers={"Cookie": "user=ann"}, app=app
    ) as ctx:
        request = use_ws_connection().request
        assert (request.path, request.query["token"], request.cookies) == (
            "/ws",
            ["t"],
            {"user": "ann"},
        )
        assert ctx.call(lambda: "a hook") == "a hook"
        ctx.connection.join("user:ann")
        app.room("user:ann").broadcast("waits")
        assert ctx.sent == []
        assert app.server.connections() == frozenset()
        with pytest.raises(OutsideContext, match="needs a message"):
            use_ws_rooms()
        with pytest.raises(AttributeError, match="no message"):
            _ = ctx.message
    assert [one["event"] for one in ctx.sent] == ["waits"]
    assert app.server.connections() == {ctx.connection}


def test_a_connection_that_on_connect_refuses_leaves_its_rooms(app: WsApp) -> None:
    with prepare_test_ws_connection_context(app=app) as other:
        pass
    with (  # noqa: PT012 - the hook joins before it refuses
        pytest.raises(WsError),
        prepare_test_ws_connection_context(app=app) as ctx,
    ):
        ctx.connection.join("user:ann")
        raise WsError(401)
    assert not ctx.connection.accepted
    assert ctx.connection.rooms == set()
    assert app.server.connections() == {other.connection}


def test_on_disconnect_is_tested_with_the_connection_of_an_earlier_context(app: WsApp) -> None:
    left: list[str] = []

    def bye() -> None:
        connection = use_ws_connection()
        left.append(f"{connection.request.cookies['user']} {connection.close_code}")
        app.room("lobby").broadcast("left", exclude=connection.id)

    with prepare_test_ws_connection_context(app=app) as bob:
        bob.connection.join("lobby")
    with prepare_test_ws_connection_context(headers={"Cookie": "user=ann"}, app=app) as ann:
        ann.connection.join("lobby")
    ann.connection.close(1000)
    with prepare_test_ws_connection_context(connection=ann.connection, app=app):
        bye()
    assert left == ["ann 1000"]
    assert [one["event"] for one in bob.sent] == ["left"]
