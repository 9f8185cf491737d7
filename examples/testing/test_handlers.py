"""Unit tests of the shop's handlers: no server, no client, and no event loop for sync ones."""

import pytest

from wsrooms import WsError
from wsrooms.testing import (
    prepare_test_ws_connection_context,
    prepare_test_ws_message_context,
    run,
)

from shop import USER, Order, deliver, login, order, watch, ws


# --8<-- [start:one]
def test_an_order_is_answered_with_its_pieces() -> None:
    with prepare_test_ws_message_context(
        event="order", path="/shops/tea", data={"item": "green", "pieces": 2}
    ) as ctx:
        assert ctx.call(order) == {"pieces": 2}


def test_an_order_of_nothing_is_refused() -> None:
    with (
        prepare_test_ws_message_context(
            event="order", path="/shops/tea", data=Order("green", pieces=0)
        ) as ctx,
        pytest.raises(WsError, match="one piece at least"),
    ):
        ctx.call(order)
        # --8<-- [end:one]


# --8<-- [start:typed]
def test_an_order_of_many_words_is_refused_before_the_handler_runs() -> None:
    with (
        prepare_test_ws_message_context(
            event="order", path="/shops/tea", data={"item": "green", "pieces": "many"}
        ) as ctx,
        pytest.raises(WsError, match=r"Expected `int`, got `str` - at `\$\.pieces`") as refused,
    ):
        ctx.call(order)
    assert refused.value.code == 422
    # --8<-- [end:typed]


# --8<-- [start:rooms]
async def test_who_watches_a_shop_hears_of_its_orders() -> None:
    with prepare_test_ws_message_context(event="watch", path="/shops/tea", app=ws) as ann:
        assert await watch() == "watching"

    with prepare_test_ws_message_context(
        event="order", path="/shops/tea", data=Order("green"), app=ws
    ) as bob:
        bob.call(order)

    assert ann.sent == [
        {
            "event": "ordered",
            "path": "/shops/tea",
            "params": {"shop": "tea"},
            "data": {"item": "green", "pieces": 1},
        }
    ]
    assert bob.sent == []
    # --8<-- [end:rooms]


# --8<-- [start:connect]
def test_who_has_a_cookie_comes_in_and_is_in_a_room_of_his_own() -> None:
    with prepare_test_ws_connection_context(headers={"Cookie": "user=ann"}) as ctx:
        login()
    assert ctx.connection.get(USER) == "ann"
    assert ctx.connection.rooms == {"user:ann"}


def test_who_has_none_does_not() -> None:
    with pytest.raises(WsError, match="Log in first"), prepare_test_ws_connection_context():
        login()
        # --8<-- [end:connect]


def test_a_handler_that_waits_is_tested_on_virtual_time() -> None:
    async def main() -> None:
        with prepare_test_ws_message_context(event="deliver", path="/shops/tea"):
            assert await deliver() == "thank you"

    run(main())
