"""The distributions belong together: one version, pins that follow it, the same licence.

Workspace sources hide a stale pin from everybody who works here, so it is looked for.
"""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from wsrooms.transports.urls import EXTRAS, GROUP

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {path.parent.name: path.parent for path in ROOT.glob("packages/*/pyproject.toml")}
CORE = "wsrooms-core"
SIBLINGS = sorted(PACKAGES.keys() - {CORE})


def project(name: str) -> dict[str, Any]:
    text = (PACKAGES[name] / "pyproject.toml").read_text("utf-8")
    table: dict[str, Any] = tomllib.loads(text)["project"]
    return table


def version_of(name: str) -> str:
    [source] = PACKAGES[name].glob("src/*/_version.py")
    version: str = runpy.run_path(str(source))["__version__"]
    return version


def pin() -> str:
    """What one distribution asks of another: the minor of the present version."""
    major, minor, _ = map(int, version_of(CORE).split("."))
    return f">={major}.{minor},<{major}.{minor + 1}"


def test_there_are_siblings() -> None:
    assert SIBLINGS


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_distribution_is_named_as_its_folder(name: str) -> None:
    assert project(name)["name"] == name


def test_all_distributions_have_one_version() -> None:
    assert {name: version_of(name) for name in PACKAGES} == dict.fromkeys(
        PACKAGES, version_of(CORE)
    )


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_sibling_needs_the_core_of_its_own_minor(name: str) -> None:
    asked = [entry for entry in project(name)["dependencies"] if entry.startswith(CORE)]
    assert asked == [CORE + pin()]


@pytest.mark.parametrize("name", SIBLINGS)
def test_the_core_has_an_extra_for_a_sibling_of_its_own_minor(name: str) -> None:
    extras = project(CORE)["optional-dependencies"]
    assert extras[name.removeprefix("wsrooms-")] == [name + pin()]


def test_the_extra_all_is_all_the_others() -> None:
    extras = project(CORE)["optional-dependencies"]
    others = ",".join(sorted(extras.keys() - {"all"}))
    assert extras["all"] == [f"{CORE}[{others}]"]


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_sibling_offers_every_scheme_that_the_core_sends_to_it(name: str) -> None:
    extra = name.removeprefix("wsrooms-")
    offered = project(name)["entry-points"][GROUP]
    assert set(offered) == {scheme for scheme, wanted in EXTRAS.items() if wanted == extra}


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_distribution_has_its_types_and_the_licence_with_it(name: str) -> None:
    imported = name.replace("-core", "").replace("-", "_")
    assert (PACKAGES[name] / "src" / imported / "py.typed").is_file()
    assert (PACKAGES[name] / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("key", ["requires-python", "license", "authors"])
def test_the_distributions_agree(key: str) -> None:
    assert [project(name)[key] for name in PACKAGES] == [project(CORE)[key]] * len(PACKAGES)
