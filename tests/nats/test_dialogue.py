"""Whatever is wished, refused and answered in whichever order: the server has what counts as so.

The peer is scripted, as no server can be asked to stand still between two commands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wsrooms.errors import PermissionDenied
from wsrooms.transports.wishes import Wishes
from wsrooms_nats import NatsTransport
from wsrooms_nats.asked import Asked
from wsrooms_nats.dialogue import Dialogue

if TYPE_CHECKING:
    from wsrooms import Receipt
    from wsrooms_nats.conversation import Conversation

CHANNELS = "abc"
MESSAGE = b"1 1111111111111111 1 1 text"

MOST = 2
"""Subscriptions that the server allows."""


class Link:
    """What a dialogue asks of its link; when it is woken is the script's."""

    def wake(self) -> None:
        pass

    def leave(self, talk: Conversation) -> None:
        raise AssertionError(talk)

    def resized(self, talk: Conversation) -> None:
        raise AssertionError(talk)


class Server(asyncio.Transport):
    """The socket, and behind it a server that reads and answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.subscribed: dict[bytes, str] = {}
        self.denied: set[str] = set()
        self.unread: deque[bytes] = deque()
        self.answers: deque[bytes] = deque()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.unread.extend(bytes(data).split(b"\r\n")[:-1])

    def reads(self) -> None:
        """Do what one line says."""
        if not self.unread:
            return
        word, *rest = self.unread.popleft().split(b" ")
        if word == b"PING":
            self.answers.append(b"PONG\r\n")
        elif word == b"UNSUB":
            self.subscribed.pop(rest[0], None)
        else:
            assert word == b"SUB"
            subject = rest[0].decode()
            channel = subject.removeprefix("wsrooms.")
            if channel in self.denied:
                words = f'Permissions Violation for Subscription to "{subject}"'
                self.answers.append(f"-ERR '{words}'\r\n".encode())
            elif len(self.subscribed) >= MOST:
                self.answers.append(b"-ERR 'maximum subscriptions exceeded'\r\n")
            else:
                assert rest[1] not in self.subscribed
                self.subscribed[rest[1]] = channel

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def is_reading(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass


channels = st.sampled_from(CHANNELS)
steps = st.one_of(
    st.tuples(st.just("want"), st.sets(channels, min_size=1)),
    st.tuples(st.sampled_from(["unwant", "deny", "allow"]), st.sets(channels, min_size=1)),
    st.tuples(st.sampled_from(["read", "answer"]), st.sets(st.integers(1, 5))),
)


@settings(derandomize=True, deadline=None, max_examples=800)
@given(st.lists(steps, max_size=25))
def test_what_counts_as_subscribed_is_so_and_nothing_else(
    script: list[tuple[str, set[Any]]],
) -> None:
    asyncio.run(play(script))


def seen(receipt: Receipt) -> None:
    receipt._take_error()


def hear(heard: list[str], channel: str, _: str) -> None:
    heard.append(channel)


async def play(script: list[tuple[str, set[Any]]]) -> None:
    transport = NatsTransport()
    transport.exchange.begin(16 * "0")
    wishes = transport.exchange.wishes = Wishes(linger=0.0, chunk=3)
    talk = Dialogue(transport, transport.target, Link(), live=True)
    server = Server()
    talk.wire.take_over(server)

    def answer() -> None:
        if server.answers:
            talk.wire.data_received(server.answers.popleft())

    for step, what in script:
        for each in sorted(what):
            match step:
                case "want":
                    wishes.want(each, print)._when_done(seen)
                case "unwant":
                    wishes.unwant(each, talk.wire.now)
                case "deny":
                    server.denied.add(each)
                case "allow":
                    server.denied.discard(each)
                case "read":
                    server.reads()
                case _:
                    answer()
        talk.send()
    while True:
        talk.send()
        if not server.unread and not server.answers:
            break
        while server.unread:
            server.reads()
        while server.answers:
            answer()
    assert talk.is_open
    assert not talk.unconfirmed
    confirmed = sorted(channel for channel in CHANNELS if wishes.confirmed(channel))
    assert sorted(server.subscribed.values()) == confirmed == sorted(wishes)
    for sid, channel in server.subscribed.items():
        heard: list[str] = []
        wishes.want(channel, partial(hear, heard, channel))
        talk.wire.data_received(b"MSG s %b %d\r\n%b\r\n" % (sid, len(MESSAGE), MESSAGE))
        assert heard == [channel]
    await talk.close()


async def test_a_right_taken_away_amid_a_batch_fails_what_comes_after_and_no_more() -> None:
    transport = NatsTransport()
    exchange = transport.exchange
    exchange.begin(16 * "0")
    talk = Dialogue(transport, transport.target, Link(), live=True)
    talk.limit = 1024
    talk.wire.take_over(Server())
    said = ["a", "b", "a", "b", "a"]
    receipts = [exchange.publish(channel, "text", talk.wire.now) for channel in said]
    asked = Asked(batch=exchange.outbox.batch(talk.wire.now, messages=512, size=65536))
    talk._ask(b"".join(talk._published(asked)), asked)
    talk._batches = 1

    refusal = b"-ERR 'Permissions Violation for Publish to \"wsrooms.a\"'\r\n"
    talk.wire.data_received(2 * refusal + b"PONG\r\n")  # of three messages the first was taken

    assert [type(each.error) for each in receipts] == [
        type(None),
        type(None),
        PermissionDenied,
        type(None),
        PermissionDenied,
    ]
    assert not len(exchange.outbox)
    await talk.close()
