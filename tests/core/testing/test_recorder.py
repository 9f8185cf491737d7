"""Clients that write down what they do and see, over whatever they speak."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec import UNSET
from websockets.asyncio.client import ClientConnection, connect

from wsrooms import WsApp, WsError
from wsrooms.testing import (
    Disconnected,
    History,
    RecordedClient,
    connect_client,
    recorded,
    recorded_routes,
)


@pytest.fixture
def app() -> WsApp:
    ws = WsApp()
    ws.include(recorded_routes())
    return ws


async def test_any_client_with_send_and_receive_can_be_recorded(app: WsApp) -> None:
    history = History()
    async with (
        connect_client(app) as one,
        connect_client(app) as other,
        recorded(history, one, name="ann", instance="i0") as ann,
        recorded(history, other, name="bob", instance="i0") as bob,
    ):
        await ann.join("/r")
        await bob.join("/r", waiting=False)
        await ann.say("/r")
        await ann.announce()
        await ann.tell("/r")
        await bob.leave("/r")

    history.assert_ok()
    kinds = [record.kind for record in history]
    assert (kinds.count("received"), kinds.count("sent"), kinds.count("left")) == (4, 2, 1)
    assert kinds.count("disconnected") == 2


async def test_real_sockets_can_be_recorded(app: WsApp) -> None:
    history = History()

    class Socket:
        def __init__(self, connection: ClientConnection) -> None:
            self.connection = connection
            self.sending: set[asyncio.Task[None]] = set()

        def send(self, event: str, path: str, data: Any = UNSET, *, id: Any = None) -> object:
            message = {"event": event, "path": path, "id": id}
            message |= {} if data is UNSET else {"data": data}
            task = asyncio.ensure_future(self.connection.send(json.dumps(message)))
            self.sending.add(task)
            task.add_done_callback(self.sending.discard)
            return task

        async def receive(self, timeout: float = 1.0) -> dict[str, Any]:
            message: dict[str, Any] = json.loads(await self.connection.recv())
            return message

    async with app.serving() as address, connect(address.url) as one, connect(address.url) as other:
        ends = [
            recorded(history, Socket(each), name=each.id.hex, instance="i0")
            for each in (one, other)
        ]
        async with ends[0] as ann, ends[1] as bob:
            await ann.join("/r")
            await bob.join("/r")
            await ann.say("/r")
            await bob.hello()  # what was sent before has come by its answer

    history.assert_ok()
    assert [record.kind for record in history].count("received") == 1


async def test_the_end_of_a_client_of_another_library_is_told_to_whoever_waits() -> None:
    history = History()
    sent: asyncio.Queue[Any] = asyncio.Queue()

    class Breaking:
        def send(self, event: str, path: str, data: Any = UNSET, *, id: Any = None) -> None:
            sent.put_nowait({"id": id, "data": None})

        async def receive(self, timeout: float = 1.0) -> dict[str, Any]:
            answer: dict[str, Any] = await sent.get()
            if answer["id"] != "wsrooms.testing.1":
                raise ConnectionError("the socket broke")
            return answer

    async with recorded(history, Breaking(), name="ann", instance="i0") as ann:
        for _ in range(2):  # a call that waits, and one after the end
            with pytest.raises(Disconnected, match="the socket broke"):
                await ann.join("/r")

    assert [record.kind for record in history][-4:] == [
        "disconnected",
        "join_unknown",
        "join",
        "join_unknown",
    ]


async def test_an_error_is_the_answer_of_the_call_and_a_failure_in_the_history(
    app: WsApp,
) -> None:
    history = History()
    async with (
        connect_client(app) as client,
        recorded(history, client, name="ann", instance="i0") as ann,
    ):
        with pytest.raises(WsError) as caught:
            await ann.join("/" + "r" * 2000)

    assert caught.value.code == 400
    failed = [record for record in history if record.kind == "join_failed"]
    assert [record.note[:3] for record in failed] == ["400"]


async def test_calls_that_get_no_answer_are_unknown() -> None:
    history = History()
    sent: list[dict[str, Any]] = []
    ann = RecordedClient(history, "ann", "i0", sent.append)
    history.connect("ann", "i0")
    receipts = [
        ann.hello(),
        ann.join("/r"),
        ann.leave("/r"),
        ann.say("/r"),
        ann.announce(),
    ]
    ann.ended("it broke")
    ann.ended("it broke again")

    for receipt in receipts:
        with pytest.raises(Disconnected, match="it broke"):
            await receipt
    assert [record.kind for record in history][-4:] == [
        "join_unknown",
        "leave_unknown",
        "send_unknown",
        "send_unknown",
    ]
    assert history.check() == []
    assert [message["event"].rpartition(".")[2] for message in sent] == [
        "hello",
        "join",
        "leave",
        "say",
        "announce",
    ]


async def test_what_is_not_recorded_traffic_is_not_looked_at() -> None:
    history = History()
    ann = RecordedClient(history, "ann", "i0", lambda _: None)
    ann.take({"event": "news", "path": "/", "data": 1})
    ann.take({"id": "somebody's", "data": None})

    assert len(history) == 0
