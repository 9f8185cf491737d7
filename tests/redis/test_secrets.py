"""No text that the Redis transport makes of itself or its failures has a password in it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import traceback
from urllib.parse import quote

import pytest
from redis.credentials import UsernamePasswordCredentialProvider

from tests.brokers import redis_server
from wsrooms import WsApp
from wsrooms.errors import AuthenticationFailed, ConfigurationError, TransportUnavailable
from wsrooms_redis import RedisTransport

SECRETS = ["sesame", "open%sesame", "s@sa:me/with?all#of it", "sésame\u2100"]
DEADLINE = 10.0


def forms(secret: str) -> set[str]:
    """What would tell a secret: itself, and as it stands in a URL."""
    return {secret, quote(secret, safe=""), quote(secret)}


class Told:
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
        assert "redis" in text
        return not any(form in text for form in forms(secret))


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    return Told(caplog)


@pytest.fixture(params=SECRETS)
def secret(request: pytest.FixtureRequest) -> str:
    given: str = request.param
    return given


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "redis+unix"])
def test_what_it_is_called_has_no_password(scheme: str, secret: str, told: Told) -> None:
    place = "/no/such/place" if scheme == "redis+unix" else "host:7/service"
    place = place if scheme in ("redis+unix", "redis+sentinel") else "host:7"
    url = f"{scheme}://somebody:{quote(secret, safe='')}@{place}"
    provider = UsernamePasswordCredentialProvider("somebody", secret)
    for transport in (
        RedisTransport(url),
        RedisTransport(url).replica(),
        RedisTransport(f"{scheme}://{place}", credential_provider=provider),
        RedisTransport(f"{scheme}://{place}", sentinel_password=secret),
        RedisTransport(f"{scheme}://{place}?sentinel_password={quote(secret, safe='')}"),
    ):
        told.add(transport, transport.options, transport.target, transport.where)
    told.add(WsApp(broadcast_transport=RedisTransport(url)))
    assert told.hides(secret)


async def test_a_refused_login_is_told_without_the_password(secret: str, told: Told) -> None:
    async with redis_server(arguments=("--requirepass", "another")) as server:
        at = f"{server.host}:{server.port}"
        provider = UsernamePasswordCredentialProvider("default", secret)
        for transport in (
            RedisTransport(f"redis://:{quote(secret, safe='')}@{at}"),
            RedisTransport(f"redis://somebody:{quote(secret, safe='')}@{at}"),
            RedisTransport(f"redis://{at}", credential_provider=provider),
        ):
            with pytest.raises(AuthenticationFailed) as caught:
                await transport.start()
            assert at in str(caught.value)
            told.add(caught.value)
    assert told.hides(secret)


async def test_an_absent_server_is_told_without_the_password(secret: str, told: Told) -> None:
    login = f"somebody:{quote(secret, safe='')}"
    for url in (f"redis://{login}@127.0.0.1:1", f"redis+unix://{login}@/no/such/socket"):
        with pytest.raises(TransportUnavailable) as caught:
            await RedisTransport(url).start()
        told.add(caught.value)
    assert told.hides(secret)


async def test_a_login_that_is_revoked_is_told_without_the_password(
    secret: str, told: Told
) -> None:
    arguments = ("--requirepass", secret)
    async with redis_server(arguments=arguments) as server:
        app = WsApp(
            broadcast_transport=f"redis://:{quote(secret, safe='')}@{server.host}:{server.port}"
        )
        async with app.serving():
            server.setup = dataclasses.replace(server.setup, arguments=("--requirepass", "new"))
            await server.restart()
            async with asyncio.timeout(DEADLINE):
                while "login" not in (app.health().error or ""):  # noqa: ASYNC110 - a state
                    await asyncio.sleep(0.01)
            told.add(app.health())
    assert told.hides(secret)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:{}@host:port",
        "redis://:{}@host:99999",
        "redis://:{}@[::1",
        "redis://:{}@host/database",
        "redis://:{}@host?password=x",
        "redis://host?password={}",
        "redis://somebody:{}@@host?x=1",
        "redis:{}@host",
        "redis+unix://:{}@run/socket",
        "redis+sentinel://:{}@host",
    ],
)
@pytest.mark.parametrize(
    "password",
    ["sesame", "7/sesame", "7?sesame", "7#sesame", "sesame/7", "sesa[me", "sesame\u2100"],
)
def test_a_url_that_is_none_is_told_without_the_password(
    url: str, password: str, told: Told
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WsApp(broadcast_transport=url.format(password))
    told.add(caught.value)
    assert told.hides("sesa")
