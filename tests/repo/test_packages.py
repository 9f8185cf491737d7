"""The distributions belong together: one version, pins that follow it, the same licence.

Workspace sources hide a stale pin from everybody who works here, so it is looked for. So is
a setting that names some of the packages and not all: it would look at the others less.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from release import CORE, packages, pin, version

from wsrooms.transports.urls import EXTRAS, GROUP

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = packages(ROOT)
PIN = pin(version(ROOT))
"""What one distribution asks of another: the minor of the present version."""
SIBLINGS = sorted(PACKAGES.keys() - {CORE})
IMPORTED = {name: name.replace("-core", "").replace("-", "_") for name in PACKAGES}
TOOLS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
SITE = (ROOT / "mkdocs.yml").read_text("utf-8")


def project(name: str) -> dict[str, Any]:
    text = (PACKAGES[name] / "pyproject.toml").read_text("utf-8")
    table: dict[str, Any] = tomllib.loads(text)["project"]
    return table


def test_there_are_siblings() -> None:
    assert SIBLINGS


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_distribution_is_named_as_its_folder(name: str) -> None:
    assert project(name)["name"] == name


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_sibling_needs_the_core_of_its_own_minor(name: str) -> None:
    asked = [entry for entry in project(name)["dependencies"] if entry.startswith(CORE)]
    assert asked == [CORE + PIN]


@pytest.mark.parametrize("name", SIBLINGS)
def test_the_core_has_an_extra_for_a_sibling_of_its_own_minor(name: str) -> None:
    extras = project(CORE)["optional-dependencies"]
    assert extras[name.removeprefix("wsrooms-")] == [name + PIN]


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
    assert (PACKAGES[name] / "src" / IMPORTED[name] / "py.typed").is_file()
    assert (PACKAGES[name] / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("key", ["requires-python", "license", "authors"])
def test_the_distributions_agree(key: str) -> None:
    assert [project(name)[key] for name in PACKAGES] == [project(CORE)[key]] * len(PACKAGES)


def contract(name: str) -> dict[str, Any]:
    """One of import-linter's."""
    contracts: list[dict[str, Any]] = TOOLS["importlinter"]["contracts"]
    [found] = [each for each in contracts if each["id"] == name]
    return found


@pytest.mark.parametrize("name", SIBLINGS)
def test_no_package_but_the_transports_knows_a_brokers_library(name: str) -> None:
    """Each is imported by the first word of its distribution: nats-py is ``nats``."""
    asked = project(name)["dependencies"]
    libraries = {re.split(r"[^\w]", entry)[0] for entry in asked if not entry.startswith(CORE)}
    assert libraries <= set(contract("brokers")["forbidden_modules"])


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("the paths of mypy", TOOLS["mypy"]["mypy_path"]),
        ("the paths of pyright", TOOLS["pyright"]["extraPaths"]),
        ("the paths of the reference", re.findall(r"packages/\S+", SITE)),
    ],
)
def test_a_setting_has_the_folder_of_every_package(setting: str, named: list[str]) -> None:
    there = [path.partition("packages/")[2] for path in named if "packages/" in path]
    assert there == [f"{name}/src" for name in sorted(PACKAGES)], setting


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("what coverage measures", TOOLS["coverage"]["run"]["source"]),
        ("what the layers are drawn for", TOOLS["importlinter"]["root_packages"]),
        ("who imports only some of the core", [*contract("siblings")["source_modules"], "wsrooms"]),
        ("who knows nobody beside it", [*contract("independence")["modules"], "wsrooms"]),
    ],
)
def test_a_setting_names_every_package(setting: str, named: list[str]) -> None:
    assert sorted(named) == sorted(IMPORTED.values()), setting


def test_the_core_knows_no_sibling() -> None:
    siblings = {IMPORTED[name] for name in SIBLINGS}
    assert siblings <= set(contract("brokers")["forbidden_modules"])
