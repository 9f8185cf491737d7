"""A channel that the broker denies fails for whoever wants that one, and for nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE
from tests.transports.told import Told
from wsrooms.errors import PermissionDenied, TransportError

if TYPE_CHECKING:
    from tests.transports.kinds import RefusingKind
    from wsrooms.receipt import Receipt

DENIED = ["denied", "denied too", "ok"]


async def error_of(receipt: Receipt) -> Exception | None:
    try:
        async with asyncio.timeout(DEADLINE):
            await receipt
    except TransportError as error:
        return error
    return None


async def test_of_many_names_in_one_batch_only_the_denied_ones_fail(
    kind: RefusingKind, image: str
) -> None:
    async with kind.restricted(image, allowed=["ok:*"], denied=DENIED) as server:
        transport, other = kind.patient(server.url), kind.patient(server.url)
        await transport.start()
        await other.start()
        heard: list[str] = []
        names = [f"ok:{number}" for number in range(500)]
        names[7], names[8], names[333] = DENIED
        receipts = {name: transport.subscribe(name, heard.append) for name in names}
        errors = {name: await error_of(receipt) for name, receipt in receipts.items()}
        assert {name for name, error in errors.items() if error is not None} == set(DENIED)
        for name in DENIED:
            error = errors[name]
            assert isinstance(error, PermissionDenied)
            assert error.channel == name
            assert server.url in str(error)
        assert transport.state == "up"
        stats = transport.stats()
        assert (stats["subscriptions"], stats["reconnects"]) == (497, 0)
        allowed = [name for name in names if name not in DENIED]
        for name in allowed:
            other.publish(name, name)
        async with asyncio.timeout(DEADLINE):
            while len(heard) < len(allowed):  # noqa: ASYNC110 - messages come when they come
                await asyncio.sleep(0.005)
        assert sorted(heard) == sorted(allowed)
        await transport.close()
        await other.close()


async def test_of_many_messages_in_one_batch_only_the_denied_ones_fail(
    kind: RefusingKind, image: str
) -> None:
    async with kind.restricted(image, allowed=["ok:*"], denied=DENIED) as server:
        transport, other = kind.patient(server.url), kind.patient(server.url)
        await transport.start()
        await other.start()
        heard: list[str] = []
        await other.subscribe("ok:1", heard.append)
        names = ["ok:1"] * 500
        names[0] = names[7] = names[8] = names[499] = "denied"
        receipts = [transport.publish(name, str(at)) for at, name in enumerate(names)]
        errors = [await error_of(receipt) for receipt in receipts]
        assert [at for at, error in enumerate(errors) if error is not None] == [0, 7, 8, 499]
        for at in 0, 7, 8, 499:
            error = errors[at]
            assert isinstance(error, PermissionDenied)
            assert error.channel == "denied"
        stats = transport.stats()
        assert (stats["published"], stats["publish_failed"]) == (496, 4)
        assert (transport.state, stats["reconnects"], stats["resent"]) == ("up", 0, 0)
        async with asyncio.timeout(DEADLINE):
            while len(heard) < 496:  # noqa: ASYNC110 - messages come when they come
                await asyncio.sleep(0.005)
        assert heard == [str(at) for at, name in enumerate(names) if name == "ok:1"]
        await transport.close()
        await other.close()


@pytest.mark.parametrize("names", [["denied"], ["denied", "denied too"]])
async def test_what_was_denied_can_be_asked_for_again(
    kind: RefusingKind, image: str, names: list[str]
) -> None:
    async with kind.restricted(image, allowed=["ok:*"], denied=DENIED) as server:
        transport = kind.patient(server.url)
        await transport.start()
        for _ in range(2):
            receipts = [transport.subscribe(name, print) for name in names]
            assert all([await error_of(receipt) is not None for receipt in receipts])
        assert transport.stats()["subscriptions"] == 0
        await transport.subscribe("ok:1", print)
        await transport.close()


async def test_a_channel_that_is_denied_after_a_restart_fails_nobody_else(
    kind: RefusingKind, image: str
) -> None:
    async with kind.restricted(image, allowed=["ok:*", "later:*"], denied=[]) as server:
        transport, other = kind.patient(server.url), kind.patient(server.url)
        told, others = Told(transport), Told(other)
        await transport.start()
        await other.start()
        heard: list[str] = []
        for number in range(200):
            transport.subscribe(f"ok:{number}", heard.append)
        later = [f"later:{number}" for number in range(5)]
        for name in later:
            transport.subscribe(name, heard.append)
        await transport.subscribe("ok:last", heard.append)
        await kind.restrict(server, allowed=["ok:*"], denied=later)
        for each in told, others:
            await each.until("down")
            await each.until("up")
        assert transport.stats()["subscriptions"] == 201
        error = await error_of(transport.subscribe("later:0", print))
        assert isinstance(error, PermissionDenied)
        for number in range(200):
            other.publish(f"ok:{number}", str(number))
        other.publish("ok:last", "last")
        async with asyncio.timeout(DEADLINE):
            while "last" not in heard:  # noqa: ASYNC110 - messages come when they come
                await asyncio.sleep(0.005)
        assert heard == [*map(str, range(200)), "last"]
        await transport.close()
        await other.close()
