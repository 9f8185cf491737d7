"""From a URL to a transport, with distributions made up on the spot."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from wsrooms.errors import ConfigurationError, MissingTransport, UnknownOption, UnknownScheme
from wsrooms.transports import MemoryTransport, transport_from_url
from wsrooms.transports.urls import EXTRAS

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
made = []

class Transport:
    def __init__(self, url):
        self.url = url
        made.append(url)

    def publish(self, channel, payload): ...
    def subscribe(self, channel, handler): ...
    def unsubscribe(self, channel): ...
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a distribution that offers ``module:Transport`` for some schemes."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules: list[str] = []

    def make(
        distribution: str, module: str, *schemes: str, source: str = MODULE, version: str = "1.0"
    ) -> None:
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{distribution}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        lines = [f"{scheme} = {module}:Transport" for scheme in schemes]
        text = "\n".join(["[wsrooms.transports]", *lines, ""])
        (info / "entry_points.txt").write_text(text)
        modules.append(module)
        importlib.invalidate_caches()

    yield make
    for module in modules:
        sys.modules.pop(module, None)


def test_memory_is_built_in_and_private() -> None:
    one, other = transport_from_url("memory://"), transport_from_url("memory://?namespace=x")
    assert isinstance(one, MemoryTransport)
    assert isinstance(other, MemoryTransport)
    assert one.bus is not other.bus


def test_an_unknown_option_of_memory_names_the_known_ones() -> None:
    with pytest.raises(UnknownOption, match="unknown option 'name'; known options: namespace"):
        transport_from_url("memory://?name=x")
    with pytest.raises(UnknownOption):
        transport_from_url("memory://?namespace=x&prefix=")


def test_a_package_offers_a_transport_by_an_entry_point(install: Callable[..., None]) -> None:
    install("acme-bus", "acme_bus", "acme", "acme+tls")
    for url in ("acme://a:1,b:2/x?y=z", "ACME+TLS://host"):
        transport = transport_from_url(url)
        assert type(transport).__name__ == "Transport"
    assert sys.modules["acme_bus"].made == ["acme://a:1,b:2/x?y=z", "ACME+TLS://host"]


def test_only_the_package_that_is_asked_for_is_imported(install: Callable[..., None]) -> None:
    install("acme-bus", "acme_bus", "acme")
    install("broken-bus", "broken_bus", "broken", source="raise ImportError('never import me')")
    transport_from_url("acme://")
    assert "broken_bus" not in sys.modules
    with pytest.raises(ImportError, match="never import me"):
        transport_from_url("broken://")


def test_two_packages_that_claim_a_scheme_are_named(install: Callable[..., None]) -> None:
    install("zeta-bus", "zeta_bus", "acme")
    install("acme-bus", "acme_bus", "acme")
    with pytest.raises(
        ConfigurationError, match="several packages claim acme:// URLs: acme-bus, zeta-bus"
    ):
        transport_from_url("acme://")
    assert "acme_bus" not in sys.modules


@pytest.mark.parametrize(("scheme", "extra"), sorted(EXTRAS.items()))
def test_a_known_package_that_is_missing_is_named_with_its_pip_install(
    scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: ())
    with pytest.raises(MissingTransport) as caught:
        transport_from_url(f"{scheme}://localhost")
    assert (caught.value.scheme, caught.value.extra) == (scheme, extra)
    assert f'pip install "wsrooms-core[{extra}]"' in str(caught.value)


def test_another_package_may_offer_a_scheme_that_the_core_knows(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("my-kafka", "my_kafka", "kafka+ssl")
    every = importlib.metadata.entry_points

    def without_ours(group: str) -> list[importlib.metadata.EntryPoint]:
        return [each for each in every(group=group) if not each.value.startswith("wsrooms_kafka")]

    monkeypatch.setattr("importlib.metadata.entry_points", without_ours)
    assert type(transport_from_url("kafka+ssl://host")).__module__ == "my_kafka"


def only(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """As if no other package offered any transport."""
    every = importlib.metadata.entry_points

    def ours(group: str) -> list[importlib.metadata.EntryPoint]:
        return [each for each in every(group=group) if each.module == module]

    monkeypatch.setattr("importlib.metadata.entry_points", ours)


def test_a_package_of_ours_of_another_minor_is_named_with_what_brings_them_together(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("wsrooms-redis", "old_redis", "redis", version="0.0.7")
    only(monkeypatch, "old_redis")
    core = importlib.metadata.version("wsrooms-core")
    with pytest.raises(ConfigurationError) as caught:
        transport_from_url("redis://localhost")
    assert str(caught.value) == (
        f"wsrooms-redis 0.0.7 does not go with wsrooms-core {core}: "
        'pip install -U "wsrooms-core[redis]"'
    )
    assert "old_redis" not in sys.modules


def test_a_package_of_ours_may_be_of_another_patch_and_others_of_any_version(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    minor = importlib.metadata.version("wsrooms-core").rpartition(".")[0]
    install("wsrooms-redis", "patched_redis", "redis", version=f"{minor}.99")
    install("acme-bus", "acme_bus", "acme", version="0.0.7")
    transport_from_url("acme://")
    only(monkeypatch, "patched_redis")
    assert type(transport_from_url("redis://localhost")).__module__ == "patched_redis"


def test_in_a_bundle_that_does_not_say_which_core_it_holds_any_version_is_taken(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("wsrooms-redis", "bundled_redis", "redis", version="0.0.7")
    only(monkeypatch, "bundled_redis")
    every = importlib.metadata.distributions

    def without_the_core(name: str | None = None) -> Iterator[importlib.metadata.Distribution]:
        return iter(() if name == "wsrooms-core" else every(name=name))

    monkeypatch.setattr("importlib.metadata.distributions", without_the_core)
    assert type(transport_from_url("redis://localhost")).__module__ == "bundled_redis"


def test_an_unknown_scheme_names_the_known_ones(install: Callable[..., None]) -> None:
    install("acme-bus", "acme_bus", "acme")
    with pytest.raises(UnknownScheme, match="no transport speaks 'reddis' URLs") as caught:
        transport_from_url("reddis://localhost")
    assert caught.value.scheme == "reddis"
    assert {"acme", "memory", *EXTRAS} <= set(caught.value.known)


@pytest.mark.parametrize("url", ["", "redis", "localhost:6379", "redis:/localhost", None, 5])
def test_what_is_no_url_is_told_what_one_looks_like(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is no URL such as redis://localhost"):
        transport_from_url(url)


@pytest.mark.parametrize("url", ["://", "://host", "re dis://[", "a_b://[::1", "1x://"])
def test_what_is_hardly_a_url_has_an_unknown_scheme(url: str) -> None:
    with pytest.raises(UnknownScheme):
        transport_from_url(url)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("user:secret@localhost:6379", "'localhost:6379'"),
        ("user:sec@ret@localhost:6379", "'localhost:6379'"),
        ("localhost:6379?password=secret", "'localhost:6379'"),
        ("localhost:6379?password=sec@ret", "'...'"),
        ("user:sec?ret@localhost:6379", "'...'"),
        (b"redis://user:secret@localhost", "<bytes>"),
    ],
)
def test_a_password_in_what_is_no_url_is_not_shown(given: str, shown: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        transport_from_url(given)
    told = str(caught.value)
    assert told.startswith(f"broadcast_transport={shown} is no URL")
    assert "sec" not in told
    assert "ret" not in told


@pytest.mark.parametrize("url", ["reddis://user:secret@host?password=secret", "memory://:secret@"])
def test_no_error_about_a_url_shows_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        transport_from_url(f"{url}?secret=secret&secrte=secret")
    assert "secret@" not in str(caught.value)
    assert "=secret" not in str(caught.value)
