"""No text that a transport makes of itself or its failures has a password in it."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.deadlines import DEADLINE
from wsrooms import WsApp
from wsrooms.errors import AuthenticationFailed, ConfigurationError, TransportUnavailable
from wsrooms.transports import SupportsReplica

if TYPE_CHECKING:
    from tests.transports.kinds import Kind

SECRETS = ["sesame", "open%sesame", "s@sa:me/with?all#of it", "sésame\u2100", 'se"sa\\me']


def forms(secret: str) -> set[str]:
    """What would tell a secret: itself, as it stands in a URL, and as a repr or JSON has it."""
    return {secret, quote(secret, safe=""), quote(secret), repr(secret)[1:-1], ascii(secret)[1:-1]}


class Said:
    """All that was said: logged at any level, raised with its causes, told to callbacks."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        self._caplog = caplog
        self._said: list[str] = []

    def add(self, *said: object) -> None:
        for one in said:
            self._said += [str(one), repr(one)]
            if isinstance(one, BaseException):
                self._said += traceback.format_exception(one)

    def hides(self, secret: str) -> bool:
        text = "\n".join([*self._said, self._caplog.text])
        assert text.strip()
        return not any(form in text for form in forms(secret))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    return Said(caplog)


@pytest.fixture(params=SECRETS)
def secret(request: pytest.FixtureRequest) -> str:
    given: str = request.param
    return given


def test_what_it_is_called_has_no_password(kind: Kind, secret: str, said: Said) -> None:
    for transport in kind.holding(secret):
        said.add(transport, transport.options, transport.where)
        said.add(getattr(transport, "target", None), getattr(transport, "login", None))
        assert isinstance(transport, SupportsReplica)
        said.add(transport.replica(), WsApp(broadcast_transport=transport))
    assert said.hides(secret)


async def test_a_refused_login_is_told_without_the_password(
    kind: Kind, secret: str, said: Said
) -> None:
    async with kind.guarded("another") as server:
        for transport in kind.logging_in(server, secret):
            with pytest.raises(AuthenticationFailed) as caught:
                await transport.start()
            assert f"{server.host}:{server.port}" in str(caught.value)
            said.add(caught.value)
    assert said.hides(secret)


async def test_an_absent_server_is_told_without_the_password(
    kind: Kind, secret: str, said: Said
) -> None:
    for transport in kind.holding(secret):
        with pytest.raises(TransportUnavailable) as caught:
            await transport.start()
        said.add(caught.value)
    assert said.hides(secret)


@pytest.mark.parametrize("secret", SECRETS[-3::2])  # the odd ones: for some brokers it takes long
async def test_a_login_that_is_revoked_is_told_without_the_password(
    kind: Kind, secret: str, said: Said
) -> None:
    async with kind.guarded(secret) as server:
        app = WsApp(broadcast_transport=kind.patient(kind.url(server, password=secret)))
        async with app.serving():
            await kind.demand(server, "new")
            async with asyncio.timeout(DEADLINE):
                while "login" not in (app.health().error or ""):  # noqa: ASYNC110 - a state
                    await asyncio.sleep(0.01)
            said.add(app.health())
            await kind.demand(server, secret)
            async with asyncio.timeout(DEADLINE):
                while app.health().state != "up":  # noqa: ASYNC110 - likewise
                    await asyncio.sleep(0.01)
    assert said.hides(secret)


@pytest.mark.parametrize(
    "password",
    ["sesame", "7/sesame", "7?sesame", "7#sesame", "sesame/7", "sesa[me", "sesame\u2100"],
)
def test_a_url_that_is_none_is_told_without_the_password(
    kind: Kind, broken_url: str, password: str, said: Said
) -> None:
    url = broken_url.format(password)
    with pytest.raises(ConfigurationError) as caught:
        kind.transport(url)
    said.add(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        WsApp(broadcast_transport=url)
    said.add(caught.value)
    assert said.hides("sesa")
