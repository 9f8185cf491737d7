"""The reference: every public name is on exactly one of its pages, and its tables are true."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
import textwrap

from wsrooms import WsApp, errors
from wsrooms.transports.urls import GROUP

from .programs import ROOT

REFERENCE = ROOT / "docs/reference"
PAGES = {path.name: path.read_text("utf-8") for path in REFERENCE.glob("*.md")}
SHOWN = re.findall(r"^::: (\S+)$|^#.*\{#(wsrooms\.\S+)\}$", "\n".join(PAGES.values()), re.MULTILINE)
NAMES = sorted(one or other for one, other in SHOWN)
PACKAGES = [
    "wsrooms",
    "wsrooms.transports",
    "wsrooms.testing",
    "wsrooms.testing.conformance",
    *sorted({point.module for point in importlib.metadata.entry_points(group=GROUP)}),
]


def public_names() -> list[str]:
    """Where each public name is imported from: the package that is nearest to ``wsrooms``."""
    found: dict[tuple[str, str], str] = {}
    for package in PACKAGES:
        distribution = package.partition(".")[0]
        for name in importlib.import_module(package).__all__:
            found.setdefault((distribution, name), f"{package}.{name}")
    versions = {f"{package}.__version__" for package in PACKAGES} - {"wsrooms.__version__"}
    return sorted(set(found.values()) - versions)  # they are the core's


def test_every_public_name_is_on_exactly_one_page_of_the_reference() -> None:
    assert public_names() == NAMES


def test_the_overview_links_every_page() -> None:
    linked = set(re.findall(r"\]\((\w+\.md)\)", PAGES["index.md"]))
    assert linked == PAGES.keys() - {"index.md"}


def test_the_errors_are_drawn_as_their_module_draws_them() -> None:
    (shown,) = re.findall(r"^```text\n(.*?)\n```$", PAGES["errors.md"], re.MULTILINE | re.DOTALL)
    drawn = textwrap.indent(shown, "    ")
    assert errors.__doc__ is not None
    assert drawn in errors.__doc__


def test_the_options_of_an_app_have_the_defaults_that_the_page_says() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", PAGES["options.md"], re.MULTILINE)
    parameters = inspect.signature(WsApp).parameters.values()
    assert rows == [(each.name, repr(each.default)) for each in parameters]
