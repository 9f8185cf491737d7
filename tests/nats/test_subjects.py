"""Each channel has a subject of its own that people can read, and none is a wildcard."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.deadlines import DEADLINE
from wsrooms.errors import InvalidChannel
from wsrooms_nats import NatsTransport
from wsrooms_nats.subjects import Subjects

if TYPE_CHECKING:
    from tests.brokers import NatsServer

PROBES = "ws:probe:"

TOKEN = re.compile(rb"[!-~]+")
"""What NATS takes without a look: printable ASCII without a space."""

PLAIN = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60) | st.text(
    "ab.*>%2E5 \t\r\n\0/:\"'$é漢🎉", min_size=1, max_size=12
)
NAMES = PLAIN | PLAIN.map(PROBES.__add__)
NAMESPACES = st.from_regex(r"[A-Za-z0-9._-]{0,10}", fullmatch=True)

ODD = [
    "a",
    "a.b",
    "a%2Eb",
    "a%252Eb",
    "a b",
    "a+b",
    "a%20b",
    "*",
    ">",
    "a.*",
    "a.>",
    "..",
    ".",
    " ",
    "a\tb",
    "a\r\nSUB b 1\r\n",
    "a\0b",
    "\0",
    'a"b',
    "a'b",
    "a\\b",
    "$SYS.REQ",
    "_INBOX.a",
    unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"),
    "漢字",
    "🎉",
    "\u00a0",
    "\u2028",
    "A",
    "x" * 1024,
    "🎉" * 256,  # 1 KiB
    "\U0010ffff" * 256,
]


@settings(deadline=None)
@given(NAMES, NAMES)
@example("a.b", "a%2Eb")
@example("ws:probe:a", "ws:probe.a")
@example("ws:probe:", "ws:probe")
@example("ws:probe:a:b", "ws:probe:a.b")
@example("a b", "a+b")
def test_two_channels_have_two_subjects(one: str, other: str) -> None:
    subjects = Subjects("")
    assert (subjects.of(one) == subjects.of(other)) == (one == other)


@settings(deadline=None)
@given(NAMESPACES, NAMES)
@example("", "ws:probe:")
@example("", "ws:probe:ws:probe:a")
def test_a_channel_is_one_token_and_that_of_a_probe_is_two(namespace: str, name: str) -> None:
    subjects = Subjects(namespace)
    subject = subjects.of(name)
    tokens = subject.split(b".")
    own = name.startswith(PROBES) and name != PROBES
    assert len(tokens) == 2 + bool(namespace) + own
    assert not own or tokens[-2] == b"ws:probe"
    assert all(TOKEN.fullmatch(token) and token not in (b"*", b">") for token in tokens)
    assert not set(subject) & set(b'*>"')  # the last ends a subject where the server tells of one
    assert subjects.channel(subject.decode()) == name


@settings(deadline=None)
@given(NAMESPACES, NAMESPACES, NAMES, NAMES)
@example("", "ws:room:a", "ws:room:b", "b")
@example("a.b", "a", "c", "b.c")
def test_two_namespaces_share_no_subject(one: str, other: str, name: str, its: str) -> None:
    if one != other:
        assert Subjects(one).of(name) != Subjects(other).of(its)


@pytest.mark.parametrize(
    ("channel", "subject"),
    [
        ("ws:room:/chat/general", b"wsrooms.ws:room:/chat/general"),
        ("ws:room:user:42", b"wsrooms.ws:room:user:42"),
        ("ws:room:a_b-c~d=e,f;g!h@i", b"wsrooms.ws:room:a_b-c~d=e,f;g!h@i"),
        ("ws:room:v1.2", b"wsrooms.ws:room:v1%2E2"),
        ("ws:room:100 %", b"wsrooms.ws:room:100%20%25"),
        ("ws:room:漢", b"wsrooms.ws:room:%E6%BC%A2"),
        ("*", b"wsrooms.%2A"),
        ("ws:probe:0123456789abcdef", b"wsrooms.ws:probe.0123456789abcdef"),
    ],
)
def test_a_subject_can_be_read(channel: str, subject: bytes) -> None:
    assert NatsTransport().target.subjects.of(channel) == subject
    assert NatsTransport().target.subjects.channel(subject.decode()) == channel


def test_the_namespace_is_the_second_token() -> None:
    transport = NatsTransport(namespace="eu.staging")
    assert transport.target.subjects.of("ws:server") == b"wsrooms.eu%2Estaging.ws:server"


async def test_each_odd_name_gets_what_is_for_it_and_nothing_else(nats: NatsServer) -> None:
    sender, receiver = NatsTransport(nats.url), NatsTransport(nats.url)
    await sender.start()
    await receiver.start()
    heard: list[tuple[str, str]] = []

    def note(name: str, payload: str) -> None:
        heard.append((name, payload))

    for name in ODD:
        receiver.subscribe(name, partial(note, name))
    await receiver.subscribe("last", lambda _: done.set())
    done = asyncio.Event()
    for name in ODD:
        sender.publish(name, name)
    await sender.publish("last", "x")
    async with asyncio.timeout(DEADLINE):
        await done.wait()
    assert heard == [(name, name) for name in ODD]
    at_the_server = {
        subject.encode()
        for connection in (await nats.monitor("/connz?subs=1"))["connections"]
        for subject in connection.get("subscriptions_list", [])
    }
    assert {receiver.target.subjects.of(name) for name in ODD} <= at_the_server
    assert receiver.stats()["foreign"] == 0
    await sender.close()
    await receiver.close()


async def test_apps_of_two_namespaces_hear_nothing_of_each_other(nats: NatsServer) -> None:
    namespaces = ["", "a", "b", "a.b", "ws-server"]
    transports = [NatsTransport(nats.url, namespace=each) for each in namespaces]
    listeners = [NatsTransport(nats.url, namespace=each) for each in namespaces]
    heard: list[tuple[str, str]] = []

    def note(own: str, payload: str) -> None:
        heard.append((own, payload))

    for transport in (*transports, *listeners):
        await transport.start()
    for listener in listeners:
        own = listener.options.namespace
        for channel in ("c", "b.c", "a.c", "*", ">"):
            await listener.subscribe(channel, partial(note, own))
    for transport in transports:
        await transport.publish("c", transport.options.namespace)
    async with asyncio.timeout(DEADLINE):
        while len(heard) < len(namespaces):  # noqa: ASYNC110 - messages come when they come
            await asyncio.sleep(0.005)
    for transport in (*transports, *listeners):
        await transport.close()
    assert sorted(heard) == sorted((each, each) for each in namespaces)


@pytest.mark.parametrize("name", ["a\ud800", "\udfff", "ws:room:\udcff"])
async def test_what_utf8_cannot_carry_is_no_name(nats: NatsServer, name: str) -> None:
    transport = NatsTransport(nats.url)
    await transport.start()
    with pytest.raises(InvalidChannel):
        transport.subscribe(name, print)
    with pytest.raises(InvalidChannel):
        transport.publish(name, "x")
    await transport.publish("fine", "x")
    assert transport.stats()["reconnects"] == 0
    await transport.close()
