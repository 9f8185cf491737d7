"""What the tests of proxies are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .proxies import Certificate, Files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Made once, and before any test's loop runs, which that would hold up."""
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def files(tmp_path: Path, certificate: Certificate) -> Files:
    return Files(tmp_path, certificate)
