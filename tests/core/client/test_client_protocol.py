"""The client's half without I/O: the bytes of a server in, events out, bytes to send."""

from __future__ import annotations

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from wsrooms.client import ClientSide, Ended, Opened, Pong, Received, Refused


class Server:
    """A server of the library, to be told what to say."""

    def __init__(self, client: ClientSide, subprotocols: list[str] | None = None) -> None:
        self.client = client
        named = [Subprotocol(name) for name in subprotocols or ()]
        self.protocol = ServerProtocol(subprotocols=named or None)
        client.open()
        self.take()
        [request] = self.protocol.events_received()
        assert isinstance(request, Request)
        self.request = request

    def take(self) -> None:
        """Read what the client has to say."""
        for data in self.client.data_to_send():
            if data:
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()

    def give(self) -> bytes:
        """What it has to say to the client."""
        return b"".join(self.protocol.data_to_send())

    def accept(self) -> list[object]:
        self.protocol.send_response(self.protocol.accept(self.request))
        return [*self.client.receive(self.give())]


@pytest.fixture
def client() -> ClientSide:
    return ClientSide("/")


@pytest.fixture
def server(client: ClientSide) -> Server:
    server = Server(client)
    assert server.accept() == [Opened(None)]
    return server


def test_the_handshake_asks_for_the_path_with_the_headers() -> None:
    server = Server(ClientSide("/a?b=1", [("Cookie", "x=1"), ("Cookie", "y=2")], host="h:81"))
    assert server.request.path == "/a?b=1"
    assert server.request.headers["Host"] == "h:81"
    assert server.request.headers.get_all("Cookie") == ["x=1", "y=2"]
    assert server.accept() == [Opened(None)]
    assert server.client.is_open


def test_a_header_that_the_handshake_sends_itself_is_replaced() -> None:
    server = Server(ClientSide("no-slash", [("host", "elsewhere"), ("Origin", "https://o")]))
    assert server.request.path == "/no-slash"
    assert server.request.headers.get_all("Host") == ["elsewhere"]
    assert server.request.headers["Origin"] == "https://o"


def test_a_subprotocol_is_offered_by_its_header() -> None:
    client = ClientSide("/", [("Sec-WebSocket-Protocol", "v1, v2")])
    server = Server(client, ["v2"])
    assert server.accept() == [Opened("v2")]


def test_a_refusal_is_told_with_status_headers_and_body(client: ClientSide) -> None:
    server = Server(client)
    server.protocol.send_response(server.protocol.reject(403, "not you\n"))
    [refused] = client.receive(server.give())
    assert isinstance(refused, Refused)
    assert (refused.status, refused.reason, refused.body) == (403, "Forbidden", b"not you\n")
    assert refused.headers["content-length"] == "8"
    assert not client.is_open
    assert client.receive_eof() == []


def test_an_answer_that_is_no_handshake_is_a_refusal(client: ClientSide) -> None:
    client.open()
    [refused] = client.receive(b"220 mail.example ESMTP\r\n\r\n")
    assert isinstance(refused, Refused)
    assert refused.status is None
    assert "HTTP" in refused.reason


def test_a_switch_to_something_else_is_a_refusal(client: ClientSide) -> None:
    client.open()
    [refused] = client.receive(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    )
    assert isinstance(refused, Refused)
    assert refused.status == 101
    assert "Upgrade" in refused.reason


def test_an_end_instead_of_an_answer_is_told(client: ClientSide) -> None:
    client.open()
    [event] = client.receive_eof()
    assert isinstance(event, Refused)
    assert event.status is None


def test_messages_are_masked_out_and_plain_in(client: ClientSide, server: Server) -> None:
    client.send("héllo")
    client.send(b"\x00\xff")
    [text, binary] = client.data_to_send()
    assert text[1] & 0x80
    server.protocol.receive_data(text + binary)
    frames = server.protocol.events_received()
    assert [frame.data for frame in frames if isinstance(frame, Frame)] == [
        "héllo".encode(),
        b"\x00\xff",
    ]
    server.protocol.send_text(b"ja")
    server.protocol.send_binary(b"\x01")
    assert client.receive(server.give()) == [Received("ja"), Received(b"\x01")]


def test_bytes_may_come_in_pieces_of_any_size(client: ClientSide, server: Server) -> None:
    server.protocol.send_text(b"x" * 300)
    events = [event for byte in server.give() for event in client.receive(bytes([byte]))]
    assert events == [Received("x" * 300)]


def test_fragments_are_joined(client: ClientSide, server: Server) -> None:
    server.protocol.send_text(b"\xc3", fin=False)
    server.protocol.send_ping(b"between")
    server.protocol.send_continuation(b"\xa9", fin=True)
    assert client.receive(server.give()) == [Received("é")]


def test_a_ping_is_answered_and_a_pong_is_told(client: ClientSide, server: Server) -> None:
    server.protocol.send_ping(b"are you there?")
    assert client.receive(server.give()) == []
    server.take()
    [pong] = server.protocol.events_received()
    assert isinstance(pong, Frame)
    assert (pong.opcode, pong.data) == (Opcode.PONG, b"are you there?")
    client.ping(b"and you?")
    server.take()
    assert client.receive(server.give()) == [Pong(b"and you?")]


def test_a_close_of_the_server_is_answered_and_ends_it_once(
    client: ClientSide, server: Server
) -> None:
    server.protocol.send_close(4001, "enough")
    assert client.receive(server.give()) == [Ended(4001, "enough")]
    assert not client.is_open
    server.take()
    assert server.protocol.close_rcvd == Close(4001, "enough")
    assert client.receive_eof() == []
    client.close(1000, "")
    assert b"".join(client.data_to_send()) == b""


def test_a_close_of_the_client_ends_when_the_server_has_answered(
    client: ClientSide, server: Server
) -> None:
    client.close(1000, "bye")
    client.close(1001, "again")
    server.take()
    assert server.protocol.close_rcvd == Close(1000, "bye")
    assert client.receive(server.give()) == [Ended(1000, "bye")]
    assert server.protocol.state is State.CLOSING


def test_an_end_without_a_close_is_1006(client: ClientSide, server: Server) -> None:
    assert client.receive_eof() == [Ended(1006, "")]


def test_a_close_that_says_nothing_is_1005(client: ClientSide, server: Server) -> None:
    assert client.receive(b"\x88\x00") == [Ended(1005, "")]


def test_what_is_no_frame_ends_it(client: ClientSide, server: Server) -> None:
    [ended] = client.receive(b"\xff\xff")
    assert isinstance(ended, Ended)
    assert ended.code == 1006
    assert ended.reason
    assert client.receive_eof() == []


def test_a_message_has_no_limit_here(client: ClientSide, server: Server) -> None:
    server.protocol.send_binary(b"x" * 3_000_000)
    assert client.receive(server.give()) == [Received(b"x" * 3_000_000)]
