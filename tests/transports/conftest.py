"""Each test runs on each kind of broker.

One that takes an ``image`` too runs on each server of those that deny channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.transports.kinds import KINDS, RefusingKind

if TYPE_CHECKING:
    import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = metafunc.fixturenames
    if "image" in names:
        refusing = [kind for kind in KINDS if isinstance(kind, RefusingKind)]
        both = [(kind, image) for kind in refusing for image in kind.images()]
        metafunc.parametrize(("kind", "image"), both, ids=[image for _, image in both])
    elif "option" in names:
        options = [(kind, option) for kind in KINDS for option in kind.options.names()]
        metafunc.parametrize(("kind", "option"), options, ids=[f"{a}-{b}" for a, b in options])
    elif "broken_url" in names:
        urls = [(kind, url) for kind in KINDS for url in kind.broken]
        metafunc.parametrize(("kind", "broken_url"), urls, ids=[url for _, url in urls])
    elif "kind" in names:
        metafunc.parametrize("kind", KINDS, ids=str)
