"""Tests of the whole shop: clients with real frames, and an hour that takes no time."""

import asyncio
import random

import pytest

from wsrooms import WsError
from wsrooms.testing import Disconnected, connect_client, run

from shop import Order, ws

ANN = {"Cookie": "user=ann"}
BOB = {"Cookie": "user=bob"}


# --8<-- [start:frames]
async def test_who_watches_a_shop_hears_of_its_orders() -> None:
    async with (
        connect_client(ws, headers=ANN) as ann,
        connect_client(ws, headers=BOB) as bob,
    ):
        assert await ann.call("watch", "/shops/tea") == "watching"
        assert await bob.call("order", "/shops/tea", Order("green")) == {"pieces": 1}

        ordered = await ann.receive()
        assert (ordered["event"], ordered["data"]["item"]) == ("ordered", "green")
        await bob.receive_nothing()
        # --8<-- [end:frames]


# --8<-- [start:refused]
async def test_who_is_not_logged_in_is_not_let_in() -> None:
    with pytest.raises(Disconnected) as refused:
        async with connect_client(ws):
            pass
    assert (refused.value.code, refused.value.reason) == (1008, "Log in first")


async def test_a_page_of_another_host_is_not_let_in_either() -> None:
    with pytest.raises(Disconnected) as refused:
        async with connect_client(ws, headers={**ANN, "Origin": "https://elsewhere.example"}):
            pass
    assert refused.value.status == 403


async def test_an_order_that_is_none_is_refused_with_the_field() -> None:
    async with connect_client(ws, headers=ANN) as ann:
        with pytest.raises(WsError, match=r"\$\.pieces") as refused:
            await ann.call("order", "/shops/tea", {"item": "green", "pieces": "many"})
    assert refused.value.code == 422
    # --8<-- [end:refused]


# --8<-- [start:virtual]
def test_a_delivery_takes_an_hour() -> None:
    async def main() -> float:
        async with connect_client(ws, headers=ANN) as ann:
            await ann.call("watch", "/shops/tea")
            async with connect_client(ws, headers=BOB) as bob:
                assert await bob.call("deliver", "/shops/tea", timeout=4000) == "thank you"
            assert (await ann.receive())["event"] == "delivered"
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(3600)
    # --8<-- [end:virtual]


# --8<-- [start:seed]
def test_nobody_hears_of_his_own_order_whatever_the_others_do(wsrooms_seed: int) -> None:
    async def customer(name: str) -> None:
        async with connect_client(ws, headers={"Cookie": f"user={name}"}) as me:
            await me.call("watch", "/shops/tea")
            for _ in range(5):
                await asyncio.sleep(random.uniform(0, 60))
                await me.call("order", "/shops/tea", Order(name))
            await me.settle()
            while me.unread:
                assert (await me.receive())["data"]["item"] != name

    async def main() -> None:
        await asyncio.gather(*map(customer, ("ann", "bob", "eve")))

    run(main(), seed=wsrooms_seed)
    # --8<-- [end:seed]
