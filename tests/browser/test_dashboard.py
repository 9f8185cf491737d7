"""The dashboard of the how-tos, with its page in a real browser."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.brokers.ports import free_port

from .tabs import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "dashboard.py"
SERVE = """
import runpy, sys
names = runpy.run_path(sys.argv[1])
names["ws"].run(port=int(sys.argv[2]), path="/ws", http_handler=names["page"])
"""


@contextmanager
def dashboard(port: int) -> Iterator[subprocess.Popen[str]]:
    """The example, serving."""
    command = [sys.executable, "-c", SERVE, str(EXAMPLE), str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "listening" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def test_the_dashboard_shows_figures_and_comes_back_after_a_restart(
    context: BrowserContext,
) -> None:
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    port = free_port()
    with dashboard(port) as server:
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.locator("#state")).to_have_text("live")
        expect(page.locator("dt").first).to_have_text("connections")
        expect(page.locator("dd").first).to_have_text("1")
        cpu = page.locator("dd").last
        expect(cpu).not_to_have_text(cpu.inner_text())  # a push has come
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=20) == 0
        expect(page.locator("#state")).to_have_text("reconnecting …")
    with dashboard(port):
        expect(page.locator("#state")).to_have_text("live", timeout=20_000)
    assert complaints == []
