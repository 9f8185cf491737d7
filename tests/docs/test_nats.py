"""The page "NATS", beyond what every page of a transport has (test_buses.py)."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.brokers import nats_cluster, nats_server
from tests.deadlines import DEADLINE, promised
from tests.nats.identities import USER, Key, Operator
from wsrooms.errors import InvalidChannel, PayloadTooLarge, PermissionDenied, TransportUnavailable
from wsrooms_nats import NatsOptions, NatsTransport

from .buses import at, heard, shown
from .programs import EXAMPLES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.brokers.nats import NatsServer

PAGE = (ROOT / "docs/transports/nats.md").read_text("utf-8")
PROGRAM = "nats/transports.py"
USERS = (EXAMPLES / "nats/users.conf").read_text("utf-8")
SETTINGS = (EXAMPLES / "nats/nats.conf").read_text("utf-8")

# The addresses of the examples, of which each test has its own.
ADDRESS, TLS_ADDRESS = "localhost:4222", "localhost:4223"

PATIENT = f"connect_timeout={promised(10.0):g}"
"""Servers share the time, and a third of the default is little on a busy machine."""


# The programs


async def test_tls_with_an_authority_of_ones_own_is_spoken() -> None:
    async with nats_server(tls=True) as server:
        assert server.certificates is not None
        changes = {TLS_ADDRESS: at(server), "ca.pem": str(server.certificates.ca)}
        one = shown(PROGRAM, "by_tls", changes)
        assert await heard(one, one.replica()) == ["hello"]


async def test_a_token_lets_in() -> None:
    async with nats_server(config="authorization: {token: s3cret}") as server:
        one = shown(PROGRAM, "by_token", {ADDRESS: at(server)})
        assert await heard(one, one.replica()) == ["hello"]


async def test_a_seed_of_an_nkey_lets_in(tmp_path: Path) -> None:
    key = Key(USER)
    file = tmp_path / "wsrooms.nk"
    file.write_text(key.seed)
    users = f"authorization: {{users: [{{nkey: {key.public}}}]}}"
    async with nats_server(config=users) as server:
        one = shown(PROGRAM, "by_nkey", {ADDRESS: at(server), "wsrooms.nk": str(file)})
        assert await heard(one, one.replica()) == ["hello"]


async def test_a_credentials_file_lets_in(tmp_path: Path) -> None:
    operator = Operator()
    file = tmp_path / "wsrooms.creds"
    file.write_text(operator.credentials().text)
    async with nats_server(config=operator.config()) as server:
        one = shown(PROGRAM, "by_credentials", {ADDRESS: at(server), "wsrooms.creds": str(file)})
        assert await heard(one, one.replica()) == ["hello"]


async def test_several_servers_are_one_that_is_there() -> None:
    async with nats_server() as server:
        changes = {"nats-1:4222": "127.0.0.1:1", "nats-2:4222": at(server)}
        changes["nats-3:4222"] = f"127.0.0.1:2?{PATIENT}"
        one = shown(PROGRAM, "by_servers", changes)
        assert await heard(one, one.replica()) == ["hello"]


async def test_instances_at_different_servers_of_a_cluster_hear_each_other() -> None:
    async with nats_cluster(3) as servers:
        one, other = (
            shown(
                PROGRAM,
                "by_distance",
                {
                    **{f"nats-{n}:4222": at(server) for n, server in enumerate(order, 1)},
                    "join_settle=0.5": f"join_settle=0.5, randomize=False, {PATIENT}",
                },
            )
            for order in (servers, servers[::-1])
        )
        assert await heard(one, other) == ["hello"]


# Subjects


async def subjects(server: NatsServer) -> set[str]:
    """What its clients have subscribed to."""
    told = await server.monitor("/connz?subs=1")
    return {name for each in told["connections"] for name in each.get("subscriptions_list") or ()}


async def test_a_room_is_the_subject_that_the_page_says(nats: NatsServer) -> None:
    plain, named = re.findall(r"`(wsrooms\.\S*ws:room:/chat/general)`", PAGE)
    room = "ws:room:/chat/general"
    for namespace, subject in (("", plain), ("staging", named)):
        one = NatsTransport(nats.url, namespace=namespace)
        await one.start()
        try:
            await one.subscribe(room, print)
            assert subject in await subjects(nats)
        finally:
            await one.close()


async def test_no_character_has_a_meaning_but_those_that_are_named(nats: NatsServer) -> None:
    [kept] = re.findall(r"one of `(\S+)` is percent-encoded", PAGE.replace("\n", " "))
    one = NatsTransport(nats.url)
    await one.start()
    try:
        ascii_signs = [chr(code) for code in range(0x21, 0x7F) if not chr(code).isalnum()]
        for sign in ascii_signs:
            await one.subscribe(f"x{sign}", print)
        there = await subjects(nats)
    finally:
        await one.close()
    for sign in ascii_signs:
        encoded = sign if sign in kept else f"%{ord(sign):02X}"
        assert f"wsrooms.x{encoded}" in there


# The user


async def test_the_user_may_do_all_that_is_needed(nats_image: str) -> None:
    async with nats_server(nats_image, config=USERS) as server:
        one = shown(PROGRAM, "by_user", {ADDRESS: at(server)})
        assert await heard(one, one.replica()) == ["hello"]


async def test_the_user_may_ask_the_other_servers_of_a_cluster() -> None:
    async with nats_cluster(2, config=USERS) as servers:
        one = shown(PROGRAM, "by_user", {ADDRESS: at(servers[0])})
        await one.start()
        try:
            await one.subscribe("ws:room:tea", print)
            asking = {name for name in await subjects(servers[0]) if "ws:sync" in name}
        finally:
            await one.close()
        assert asking
        assert "Violation" not in await asyncio.to_thread(servers[0].runner.log)


def without(right: str) -> str:
    """The user, who may do the one thing and not the other."""
    less = USERS.replace(f'{right}: "wsrooms.>"', f'{right}: "other.*"')
    assert less != USERS
    return less


async def test_without_the_right_to_subscribe_the_start_fails() -> None:
    async with nats_server(config=without("subscribe")) as server:
        with pytest.raises(PermissionDenied):
            await shown(PROGRAM, "by_user", {ADDRESS: at(server)}).start()


async def test_without_the_right_to_publish_each_message_fails() -> None:
    async with nats_server(config=without("publish")) as server:
        one = shown(PROGRAM, "by_user", {ADDRESS: at(server)})
        await one.start()
        try:
            with pytest.raises(PermissionDenied):
                await one.publish("ws:room:tea", "hello")
        finally:
            await one.close()


async def test_with_a_namespace_the_users_subjects_have_it() -> None:
    [named] = re.findall(r"`(wsrooms\.staging\.>)`", PAGE)
    async with nats_server(config=USERS.replace("wsrooms.>", named)) as server:
        url = f"nats://wsrooms:p%40ssword@{at(server)}"
        one = NatsTransport(url, namespace="staging")
        assert await heard(one, one.replica()) == ["hello"]
        with pytest.raises(PermissionDenied):
            await NatsTransport(url).start()


async def test_what_is_denied_beside_what_is_allowed_counts() -> None:
    [denied] = re.findall(r"`(publish: \{allow: .+?\})`", PAGE)
    assert 'publish: "wsrooms.>"' in USERS
    async with nats_server(config=USERS.replace('publish: "wsrooms.>"', denied)) as server:
        one = shown(PROGRAM, "by_user", {ADDRESS: at(server)})
        await one.start()
        try:
            with pytest.raises(PermissionDenied):
                await one.publish("ws:room:/admin", "hello")
            await one.publish("ws:room:/chat", "hello")
        finally:
            await one.close()


async def test_single_rooms_are_allowed_with_what_every_instance_needs() -> None:
    [few] = re.findall(r"`publish: (\[.+?\])`", PAGE)
    users = USERS.replace('"wsrooms.>"', few)
    assert users != USERS
    async with nats_cluster(2, config=users) as servers:
        one, other = (shown(PROGRAM, "by_user", {ADDRESS: at(server)}) for server in servers)
        assert await heard(one, other, "ws:room:/chat") == ["hello"]
        await one.start()
        try:
            with pytest.raises(PermissionDenied):
                await one.subscribe("ws:room:/admin", print)
        finally:
            await one.close()
        assert "ws:sync" not in await asyncio.to_thread(servers[0].runner.log)


# Limits


async def test_a_message_may_have_what_the_server_takes_less_the_envelope(
    nats: NatsServer,
) -> None:
    envelope = int(re.findall(r"`transport.max_payload` is (\d+) bytes less", PAGE)[0])
    one = NatsTransport(nats.url)
    await one.start()
    try:
        assert one.max_payload == 1024 * 1024 - envelope
        await one.publish("ws:room:tea", "x" * one.max_payload)
        with pytest.raises(PayloadTooLarge):
            await one.publish("ws:room:tea", "x" * (one.max_payload + 1))
    finally:
        await one.close()


async def test_with_the_settings_of_the_page_it_may_have_what_the_option_says() -> None:
    async with nats_server(config=SETTINGS) as server:
        one = NatsTransport(server.url)
        await one.start()
        try:
            assert one.max_payload >= NatsOptions().max_payload - 64
            await one.publish("ws:room:tea", "x" * one.max_payload)
        finally:
            await one.close()


async def test_a_name_of_a_kibibyte_fits_whatever_its_letters(nats: NatsServer) -> None:
    one = NatsTransport(nats.url)
    await one.start()
    try:
        for letter in "aé漢🐈.":
            await one.subscribe("ws:room:" + letter * (1024 // len(letter.encode())), print)
        with pytest.raises(InvalidChannel):
            await one.subscribe("ws:room:" + "漢" * 1400, print)
    finally:
        await one.close()


async def test_a_room_past_the_servers_limit_is_refused_alone() -> None:
    async with nats_server(config="max_subscriptions: 3") as server:
        one = NatsTransport(server.url)
        await one.start()
        try:
            rooms = [one.subscribe(f"ws:room:{n}", print) for n in range(4)]
            async with asyncio.timeout(DEADLINE):
                outcomes = await asyncio.gather(*rooms, return_exceptions=True)
            refused = [outcome for outcome in outcomes if outcome is not None]
            assert refused
            assert len(refused) < len(outcomes)
            assert {type(each) for each in refused} == {TransportUnavailable}
        finally:
            await one.close()


# The settings of the server


async def test_the_settings_are_a_servers_and_not_its_defaults(nats_image: str) -> None:
    names = re.findall(r"^(\w+): ", SETTINGS, re.MULTILINE)
    assert names
    async with (
        nats_server(nats_image) as plain,
        nats_server(nats_image, config=SETTINGS) as tuned,
    ):
        before, after = await plain.monitor("/varz"), await tuned.monitor("/varz")
    assert [name for name in names if before[name] == after[name]] == []
    assert after["max_payload"] == NatsOptions().max_payload


async def test_the_limits_are_a_servers_defaults(nats: NatsServer) -> None:
    now = await nats.monitor("/varz")
    assert now["max_payload"] == 1024 * 1024
    assert now["max_control_line"] == NatsOptions().max_control_line == 4096
    assert now["max_connections"] == 65_536
    assert now["max_pending"] == 64 * 1024 * 1024
    assert now["write_deadline"] == 10e9
    assert "max_subscriptions" not in now
