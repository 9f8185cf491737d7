"""What a NATS server allows: a limit or a permission costs what is over it, and nothing else."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import pytest

from tests.brokers import nats_cluster, nats_server
from tests.deadlines import DEADLINE
from tests.nats.identities import Operator
from tests.transports.crew import error_of
from tests.transports.told import Told
from wsrooms import Gap
from wsrooms.errors import (
    ConfigurationError,
    InvalidChannel,
    LimitTooLow,
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
    async with nats_server(config="max_payload: 127") as server:
        transport = NatsTransport(server.url)
        with pytest.raises(LimitTooLow, match=r"max_payload of nats.* is 127 bytes") as caught:
            await transport.start()
        assert (caught.value.setting, caught.value.limit) == ("max_payload", 127)
        assert transport.state == "closed"
        await server.reload(f"max_payload: {caught.value.least}")
        await transport.start()  # what the error says is enough
        heard: asyncio.Queue[str] = asyncio.Queue()
        other = NatsTransport(server.url)
        await other.start()
        await other.subscribe("c", heard.put_nowait)
        await transport.publish("c", "x" * transport.max_payload)
        async with asyncio.timeout(DEADLINE):
            assert await heard.get() == "x" * 64
        await transport.close()
        await other.close()


@pytest.mark.parametrize("way", ["reload", "restart"])
async def test_a_server_that_comes_to_take_next_to_nothing_is_told_until_it_takes_more(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with nats_server() as server:
        transport = NatsTransport(server.url, probe_interval=0.2)
        told = Told(transport)
        await transport.start()
        if way == "reload":  # which tells no client: the next message costs the connection
            await server.reload("max_payload: 20")
        else:
            server.configure("max_payload: 20")
            await server.restart()
        async with asyncio.timeout(DEADLINE):
            while "is 20 bytes, and wsrooms needs at least 128" not in caplog.text:  # noqa: ASYNC110 - a log tells nobody
                await asyncio.sleep(0.01)
        words = ""
        while "20 bytes" not in words:
            words = await told.until("down") or ""
        assert "max_payload" in words
        receipt = transport.publish("c", "x")
        await server.reload("max_payload: 1000")
        await told.until("up")
        assert await error_of(receipt) is None
        assert transport.max_payload == 1000 - ENVELOPE
        assert caplog.text.count("needs at least") == 1
        await transport.close()


async def test_of_several_servers_the_one_that_takes_too_little_is_told() -> None:
    async with nats_server(config="max_payload: 20") as first, nats_server() as second:
        await second.kill()
        transport = NatsTransport(f"{first.url},{second.host}:{second.port}", randomize=False)
        for _ in range(2):
            with pytest.raises(LimitTooLow):
                await transport.start()
        await second.start()
        await transport.start()
        await transport.close()


async def test_a_server_that_tells_of_another_limit_is_believed_at_once() -> None:
    async with nats_cluster(2) as (server, other):
        # Nor does a probe find it out, which would be too large too.
        transport = NatsTransport(server.url, probe_interval=DEADLINE)
        told = Told(transport)
        await transport.start()
        await server.reload("max_payload: 1000")
        await other.kill()  # of which it tells its clients, and of the limit with it
        async with asyncio.timeout(DEADLINE):
            while transport.max_payload != 1000 - ENVELOPE:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        assert [state for state, _ in told.states] == ["up"]
        await server.reload("max_payload: 20")
        await other.start()
        words = await told.until("down")
        assert words is not None
        assert "is 20 bytes, and wsrooms needs at least 128" in words
        await transport.close()


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
        await others.until("down")
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


@pytest.mark.parametrize(("namespace", "takes"), [("", 60), ("." * 64, 200)])
async def test_a_server_whose_commands_are_too_short_for_an_instance_says_what_it_has_to_take(
    namespace: str, takes: int
) -> None:
    async with nats_server(config=f"max_control_line: {takes}") as server:
        transport = NatsTransport(server.url, namespace=namespace)
        with pytest.raises(LimitTooLow):
            await transport.start()
        assert transport.state == "closed"
        with pytest.raises(LimitTooLow, match="max_control_line") as caught:  # it learns nothing
            await transport.start()
        assert (caught.value.setting, caught.value.limit) == ("max_control_line", None)
        await server.reload(f"max_control_line: {caught.value.least}")
        await transport.start()
        await transport.close()


async def test_a_server_whose_commands_become_too_short_for_an_instance_is_told_and_healed() -> (
    None
):
    async with nats_server() as server:
        transport = NatsTransport(server.url, namespace="." * 64)
        told = Told(transport)
        await transport.start()
        server.configure("max_control_line: 200")
        await server.restart()
        words = ""
        while "max_control_line" not in words:
            words = await told.until("down") or ""
        await server.reload("max_control_line: 4096")
        await told.until("up")
        await transport.close()


def test_the_option_has_to_leave_room_for_the_messages_of_an_instance_to_itself() -> None:
    with pytest.raises(ConfigurationError, match=r"'max_control_line' has to be at least \d+,"):
        NatsTransport(max_control_line=40)


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
