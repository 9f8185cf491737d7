"""Every way to log in at NATS, against servers that check: right ones and wrong ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import nats_server
from tests.deadlines import DEADLINE, promised
from tests.nats.identities import USER, Key, Operator
from tests.transports.told import Told
from wsrooms import Gap
from wsrooms.errors import AuthenticationFailed, TransportUnavailable
from wsrooms_nats import NatsTransport

Options = dict[str, Any]


@dataclass
class Way:
    """One way to log in: what the server is told, and what a client says.

    Attributes:
        config: The server's settings.
        right: Options that it lets in.
        wrong: Others, by what is wrong with them, with a word of what is told.
    """

    config: str
    right: Options
    wrong: Mapping[str, tuple[Options, str]]


def by_token(_: Path) -> Way:
    return Way(
        "authorization: {token: s3cret}",
        {"token": "s3cret"},
        {
            "another": ({"token": "another"}, "Authorization Violation"),
            "none": ({}, "Authorization Violation"),
            "user": ({"user": "ann", "password": "s3cret"}, "Authorization Violation"),
        },
    )


def by_password(_: Path) -> Way:
    password = 'pä "ss\\w:/?#@%'
    users = json.dumps([{"user": "ann", "password": password}], ensure_ascii=False)
    return Way(
        f"authorization: {{users: {users}}}",
        {"user": "ann", "password": password},
        {
            "another": ({"user": "ann", "password": "another"}, "Authorization Violation"),
            "nobody": ({"user": "bob", "password": password}, "Authorization Violation"),
            "token": ({"token": password}, "Authorization Violation"),
            "none": ({}, "Authorization Violation"),
        },
    )


def by_nkey(folder: Path) -> Way:
    key, other = Key(USER), Key(USER)
    (folder / "key").write_text(f"\n{key.seed}\n")
    (folder / "other").write_text(other.seed)
    (folder / "none").write_text("")
    (folder / "binary").write_bytes(b"\xff\xfe")
    return Way(
        f"authorization: {{users: [{{nkey: {key.public}}}]}}",
        {"nkeys_seed": str(folder / "key")},
        {
            "another": ({"nkeys_seed": str(folder / "other")}, "Authorization Violation"),
            "another string": ({"nkeys_seed_str": other.seed}, "Authorization Violation"),
            "empty": ({"nkeys_seed": str(folder / "none")}, ""),
            "no text": ({"nkeys_seed": str(folder / "binary")}, str(folder / "binary")),
            "cut": ({"nkeys_seed_str": key.seed[:-3]}, ""),
            "public": ({"nkeys_seed_str": key.public}, ""),
            "token": ({"token": key.seed}, "Authorization Violation"),
        },
    )


def by_nkey_string(folder: Path) -> Way:
    key = Key(USER)
    config = f"authorization: {{users: [{{nkey: {key.public}}}]}}"
    return Way(config, {"nkeys_seed_str": key.seed}, {})


def by_credentials(folder: Path) -> Way:
    operator, stranger = Operator(), Operator()
    good = operator.credentials()
    texts = {
        "good": good.text,
        "stranger": stranger.credentials().text,
        "expired": operator.credentials(expires=-10).text,
        "another key": good.text.replace(good.key.seed, Key(USER).seed),
        "changed": good.text.replace(good.jwt, good.jwt[:-8] + "AAAAAAAA"),
        "empty": "",
        "half": good.text[: len(good.text) // 2],
        "jwt only": good.text.partition("\n\n")[0],
        "seed only": good.key.seed,
        "no marks": f"{good.jwt}\n{good.key.seed}\n",
        "other marks": good.text.replace("NATS USER JWT", "CERTIFICATE"),
        "endless mark": "-----BEGIN NATS USER JWT-----\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "binary").write_bytes(b"\xff\xfe\0" * 100)
    refused = "stranger", "expired", "another key", "changed"
    wrong = {
        name: (
            {"user_credentials": str(folder / name)},
            "Authorization Violation" if name in refused else str(folder / name),
        )
        for name in (*texts, "binary")
        if name != "good"
    }
    right = {"user_credentials": str(folder / "good")}
    return Way(operator.config(), right, {**wrong, "none": ({}, "Authorization Violation")})


def by_credentials_with_other_line_ends(folder: Path) -> Way:
    operator = Operator()
    (folder / "good").write_bytes(operator.credentials().text.replace("\n", "\r\n").encode())
    return Way(operator.config(), {"user_credentials": str(folder / "good")}, {})


WAYS: tuple[Callable[[Path], Way], ...] = (
    by_token,
    by_password,
    by_nkey,
    by_nkey_string,
    by_credentials,
    by_credentials_with_other_line_ends,
)


@pytest.mark.parametrize("way_of", WAYS)
async def test_a_login_is_right_or_told_and_never_shown(
    way_of: Callable[[Path], Way], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    way = way_of(tmp_path)
    async with nats_server(config=way.config) as server:
        sender, receiver = (NatsTransport(server.url, **way.right) for _ in range(2))
        await sender.start()
        await receiver.start()
        heard: list[str] = []
        await receiver.subscribe("c", heard.append)
        await sender.publish("c", "x")
        await receiver.publish("c", "own")
        await receiver.subscribe("d", print)  # all that came before has arrived then
        assert heard == ["x"]
        for what, (options, word) in way.wrong.items():
            wrong = NatsTransport(server.url, **options)
            with pytest.raises(AuthenticationFailed) as caught:
                await wrong.start()
            told = str(caught.value)
            assert f"{server.host}:{server.port}" in told or str(tmp_path) in told, what
            assert word in told, what
            for secret in secrets_of(options):
                assert secret not in told + repr(wrong) + repr(wrong.options), what
        await sender.close()
        await receiver.close()
    for options in (way.right, *(options for options, _ in way.wrong.values())):
        assert not [secret for secret in secrets_of(options) if secret in caplog.text]


def secrets_of(options: Options) -> list[str]:
    """What nobody is to read: that of the options, and what is in their files."""
    secrets = [text for name, text in options.items() if name in SECRET]
    for name in ("nkeys_seed", "user_credentials"):
        if name in options:
            words = Path(options[name]).read_text("utf-8", "replace").split()
            secrets += [word for word in words if len(word) > 20 and set(word) - set("-*")]
    return secrets


SECRET = ("password", "token", "nkeys_seed_str")


async def test_a_user_whose_jwt_expires_is_told_and_heals_with_a_renewed_file(
    tmp_path: Path,
) -> None:
    operator = Operator()
    file = tmp_path / "user.creds"
    async with nats_server(config=operator.config()) as server:
        other = NatsTransport(server.url, user_credentials=str(other_file(operator, tmp_path)))
        await other.start()
        file.write_text(operator.credentials(expires=promised(3)).text)  # which run from here
        transport = NatsTransport(server.url, user_credentials=str(file))
        told = Told(transport)
        heard: list[str] = []
        await transport.start()
        async with asyncio.timeout(DEADLINE):
            await transport.subscribe("c", heard.append)

        words = await told.until("down")
        assert words is not None
        assert "User Authentication Expired" in words
        words = await told.until("down")  # the next try, with the same file
        assert words is not None
        assert "refused the login: " in words
        waits = transport.publish("c", "mine")

        file.write_text("")  # as an editor or a mount may do first
        words = await told.until("down")
        assert words is not None
        assert str(file) in words
        file.write_text(operator.credentials().text)
        await told.until("up")
        await waits
        await other.publish("c", "theirs")
        await transport.subscribe("d", print)
        assert heard == ["theirs"]
        assert told.gaps == [Gap(None, None, None)]
        await transport.close()
        await other.close()


def other_file(operator: Operator, folder: Path) -> Path:
    file = folder / "other.creds"
    file.write_text(operator.credentials().text)
    return file


async def test_a_file_that_is_gone_is_told_and_heals_when_it_is_back(tmp_path: Path) -> None:
    operator = Operator()
    file = other_file(operator, tmp_path)
    text = file.read_text()
    async with nats_server(config=operator.config()) as server:
        transport = NatsTransport(server.url, user_credentials=str(file))
        told = Told(transport)
        await transport.start()
        file.unlink()
        await server.restart()
        await told.until("down")
        while str(file) not in (await told.until("down") or ""):
            pass
        file.write_text(text)
        await told.until("up")
        await transport.publish("c", "x")
        await transport.close()


async def test_a_login_that_is_taken_away_is_told_and_heals_when_it_is_given_back() -> None:
    async with nats_server(config="authorization: {token: one}") as server:
        transport = NatsTransport(server.url, token="one")
        told = Told(transport)
        await transport.start()
        await transport.subscribe("c", print)
        await server.reload("authorization: {token: two}")
        words = await told.until("down")
        assert words is not None
        while "refused the login: " not in words:
            words = await told.until("down") or ""
        assert "Authorization Violation" in words
        assert "one" not in words
        await server.reload("authorization: {token: one}")
        await told.until("up")
        await transport.close()


async def test_a_server_that_wants_no_login_takes_one_all_the_same(tmp_path: Path) -> None:
    operator = Operator()
    given: list[Options] = [
        {"token": "x"},
        {"user": "u", "password": "p"},
        {"nkeys_seed_str": Key(USER).seed},
        {"user_credentials": str(other_file(operator, tmp_path))},
    ]
    async with nats_server() as server:
        for options in given:
            transport = NatsTransport(server.url, **options)
            await transport.start()
            await transport.close()


async def test_a_login_of_the_url_reaches_the_server_as_it_was_meant() -> None:
    users = json.dumps([{"user": "a:n@n", "password": "/?#@%:"}])
    async with nats_server(config=f"authorization: {{users: {users}}}") as server:
        login = "a%3An%40n:%2F%3F%23%40%25%3A"
        transport = NatsTransport(f"nats://{login}@{server.host}:{server.port}")
        await transport.start()
        await transport.close()


async def test_a_login_for_which_there_was_no_time_is_no_refused_one() -> None:
    async with nats_server(config="authorization: {token: one, timeout: 0.001}") as server:
        transport = NatsTransport(server.url, token="one", start_timeout=3.0)
        with contextlib.suppress(TransportUnavailable):  # in its words, or as a network's failure
            await transport.start()
        await transport.close()
