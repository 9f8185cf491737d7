"""Virtual environments with nothing in them but what is installed there: for trying archives.

They are made by uv, outside of the workspace, so that no source of ours is in reach.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from release import ROOT, Refused
from uv import find_uv_bin

DEADLINE = 300.0
"""Seconds for one command, which may wait for an index that does not answer."""


@dataclass
class Environment:
    """A virtual environment of ``python`` in ``folder``.

    Attributes:
        folder: Where it is; nothing is there before ``make``.
        python: The interpreter that it is made of.
    """

    folder: Path
    python: str

    @property
    def program(self) -> str:
        """Its own Python."""
        return str(self.folder / "bin/python")

    async def make(self) -> None:
        await run(_UV, "venv", "--quiet", "--no-project", "--python", self.python, self.folder)

    async def install(self, *arguments: str | Path, constraints: Iterable[str] = ()) -> None:
        """What ``pip install`` with these arguments does, within ``constraints``.

        Raises:
            Refused: The installer refuses it.
        """
        limits = self.folder / "constraints.txt"
        limits.write_text("\n".join([*constraints, ""]), "utf-8")
        command = (_UV, "pip", "install", "--quiet", "--python", self.program)
        await run(*command, "--constraint", limits, *arguments)

    async def resolve(self, index: Path, *requirements: str) -> dict[str, str]:
        """The versions that would be installed if ``index`` were all there is.

        Raises:
            Refused: None go together.
        """
        said = await run(
            *(_UV, "pip", "install", "--dry-run", "--python", self.program),
            *("--no-index", "--find-links", str(index), *requirements),
        )
        return dict(re.findall(r"^ \+ ([\w-]+)==(\S+)", said, re.MULTILINE))

    async def check(self, tool: str, *arguments: str) -> str:
        """What the tool of ours says there, where a warning is an error.

        Raises:
            Refused: It fails.
        """
        return await run(self.program, "-I", "-B", "-W", "error", ROOT / "tools" / tool, *arguments)

    def installed(self) -> dict[str, str]:
        """The versions of what is there, by its normalised name."""
        found = self.folder.glob("lib/python3*/site-packages/*.dist-info")
        pairs = (path.name.removesuffix(".dist-info").rsplit("-", 1) for path in found)
        return {normalised(name): number for name, number in pairs}


def normalised(name: str) -> str:
    """The one spelling of a package's name: an index takes several for the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


_UV = find_uv_bin()


async def run(*command: str | Path) -> str:
    """What ``command`` says.

    Nothing of it is left when this ends, however it does: it is killed with all that it has
    started.

    Raises:
        Refused: It fails; what it said is in the text.
        TimeoutError: It does not end.
    """
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        env=variables,
        cwd=ROOT.anchor,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            # What it has started holds the pipe too, and would be waited for.
            os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()
    said = output.decode()
    if process.returncode:
        raise Refused(f"{' '.join(map(str, command))}\n{said.strip()}")
    return said
