"""What a NATS server allows: a limit or a permission costs what is over it, and nothing else."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.brokers import nats_server
from tests.nats.identities import Operator
from tests.transports.crew import DEADLINE, error_of
from tests.transports.told import Told
from wsrooms import Gap
from wsrooms.errors import (
    InvalidChannel,
    PayloadTooLarge,
    PermissionDenied,
    TransportUnavailable,
)
from wsrooms.testing import TcpProxy
from wsrooms_nats import NatsTransport

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


ENVELOPE = 64


def permissions(*, publish: Iterable[str] = (), subscribe: Iterable[str] = ()) -> str:
    """Settings that deny these subjects to everybody."""
    rules = {"publish": {"deny": list(publish)}, "subscribe": {"deny": list(subscribe)}}
    user = json.dumps({"user": "u", "password": "p", "permissions": rules})
    return f"authorization: {{users: [{user}]}}\nno_auth_user: u"


# Subscriptions


async def test_of_many_names_those_over_the_maximum_fail_alone() -> None:
    async with nats_server(config="max_subscriptions: 50") as server:
        transport, other = NatsTransport(server.url), NatsTransport(server.url)
        await transport.start()
        await other.start()
        heard: list[str] = []
        names = [f"c{number}" for number in range(80)]
        errors = [await error_of(transport.subscribe(name, heard.append)) for name in names[:10]]
        receipts = [transport.subscribe(name, heard.append) for name in names[10:]]
        errors += [await error_of(receipt) for receipt in receipts]
        taken = [name for name, error in zip(names, errors, strict=True) if error is None]
        assert len(taken) == 49  # one is the transport's own
        for error in errors:
            assert error is None or type(error) is TransportUnavailable
            assert error is None or "maximum subscriptions exceeded" in str(error)
        assert (transport.state, transport.stats()["subscriptions"]) == ("up", 49)

        transport.unsubscribe(taken[0])
        async with asyncio.timeout(DEADLINE):
            # The broker's unsubscribe lingers, and tells nobody.
            while await error_of(transport.subscribe("another", heard.append)) is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        for name in (*names, "another"):
            await other.publish(name, name)
        await other.publish(taken[-1], "last")
        async with asyncio.timeout(DEADLINE):
            while "last" not in heard:  # noqa: ASYNC110 - messages come when they come
                await asyncio.sleep(0.005)
        assert sorted(heard) == sorted([*taken[1:], "another", "last"])
        await transport.close()
        await other.close()


async def test_what_is_over_the_maximum_takes_nothing_with_it_that_was_subscribed_since() -> None:
    settings = "max_subscriptions: 3"
    async with nats_server(config=settings) as server, TcpProxy(server.host, server.port) as way:
        transport = NatsTransport(f"nats://{way.host}:{way.port}")
        other = NatsTransport(server.url)
        await transport.start()
        await other.start()
        heard: asyncio.Queue[str] = asyncio.Queue()
        way.hole()
        for name in "abc":  # one command, of which the last is over the maximum
            transport.subscribe(name, heard.put_nowait)
        await asyncio.sleep(0)
        transport.unsubscribe("a")
        async with asyncio.timeout(DEADLINE):
            while transport.exchange.wishes.due is not None:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)
        receipt = transport.subscribe("a", heard.put_nowait)
        await asyncio.sleep(0)
        way.heal()
        assert await error_of(receipt) is None
        assert transport.stats()["reconnects"] == 0
        await other.publish("a", "x")
        async with asyncio.timeout(DEADLINE):
            assert await heard.get() == "x"
        await transport.close()
        await other.close()


async def test_a_user_who_may_subscribe_to_nothing_is_told_so_at_the_start(tmp_path: Path) -> None:
    operator = Operator()
    file = tmp_path / "user.creds"
    file.write_text(operator.credentials(subscribe={"deny": [">"]}).text)
    async with nats_server(config=operator.config()) as server:
        transport = NatsTransport(server.url, user_credentials=str(file))
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(PermissionDenied, match="ws:probe:"):
                await transport.start()


async def test_what_a_jwt_allows_holds_for_subscriptions_and_messages(tmp_path: Path) -> None:
    operator = Operator()
    file = tmp_path / "user.creds"
    user = operator.credentials(
        publish={"allow": ["wsrooms.>"], "deny": ["wsrooms.read-only"]},
        subscribe={"allow": ["wsrooms.>"], "deny": ["wsrooms.write-only"]},
    )
    file.write_text(user.text)
    async with nats_server(config=operator.config()) as server:
        transport = NatsTransport(server.url, user_credentials=str(file))
        await transport.start()
        assert isinstance(
            await error_of(transport.subscribe("write-only", print)), PermissionDenied
        )
        assert isinstance(await error_of(transport.publish("read-only", "x")), PermissionDenied)
        await transport.subscribe("read-only", print)
        await transport.publish("write-only", "x")
        assert transport.stats()["reconnects"] == 0
        await transport.close()


@pytest.mark.parametrize(
    "name",
    ['a"b', "a' to \"b", "a\\", "a%sb", 'Permissions Violation for Publish to "c"', "x" * 3500],
    ids=lambda name: name[:8],
)
async def test_a_name_that_looks_like_an_answer_is_denied_as_itself(name: str) -> None:
    subject = NatsTransport().target.subjects.of(name).decode()
    async with nats_server(config=permissions(publish=[subject], subscribe=[subject])) as server:
        transport = NatsTransport(server.url)
        await transport.start()
        receipts = [transport.publish(each, "x") for each in ("c", name, "c")]
        errors = [await error_of(receipt) for receipt in receipts]
        assert [type(error) for error in errors] == [type(None), PermissionDenied, type(None)]
        denied = await error_of(transport.subscribe(name, print))
        assert isinstance(denied, PermissionDenied)
        assert denied.channel == name
        assert transport.stats()["reconnects"] == 0
        await transport.close()


async def test_a_permission_that_is_taken_from_a_live_subscription_is_told_and_healed() -> None:
    async with nats_server(config=permissions()) as server:
        transport, other = NatsTransport(server.url), NatsTransport(server.url)
        told = Told(transport)
        heard: list[str] = []
        await transport.start()
        await other.start()
        for name in ("a", "b", "c"):
            await transport.subscribe(name, heard.append)
        await server.reload(permissions(subscribe=["wsrooms.b"]))
        words = await told.until("down")
        assert words is not None
        assert "wsrooms.b" in words
        await told.until("up")
        assert transport.stats()["subscriptions"] == 2
        assert isinstance(await error_of(transport.subscribe("b", print)), PermissionDenied)
        for name in ("a", "b", "c"):
            await other.publish(name, name)
        await transport.subscribe("d", print)
        async with asyncio.timeout(DEADLINE):
            while len(heard) < 2:  # noqa: ASYNC110 - messages come when they come
                await asyncio.sleep(0.005)
        assert heard == ["a", "c"]
        assert told.gaps == [Gap(None, None, None)]
        await transport.close()
        await other.close()


async def test_a_permission_to_publish_that_is_taken_away_fails_messages_only() -> None:
    async with nats_server(config=permissions()) as server:
        transport = NatsTransport(server.url)
        await transport.start()
        await transport.publish("a", "x")
        await server.reload(permissions(publish=["wsrooms.a"]))
        assert isinstance(await error_of(transport.publish("a", "x")), PermissionDenied)
        await transport.publish("b", "x")
        await server.reload(permissions())
        assert await error_of(transport.publish("a", "x")) is None
        assert transport.state == "up"
        await transport.close()


# Sizes


async def test_a_payload_may_be_as_large_as_the_server_takes_and_no_larger() -> None:
    async with nats_server(config="max_payload: 4096") as server:
        transport, other = NatsTransport(server.url), NatsTransport(server.url)
        assert transport.max_payload == 8 * 1024 * 1024
        await transport.start()
        await other.start()
        assert transport.max_payload == 4096 - ENVELOPE
        heard: list[str] = []
        await other.subscribe("c", heard.append)
        largest = "é" * ((4096 - ENVELOPE) // 2)
        for number in range(20):
            await transport.publish("c", largest)
            with pytest.raises(PayloadTooLarge):
                transport.publish("c", largest + "x")
            await transport.publish("c", str(number))
        await other.subscribe("d", print)
        assert heard[::2] == [largest] * 20
        assert transport.stats()["reconnects"] == 0
        await transport.close()
        await other.close()


async def test_a_server_that_takes_next_to_nothing_is_refused_at_the_start() -> None:
    async with nats_server(config="max_payload: 100") as server:
        with pytest.raises(TransportUnavailable, match="its max_payload is 100"):
            await NatsTransport(server.url).start()


async def test_our_own_limit_holds_where_it_is_lower() -> None:
    async with nats_server() as server:
        transport = NatsTransport(server.url, max_payload=1000)
        await transport.start()
        assert transport.max_payload == 1000
        await transport.publish("c", "x" * 1000)
        with pytest.raises(PayloadTooLarge):
            transport.publish("c", "x" * 1001)
        await transport.close()


async def test_a_server_that_takes_less_than_the_one_before_refuses_only_what_is_too_large() -> (
    None
):
    async with nats_server(config="max_payload: 100000") as server:
        transport, other = NatsTransport(server.url), NatsTransport(server.url)
        told, others = Told(transport), Told(other)
        await transport.start()
        await other.start()
        heard: list[str] = []
        await other.subscribe("c", heard.append)
        server.configure("max_payload: 1000")
        await server.kill()
        await told.until("down")
        receipts = [transport.publish("c", text) for text in ("a", "x" * 50_000, "b")]
        await server.start()
        await told.until("up")
        await others.until("up")
        errors = [await error_of(receipt) for receipt in receipts]
        assert [type(error) for error in errors] == [type(None), PayloadTooLarge, type(None)]
        assert transport.max_payload == 1000 - ENVELOPE
        await other.subscribe("d", print)
        assert heard == ["a", "b"]
        assert transport.stats()["reconnects"] == 1
        await transport.close()
        await other.close()


async def test_a_longer_name_than_a_command_may_have_is_refused_at_once() -> None:
    async with nats_server() as server:
        transport = NatsTransport(server.url)
        await transport.start()
        await transport.subscribe("x" * 4000, print)
        for name in ("x" * 4096, "🎉" * 400):
            with pytest.raises(InvalidChannel, match="max_control_line"):
                transport.subscribe(name, print)
            with pytest.raises(InvalidChannel, match="max_control_line"):
                transport.publish(name, "x")
        assert transport.stats()["reconnects"] == 0
        await transport.close()


async def test_a_server_with_longer_commands_takes_longer_names() -> None:
    async with nats_server(config="max_control_line: 16KB") as server:
        transport = NatsTransport(server.url, max_control_line=16_384)
        other = NatsTransport(f"{server.url}?max_control_line=16384")
        await transport.start()
        await other.start()
        heard: list[str] = []
        await other.subscribe("x" * 16_000, heard.append)
        await transport.publish("x" * 16_000, "long")
        await other.subscribe("d", print)
        assert heard == ["long"]
        with pytest.raises(InvalidChannel):
            transport.publish("x" * 16_384, "longer")
        assert transport.stats()["reconnects"] == 0
        await transport.close()
        await other.close()


async def test_a_server_with_shorter_commands_is_found_out_and_others_go_on() -> None:
    async with nats_server(config="max_control_line: 1024") as server:
        transport, other = NatsTransport(server.url), NatsTransport(server.url)
        told = Told(transport)
        heard: list[str] = []
        await transport.start()
        await other.start()
        names = [f"c{number}" for number in range(20)]
        names[7] = "x" * 2000
        receipts = [transport.subscribe(name, heard.append) for name in names]
        errors = [await error_of(receipt) for receipt in receipts]
        assert [names[at] for at, error in enumerate(errors) if error is not None] == [names[7]]
        assert isinstance(errors[7], InvalidChannel)
        assert transport.stats()["subscriptions"] == 19
        with pytest.raises(InvalidChannel):
            transport.publish(names[7], "x")
        receipts = [other.publish(name, name) for name in names]
        errors = [await error_of(receipt) for receipt in receipts]
        assert [names[at] for at, error in enumerate(errors) if error is not None] == [names[7]]
        assert isinstance(errors[7], InvalidChannel)
        async with asyncio.timeout(DEADLINE):
            while len(heard) < 19:  # noqa: ASYNC110 - messages come when they come
                await asyncio.sleep(0.005)
        assert sorted(heard) == sorted(name for name in names if name != names[7])
        assert [state for state, _ in told.states].count("down") <= 2
        await transport.close()
        await other.close()


# The server as a whole


async def test_a_server_with_enough_clients_says_so() -> None:
    async with nats_server(config="max_connections: 1") as server:
        first, second = NatsTransport(server.url), NatsTransport(server.url)
        await first.start()
        told: list[str] = []
        for _ in range(10):
            with pytest.raises(TransportUnavailable) as caught:
                await second.start()
            told.append(str(caught.value))
        # Not each time: it hangs up with these words, and the end may be there before them.
        assert any("maximum connections exceeded" in each for each in told)
        await first.close()
        third = NatsTransport(server.url)
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    await third.start()
                    break
                except TransportUnavailable:
                    await asyncio.sleep(0.05)  # the server forgets the first when it sees its end
        await third.close()
