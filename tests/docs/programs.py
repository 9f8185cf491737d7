"""What the tests of the documentation share: its programs, and a client that talks to them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect

# Loaded before a test's loop runs, which must not wait for it.
import wsrooms  # noqa: F401  # pyright: ignore[reportUnusedImport] - for what it brings
from tests.deadlines import DEADLINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def load(name: str, changes: Mapping[str, str] | None = None) -> ModuleType:
    """A fresh copy of an example, as if it had just been imported.

    Each text of ``changes`` stands in it, and is replaced: an address by the test's own.
    """
    spec = importlib.util.spec_from_file_location(Path(name).stem, EXAMPLES / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if changes is None:
        spec.loader.exec_module(module)
        return module
    source = (EXAMPLES / name).read_text("utf-8")
    for shown, meant in changes.items():
        assert shown in source, shown
        source = source.replace(shown, meant)
    exec(compile(source, name, "exec", dont_inherit=True), vars(module))
    return module


def copy(name: str, folder: Path) -> None:
    """Put an example where its reader would have saved it."""
    shutil.copy(EXAMPLES / name, folder)


def copy_folder(name: str, folder: Path) -> Path:
    """Put a folder of the examples where its reader would have, without what tools left in it."""
    left = shutil.ignore_patterns("__pycache__", ".*_cache")
    return Path(shutil.copytree(EXAMPLES / name, folder / Path(name).name, ignore=left))


def run_pytest(
    folder: Path,
    *arguments: str,
    timeout: float = 2 * DEADLINE,
    env: Mapping[str, str] | None = None,
) -> str:
    """What pytest says of the tests in ``folder``, which must pass without a warning.

    Its environment is ``env``, by default that of this process.
    """
    path = [str(Path(each).resolve()) for each in sys.path if each]  # wherever wsrooms is
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**(os.environ if env is None else env), "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    told = ran.stdout + ran.stderr
    assert ran.returncode == 0, told
    assert "warning" not in told.lower(), told
    return told


class Client:
    """A client that speaks the wire protocol, with a deadline on everything."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._id = 0

    async def receive(self) -> Any:
        async with asyncio.timeout(DEADLINE):
            return json.loads(await self._socket.recv())

    async def send(self, event: str, path: str, **members: object) -> None:
        await self._socket.send(json.dumps({"event": event, "path": path, **members}))

    async def call(self, event: str, path: str, **members: object) -> Any:
        self._id += 1
        await self.send(event, path, id=self._id, **members)
        reply = await self.receive()
        assert reply.pop("id") == self._id
        return reply

    async def close(self) -> None:
        await self._socket.close()

    async def end(self) -> tuple[int, str]:
        """The code and the reason with which the server closes, once it does."""
        async with asyncio.timeout(DEADLINE):
            await self._socket.wait_closed()
        assert self._socket.close_code is not None
        return self._socket.close_code, self._socket.close_reason or ""


@asynccontextmanager
async def client(url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[Client]:
    async with connect(url, compression=None, additional_headers=headers) as socket:
        yield Client(socket)
