"""Writes docs/errors.md from the tests of tests/gallery, by running them.

Each test there is one mistake: its code, and what came of it. The page shows both as they
were in this run, so it cannot tell what nobody ever saw. With ``--check`` nothing is
written, and it fails if the page is not what this run gives.
"""

from __future__ import annotations

import contextlib
import io
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
        self.mistakes: dict[str, list[Mistake]] = {}

    def take(self, group: str, mistake: Mistake) -> None:
        self.mistakes.setdefault(group, []).append(mistake)


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


def page_of(gallery: Gallery) -> str:
    """The whole page."""
    parts = [HEAD]
    for group, title in GROUPS.items():
        parts.append(f"## {title}\n")
        parts.extend(entry(mistake) for mistake in gallery.mistakes.pop(group))
    assert not gallery.mistakes, f"{', '.join(gallery.mistakes)}: name them in GROUPS"
    return "\n".join(parts)


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
    page = page_of(run_gallery())
    if check:
        if not PAGE.exists() or PAGE.read_text("utf-8") != page:
            sys.exit("docs/errors.md is not what the gallery gives: run tools/errors_page.py")
    else:
        PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])
