"""CLOSE, or the end, in one segment with messages: all of them are handled, once, in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import pytest

from wsrooms import WsError, WsLimits, use_ws_connection, use_ws_message, use_ws_rooms

if TYPE_CHECKING:
    # pytest's importlib mode lets only type checkers import a conftest.
    from tests.core.conftest import RawClient
    from tests.core.hard.lifetime.conftest import Death, Stage

pytestmark = pytest.mark.every_loop

BYE = 4321, "bye"
OURS = 4001, "ours"


def m(event: str, path: str = "/r", **members: object) -> str:
    return json.dumps({"event": event, "path": path, **members})


def numbered(client: RawClient, count: int) -> bytes:
    frames: Iterable[bytes] = (client.frame(m("m", data=n, id=n)) for n in range(count))
    return b"".join(frames)


def replies(count: int) -> list[str]:
    return [f'{{"id":{n},"data":{n}}}' for n in range(count)]


def declare(stage: Stage, kind: str) -> None:
    """Handlers that answer with their data and note it."""

    def sync() -> object:
        stage.notes.append(use_ws_message().data)
        return use_ws_message().data

    async def at_once() -> object:
        return sync()

    async def later() -> object:
        await asyncio.sleep(0)
        return sync()

    stage.app.on_message("m", "/r", {"sync": sync, "at once": at_once, "later": later}[kind])


async def heard(client: RawClient) -> tuple[list[str], tuple[int, str]]:
    """What the client is answered, and the CLOSE behind it."""
    answers: list[str] = []
    while (frame := await client.receive()).opcode == client.TEXT:
        answers.append(frame.payload.decode())
    assert frame.opcode == client.CLOSE
    return answers, (int.from_bytes(frame.payload[:2], "big"), frame.payload[2:].decode())


async def see_the_end(stage: Stage, client: RawClient) -> None:
    await stage.until(lambda: stage.ends)
    await client.end()
    await stage.nothing_is_left()


@pytest.mark.parametrize("count", [1, 2, 40, 500])
async def test_sync_messages_in_one_segment_with_a_close_are_answered_before_it(
    stage: Stage, count: int
) -> None:
    declare(stage, "sync")
    async with stage.serving(), stage.client() as client:
        await client.send(m("join", "/r", id="j"))  # so that no reply waits for the transport
        await client.text()
        await client.write(numbered(client, count), client.close_frame(*BYE))
        assert await heard(client) == (replies(count), BYE)
        await see_the_end(stage, client)
    assert stage.ends == [(*BYE, ["/r"])]
    assert stage.notes == list(range(count))


@pytest.mark.parametrize("kind", ["at once", "later"])
@pytest.mark.parametrize("count", [1, 2, 40, 500])
async def test_async_messages_in_one_segment_with_a_close_are_all_handled(
    stage: Stage, kind: str, count: int
) -> None:
    """More than 16 may wait where a CLOSE follows them: the end is not held up by handlers."""
    declare(stage, kind)
    async with stage.serving(), stage.client() as client:
        await client.send(m("join", "/r", id="j"))
        await client.text()
        await client.write(numbered(client, count), client.close_frame(*BYE))
        answers, close = await heard(client)
        await see_the_end(stage, client)
    assert answers == replies(count)[: len(answers)], "in order, each once"
    assert close == BYE
    assert stage.ends == [(*BYE, ["/r"])]
    assert stage.notes == list(range(count))


@pytest.mark.parametrize("how", ["CLOSE", "FIN"])
async def test_slow_messages_more_than_may_wait_run_after_the_close_behind_them(
    make_stage: Callable[..., Stage], how: str
) -> None:
    stage = make_stage(limits=WsLimits(waiting_messages=16))

    @stage.app.on_message("m", "/r")
    async def slow() -> None:
        stage.here()
        await stage.released()
        await asyncio.sleep(0)
        assert stage.ends == []
        stage.notes.append(use_ws_message().data)

    async with stage.serving(), stage.client() as client:
        await client.write(
            numbered(client, 40), client.close_frame(*BYE) if how == "CLOSE" else b""
        )
        if how == "FIN":
            client.writer.write_eof()
        await stage.reached()
        if how == "CLOSE":
            assert await client.close_code() == BYE  # which no handler holds up
            assert len(stage.app.server.connections()) == 2
        stage.release()
        await see_the_end(stage, client)
    assert stage.ends == [(*(BYE if how == "CLOSE" else (1006, "")), [])]
    assert stage.notes == list(range(40))


# Read late


async def test_a_client_that_is_not_read_is_handled_to_the_end(
    make_stage: Callable[..., Stage], death: Death
) -> None:
    """Its socket is noticed only when it is read again, and what it said before counts."""
    stage = make_stage(limits=WsLimits(waiting_messages=2))
    handled: list[int] = []

    @stage.app.on_message("m", "/r")
    async def handler() -> None:
        if not stage.entered.is_set():
            await use_ws_rooms().join()
            await stage.stand_still()
        handled.append(use_ws_message().data)

    async with stage.serving(), stage.client() as client:
        await client.send(*(m("m", data=number) for number in range(12)))
        await stage.reached()
        await death.die(client)
        stage.release()
        await stage.until(lambda: stage.ends)
        await client.end()
        await stage.nothing_is_left()
    assert stage.ends == [(*death.told, ["/r"])]
    assert handled == list(range(len(handled))), "in order, each once"
    # A reset may take back what the server has not read yet; CLOSE and FIN do not.
    assert len(handled) == 12 or (death.reset and len(handled) >= 1)


# With the handshake


@pytest.mark.parametrize("hook", ["none", "sync", "async", "slow"])
@pytest.mark.parametrize("kind", ["sync", "later"])
async def test_handshake_messages_and_close_in_one_segment_are_a_whole_life(
    stage: Stage, hook: str, kind: str
) -> None:
    declare(stage, kind)

    def connected() -> None:
        stage.notes.append("connected")

    async def connected_later() -> None:
        await asyncio.sleep(0)
        connected()

    async def connected_much_later() -> None:
        await stage.stand_still()
        connected()

    if hook != "none":
        stage.on_connect(
            {"sync": connected, "async": connected_later, "slow": connected_much_later}[hook]
        )
    async with stage.serving(), stage.client(path=None) as client:
        rest = numbered(client, 3) + client.close_frame(*BYE)
        assert (await client.upgrade("/subject", rest=rest)).status == 101
        if hook == "slow":
            await stage.reached()
            await stage.noticed()
            stage.release()
        answers, close = await heard(client)
        await see_the_end(stage, client)
    assert answers == replies(3)[: len(answers)], "which come before it is up to the handlers"
    assert close == BYE
    assert stage.ends == [(*BYE, [])]
    assert stage.notes == [*(["connected"] if hook != "none" else []), 0, 1, 2]


async def test_a_handshake_with_a_close_behind_it_is_a_life_without_messages(
    stage: Stage,
) -> None:
    stage.on_connect(lambda: stage.notes.append("connected"))
    async with stage.serving(), stage.client(path=None) as client:
        await client.upgrade("/subject", rest=client.close_frame(*BYE))
        assert await client.close_code() == BYE
        await see_the_end(stage, client)
    assert stage.ends == [(*BYE, [])]
    assert stage.notes == ["connected"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_refused_handshake_handles_nothing_of_what_came_with_it(
    stage: Stage, kind: str
) -> None:
    declare(stage, "sync")

    def refuse() -> None:
        use_ws_connection().close(*OURS)
        raise WsError(403)

    async def refuse_later() -> None:
        await asyncio.sleep(0)
        refuse()

    stage.on_connect(refuse if kind == "sync" else refuse_later)
    async with stage.serving(), stage.client(path=None) as client:
        await client.upgrade("/subject", rest=numbered(client, 3))
        assert await client.close_code() == OURS
        await client.write(client.close_frame(*BYE))
        assert await client.end() == b""
        await stage.nothing_is_left()
    assert stage.ends == stage.notes == []


# Our close among messages


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_handler_that_closes_is_the_last_of_its_segment_that_answers(
    stage: Stage, kind: str
) -> None:
    """What was read behind it is dropped, or, where it was waiting already, runs unheard."""

    def close() -> object:
        number = use_ws_message().data
        stage.notes.append(number)
        if number == 2:
            use_ws_connection().close(*OURS)
        return number

    async def close_later() -> object:
        await asyncio.sleep(0)
        return close()

    stage.app.on_message("m", "/r", close if kind == "sync" else close_later)
    async with stage.serving(), stage.client() as client:
        await client.write(numbered(client, 6))
        assert await heard(client) == (replies(2), OURS)
        await client.write(client.close_frame(*BYE))
        await see_the_end(stage, client)
    assert stage.notes == list(range(3 if kind == "sync" else 6))
    assert stage.ends == [(*OURS, [])]
