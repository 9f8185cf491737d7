"""The demo in a process that a test may kill, and a browser's tab in which a person chats.

Everything here waits for what a person would see, with a deadline, never for time.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import wsrooms
from tests.brokers.ports import free_port
from tests.deadlines import DEADLINE

pytest.importorskip("playwright.sync_api", reason="no playwright here: run make browser")

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Locator

__all__ = ["Server", "Tab", "expect"]

expect.set_options(timeout=DEADLINE * 1000)

# The browser's own words, which no page can keep it from writing, where a server is away.
CANNOT_CONNECT = "WebSocket connection to "


class Server:
    """``python -m wsrooms.demo`` in a process of its own, always on the same port."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._log = log
        self._read = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Return when the page can be opened."""
        source = str(Path(wsrooms.__file__).parent.parent)
        with self._log.open("a") as log:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "wsrooms.demo", "--port", str(self.port)],
                env={**os.environ, "PYTHONPATH": source, "PYTHONUTF8": "1"},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        if not any(self.url in line for line in process.stdout):
            pytest.fail(f"the demo did not start:\n{self._log.read_text()}")

    def kill(self) -> None:
        """As the system does it when memory runs out: no goodbye to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def stand_still(self) -> None:
        """Stop it in its tracks; its sockets stay open and say nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def take_complaints(self) -> list[str]:
        """What it has logged since the last time that is worse than information."""
        lines = self._log.read_text().splitlines()[self._read :]
        self._read += len(lines)
        return [line for line in lines if re.search(r"WARNING|ERROR|CRITICAL|Traceback", line)]


class Tab:
    """A tab with the chat, and what a person does and sees there.

    ``complaints`` is what the browser's console said in warning or error, and every
    exception that the page did not catch.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(DEADLINE * 1000)
        self.url = url
        self.complaints: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.banner = self.page.locator("#banner")
        self.box = self.page.locator("#text")
        self.dialog = self.page.locator("#ask")
        self.lines = self.page.locator("#log > ol > li")
        self.people = self.page.locator("#people-list li b")
        self.problem = self.page.locator("#ask-error")
        self.title = self.page.locator("#title")
        self.typing = self.page.locator("#typing")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("warning", "error") and not message.text.startswith(CANNOT_CONNECT):
            self.complaints.append(message.text)

    def open(self, room: str = "") -> None:
        self.page.goto(self.url + (f"#/chat/{room}" if room else ""))

    def answer(self, text: str) -> None:
        """Write into the dialog that is open, and press Enter."""
        self.page.locator("#ask-value").fill(text)
        self.page.locator("#ask-value").press("Enter")

    def is_in(self, room: str, *names: str) -> None:
        """See the room, with these people in it and nobody else."""
        expect(self.title).to_have_text(f"/chat/{room}")
        here = sorted(names, key=str.lower)
        expect(self.people).to_have_text(list(here))

    def go_to(self, room: str) -> None:
        """Go to another room: the list has it, or it is written into the field."""
        there = self.page.locator("#room-list .room > span", has_text=f"/{room}")
        if there.count():
            there.click()
        else:
            self.page.locator("#room-name").fill(room)
            self.page.locator("#room-name").press("Enter")
        expect(self.title).to_have_text(f"/chat/{room}")

    def say(self, text: str) -> None:
        """Say it, and wait until the server has it."""
        self.box.fill(text)
        self.box.press("Enter")
        expect(self.mine.last).to_have_text(re.compile(re.escape(text)))
        expect(self.page.locator(".msg.waiting")).to_have_count(0)
        expect(self.page.locator(".undelivered")).to_have_count(0)

    @property
    def mine(self) -> Locator:
        return self.page.locator(".msg.mine .bubble")

    def heard(self, text: str) -> Locator:
        """Where others said this."""
        return self.page.locator(".msg:not(.mine) .bubble", has_text=text)

    def hears(self, name: str, text: str) -> None:
        """See, as the last that was said, this, once."""
        expect(self.heard(text)).to_have_count(1)
        expect(self.page.locator(".msg").last.locator(".who")).to_have_text(name)

    def sees(self, line: str) -> None:
        """See this as the last line of the room."""
        expect(self.lines.last).to_have_text(line)

    def is_online(self) -> None:
        expect(self.banner).to_be_hidden()
        expect(self.page.locator("#my-state")).to_have_text("Connected")

    def is_offline(self) -> None:
        expect(self.banner).to_contain_text("Connection lost. Coming back by itself.")
        expect(self.page.locator("#my-state")).to_have_text("Not connected")
        expect(self.page.locator("#send")).to_be_disabled()
