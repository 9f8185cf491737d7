"""Packages of several versions: which go together, and what is said of those that do not.

The next patch and the next minor are made from a copy of this repository, as ``make version``
makes them. What an installer chooses is asked of empty wheels that only ask for each other,
so that no index has a say.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from bare import Environment
from make_dist import build
from release import CORE, Refused, packages, parsed, set_version, version

if TYPE_CHECKING:
    from pathlib import Path

Case = Callable[[], Coroutine[Any, Any, None]]
EPOCH = "1580601600"  # 2020-02-02, as good as any: nobody keeps them


class Mixed:
    """The next versions of the packages of a repository, and what is tried with them.

    Args:
        root: The repository.
        work: A folder for all that is made; it does not exist yet.
        python: The interpreter of the environments.
        urls: A broker for each transport.

    Attributes:
        now: The version of the repository.
        patch: The next one that changes nothing between the packages.
        minor: The next one that may.
    """

    def __init__(self, root: Path, work: Path, python: str, urls: Sequence[str]) -> None:
        self._root = root
        self._work = work
        self._python = python
        self._urls = urls
        self._made = count()
        self.now = version(root)
        first, second, third = parsed(self.now)
        self.patch = f"{first}.{second}.{third + 1}"
        self.minor = f"{first}.{second + 1}.0"
        self.siblings = sorted(packages(root).keys() - {CORE})

    def build(self) -> None:
        """Build the packages of all three versions."""
        for number in (self.now, self.patch, self.minor):
            copy = self._work / "source" / number
            caches = shutil.ignore_patterns("__pycache__")
            shutil.copytree(self._root / "packages", copy / "packages", ignore=caches)
            (copy / "CHANGELOG.md").write_text("## [Unreleased]\n\n- Something.\n", "utf-8")
            set_version(copy, number, date(2020, 2, 2))
            build(packages(copy).values(), self._work / "dist", EPOCH, kinds=["wheel"])

    def cases(self) -> Iterator[tuple[str, Case]]:
        """What is tried, each with the sentence that it shows."""
        for core, others in ((self.now, self.patch), (self.patch, self.now)):
            yield (
                f"{CORE} {core} carries messages with the transports of {others}",
                partial(self._carries, core, others),
            )
        for core, others in ((self.now, self.minor), (self.minor, self.now)):
            for name in self.siblings:
                yield (
                    f"{CORE} {core} is not installed with {name} {others}",
                    partial(self._is_refused, {CORE: core, name: others}),
                )
            yield (
                f"{CORE} {core} says what to do about transports of {others} that are there",
                partial(self._says_so, core, others),
            )
        # The steps of a release in CONTRIBUTING.md: the core is uploaded last.
        for uploaded in range(len(self.siblings) + 1):
            out = self.siblings[:uploaded]
            yield (
                f"as long as {', '.join(out) or 'nothing'} of {self.minor} is out, "
                f"{self.now} is chosen",
                partial(self._chooses, self.now, out),
            )
        yield (
            f"once {CORE} {self.minor} is out too, {self.minor} is chosen",
            partial(self._chooses, self.minor, [*self.siblings, CORE]),
        )

    async def _carries(self, core: str, others: str) -> None:
        environment = await self._environment()
        ours = {CORE: core, **dict.fromkeys(self.siblings, others)}
        addresses = [f"{each[0]} @ {self._wheel(*each).as_uri()}" for each in ours.items()]
        await environment.install(f"{CORE}[all]", constraints=addresses)
        await environment.check("check_transport.py", *self._urls)

    async def _is_refused(self, versions: Mapping[str, str]) -> None:
        environment = await self._environment()
        every = [CORE, *self.siblings]
        index = self._index(environment, now=every, minor=every)
        requirements = [f"{name}=={number}" for name, number in versions.items()]
        try:
            found = await environment.resolve(index, *requirements)
        except Refused as refused:
            if f"depends on {CORE}" not in str(refused):
                raise
        else:
            raise Refused(f"{requirements} would be installed: {found}")

    async def _says_so(self, core: str, others: str) -> None:
        """Forced, as by ``pip install -U wsrooms-core``, which only warns."""
        environment = await self._environment()
        await environment.install(self._wheel(CORE, core))
        left = [self._wheel(name, others) for name in self.siblings]
        await environment.install("--no-deps", *left)
        extras = [name.removeprefix("wsrooms-") for name in self.siblings]
        await environment.check("check_transport.py", "--mixed", *extras)

    async def _chooses(self, wanted: str, out: Sequence[str]) -> None:
        """Where of the next minor only ``out`` is there, somebody who has nothing gets this."""
        environment = await self._environment()
        index = self._index(environment, now=[CORE, *self.siblings], minor=out)
        for requirements in ([f"{CORE}[all]"], [CORE], self.siblings):
            found = await environment.resolve(index, *requirements)
            if set(found.values()) != {wanted}:
                raise Refused(f"{requirements} would be {found}, not of {wanted}")

    async def _environment(self) -> Environment:
        made = Environment(self._work / f"environment-{next(self._made)}", self._python)
        await made.make()
        return made

    def _wheel(self, name: str, number: str) -> Path:
        return self._work / "dist" / f"{name.replace('-', '_')}-{number}-py3-none-any.whl"

    def _index(self, environment: Environment, now: Sequence[str], minor: Sequence[str]) -> Path:
        """A folder with these packages of this version and of the next minor, all empty."""
        index = environment.folder / "index"
        index.mkdir()
        for number, names in ((self.now, now), (self.minor, minor)):
            for name in names:
                _empty(self._wheel(name, number), index)
        return index


def _empty(wheel: Path, into: Path) -> None:
    """A wheel that says what ``wheel`` says, but asks only for other packages of ours."""
    foreign = re.compile(r"^Requires-Dist: (?!wsrooms-).*\n", re.MULTILINE)
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(into / wheel.name, "w") as made:
        for name in whole.namelist():
            if name.endswith(".dist-info/METADATA"):
                made.writestr(name, foreign.sub("", whole.read(name).decode()))
            elif ".dist-info/" in name:
                made.writestr(name, whole.read(name))
