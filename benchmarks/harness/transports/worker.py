"""A process that has one subject, and is told what to do."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmarks.harness.results import MADE
from benchmarks.harness.server import Failed, Watched

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Worker"]


class Worker(Watched):
    """A process that has the subject."""

    def __init__(self, name: str, url: str) -> None:
        """Start it, and let it connect."""
        log = MADE / "logs" / f"transports-{name}-process.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        command = [sys.executable, "-m", "benchmarks.harness.transports.child", name, url]
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=Path(__file__).resolve().parents[3],
            )
        self.pid = self._process.pid
        self.do("start")

    def do(self, what: str, **given: object) -> Any:
        """Tell it to do something; returns what it answers.

        Raises:
            Failed: It has ended instead.
        """
        self.tell(what, **given)
        return self.answer(what)

    def tell(self, what: str, **given: object) -> None:
        """Let it do something, whose answer is to be taken before it is told anything else."""
        assert self._process.stdin is not None
        # Whoever has ended gives no answer either.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps({"do": what, **given}) + "\n")
            self._process.stdin.flush()

    def answer(self, what: str) -> Any:
        """What it answers.

        Raises:
            Failed: It has ended instead.
        """
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            last = self._log.read_text("utf-8", "replace").strip().splitlines()[-1:]
            raise Failed(f"it ended when told to {what}: {''.join(last)}")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
