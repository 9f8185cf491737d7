"""Writes docs/errors.md from the tests of tests/gallery, by running them.

Each test there is one mistake: its code, and what came of it. The page shows both as they
were in this run, so it cannot tell what nobody ever saw. With ``--check`` nothing is
written, and it fails if the page is not what this run gives. A mistake that cannot be made on
this machine, since it takes a broker in Docker, stays on the page as it is.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    Mistake = Any  # of tests/gallery/conftest.py

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "errors.md"
WIDTH = 80

GROUPS = {
    "test_declaring": "Declaring routes and hooks",
    "test_starting": "Making and starting an app",
    "test_transports": "Between instances",
    "test_redis": "Redis between them",
    "test_nats": "NATS between them",
    "test_kafka": "Kafka between them",
    "test_handling": "Handling messages",
    "test_sending": "Sending",
    "test_reaching": "Clients",
}

HEAD = """\
<!-- Written by tools/errors_page.py from tests/gallery: change those, not this page. -->

# Errors

The likeliest mistakes, each with what it says and what to do. Every piece of code here was
run as `app.py`, and what is shown below it is what came of that; long lines are broken.

What a program does wrong while it declares or starts is a `ConfigurationError`, with its
facts as attributes. While it serves, a client is told what `WsError` says, and by a code
what the library refuses (400, 404, 422, 429, 503); all else is 500 for the client, and a
traceback in the log, which is the logger `wsrooms`. What is no error, and yet may be a
mistake, is told in [debug mode](debugging.md).
"""


class Gallery:
    """The plugin that the tests hand their mistakes to."""

    __name__ = "errors page"  # by which their fixture finds it

    def __init__(self) -> None:
        self.titles: dict[str, dict[str, str]] = {}
        self.mistakes: dict[tuple[str, str], Mistake] = {}
        self.skipped: set[tuple[str, str]] = set()

    def take(self, group: str, mistake: Mistake) -> None:
        self.mistakes[group, mistake.name] = mistake

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            assert isinstance(item, pytest.Function)
            title = (inspect.getdoc(item.function) or "").partition("\n")[0].removesuffix(".")
            self.titles.setdefault(item.path.stem, {})[item.name] = title

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            path, _, name = report.nodeid.rpartition("::")
            self.skipped.add((Path(path).stem, name))


def run_gallery() -> Gallery:
    """All mistakes, made now."""
    gallery = Gallery()
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
        failed = pytest.main([*options, str(ROOT / "tests/gallery")], plugins=[gallery])
    if failed:
        sys.exit(f"{told.getvalue()}\nthe tests of the gallery fail")
    return gallery


def page_of(gallery: Gallery, present: str) -> str:
    """The whole page; from the ``present`` one comes what cannot be made here."""
    unknown = gallery.titles.keys() - GROUPS.keys()
    assert not unknown, f"{', '.join(unknown)}: name them in GROUPS"
    parts = [HEAD]
    for group, heading in GROUPS.items():
        parts.append(f"## {heading}\n")
        for name, title in gallery.titles[group].items():
            if (group, name) in gallery.skipped:
                parts.append(kept(title, present))
            else:
                parts.append(entry(gallery.mistakes[group, name]))
    return "\n".join(parts)


def kept(title: str, present: str) -> str:
    """What the page says of a mistake that cannot be made here."""
    found = re.search(
        rf"^### {re.escape(title)}\n.*?(?=\n^##|\Z)", present, re.MULTILINE | re.DOTALL
    )
    if found is None:
        sys.exit(f"docs/errors.md lacks {title!r}, which cannot be made on this machine")
    return found[0]


def entry(mistake: Mistake) -> str:
    """One mistake: code and outcome, why, remedy."""
    lines = [f"### {mistake.title}\n"]
    for step in mistake.steps:
        lines.append(f'```python title="app.py"\n{step.code}```\n')
        if step.client:
            lines.append(block("The client:", step.client))
        if step.raised:
            lines.append(block("It ends with:", [step.raised]))
        if step.log:
            lines.append(block("In the log:", step.log))
    for name, text in (("Why", mistake.why), ("Remedy", mistake.remedy)):
        lines.append(filled(f"**{name}.** {text}") + "\n")
    return "\n".join(lines)


def block(head: str, texts: list[str]) -> str:
    """What is seen, as it is but for the length of its lines."""
    lines = [part for text in texts for line in text.splitlines() for part in broken(line)]
    return "\n".join([head, "", "```text", *lines, "```", ""])


def broken(line: str) -> list[str]:
    """A line in pieces that a page can show."""
    return textwrap.wrap(line, WIDTH, break_long_words=False, break_on_hyphens=False) or [line]


def filled(text: str) -> str:
    """A paragraph."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def main(*, check: bool) -> None:
    present = PAGE.read_text("utf-8") if PAGE.exists() else ""
    page = page_of(run_gallery(), present)
    if not check:
        PAGE.write_text(page, "utf-8")
    elif page != present:
        sys.exit("docs/errors.md is not what the gallery gives: run tools/errors_page.py")


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])
