"""Installs the archives of ``dist/`` in every combination, and tries each with real brokers.

    python tools/combinations.py URL ...                make combinations
    python tools/combinations.py --only 3.13 URL ...    those whose line has these words

For each set of transports there is an environment with nothing else in it, on the lowest
versions of all that the packages ask for and on the newest: as a user makes it, ``pip
install "wsrooms-core[nats,redis]"``. There, with warnings as errors, each transport carries a
message over its broker, and the core says of each that lacks how it is installed. The main
Python has the lowest versions, the others of the machine have the newest (where it has no
other, the main one has both).

One more environment is made from the sdists, on the lowest version of what builds them. Then
come packages of several versions, which are ``mixed.py``'s.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, combinations
from pathlib import Path
from typing import Any

from bare import Environment, normalised
from floors import floors
from mixed import Mixed
from pythons import minor_version, pythons
from release import CORE, ROOT, Refused, packages, project, version


@dataclass(frozen=True)
class Archives:
    """The archives of all packages in a folder.

    Attributes:
        folder: Where they are.
        number: Their version.
    """

    folder: Path
    number: str

    def wheel(self, name: str) -> str:
        return self._address(name, "-py3-none-any.whl")

    def sdist(self, name: str) -> str:
        return self._address(name, ".tar.gz")

    def _address(self, name: str, ending: str) -> str:
        path = self.folder / f"{name.replace('-', '_')}-{self.number}{ending}"
        return f"{name} @ {path.resolve().as_uri()}"


@dataclass(frozen=True)
class Trial:
    """One environment that is to be made and tried.

    Attributes:
        transports: Which are installed, by the names of their extras.
        kind: Its dependencies, or what else is special about it.
        python: The version of its Python and where that is.
        ours: Where our packages come from, as constraints.
        limits: The versions of other packages.
        builder: The versions of what builds sdists.
    """

    transports: tuple[str, ...]
    kind: str
    python: tuple[str, str]
    ours: Callable[[str], str]
    limits: tuple[str, ...] = ()
    builder: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"Python {self.python[0]}, {self.kind}: core{''.join(f' {t}' for t in self.transports)}"
        )

    async def make(self, folder: Path, every: tuple[str, ...], urls: dict[str, str]) -> str:
        """Make the environment in ``folder`` and try it; returns what is in it.

        Raises:
            Refused: It is not as it must be.
        """
        environment = Environment(folder, self.python[1])
        await environment.make()
        extras = "all" if self.transports == every else ",".join(self.transports)
        # By address, so that an index which has this version too is never asked for it.
        ours = [self.ours(CORE), *(self.ours(f"wsrooms-{each}") for each in every)]
        options: list[str | Path] = []
        if self.builder:
            (folder / "builder.txt").write_text("\n".join(self.builder), "utf-8")
            options = ["--build-constraints", folder / "builder.txt"]
        wanted = f"{CORE}[{extras}]" if extras else CORE
        await environment.install(*options, wanted, constraints=[*ours, *self.limits])
        there = environment.installed()
        must = needed([CORE, *(f"wsrooms-{each}" for each in self.transports)])
        if wrong := [limit for limit in self.limits if not is_there(limit, there, must)]:
            raise Refused(f"{self}: there should be {', '.join(wrong)}, but there is {there}")
        transports = {name for name in there if name.startswith("wsrooms-")} - {CORE}
        if transports != {f"wsrooms-{each}" for each in self.transports}:
            raise Refused(f"{self}: {wanted} has brought {', '.join(sorted(transports))}")
        await environment.check("check_transport.py", *(urls[each] for each in self.transports))
        return " ".join(f"{name} {number}" for name, number in sorted(there.items()))


def is_there(limit: str, there: dict[str, str], must: set[str]) -> bool:
    """Whether the package of ``limit`` has that version; only those of ``must`` may not lack."""
    name, _, rest = limit.partition("==")
    name = normalised(name.strip())
    if name not in there:
        return name not in must
    return _parts(there[name]) == _parts(rest.partition(";")[0].strip())


def _parts(number: str) -> list[str]:
    """17.0 and 17 are one version."""
    return re.sub(r"(\.0)+$", "", number).split(".")


def needed(names: Iterable[str]) -> set[str]:
    """What the packages of ``names`` need from others, whatever the extras and the machine."""
    folders = packages(ROOT)
    asked = chain.from_iterable(project(folders[name])["dependencies"] for name in names)
    found = (re.split(r"[^\w.-]", line)[0] for line in asked if ";" not in line)
    return {normalised(name) for name in found} - folders.keys()


def lowest(names: Iterable[str]) -> tuple[str, ...]:
    """The lowest versions that the packages of ``names`` allow, without the words for extras."""
    folders = packages(ROOT)
    found = chain.from_iterable(floors(folders[name] / "pyproject.toml") for name in names)
    return tuple(sorted({re.sub(r"\[.*?\]", "", line) for line in found}))


def builders() -> tuple[str, ...]:
    """The lowest versions of what builds the packages."""
    found: set[str] = set()
    for folder in packages(ROOT).values():
        settings = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
        found |= {each.replace(">=", "==") for each in settings["build-system"]["requires"]}
    return tuple(sorted(found))


def main_python() -> str:
    """The interpreter that runs this, not the virtual environment's link to it."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def trials(archives: Archives, every: tuple[str, ...]) -> Iterator[Trial]:
    """All environments that are to be made."""
    main = (minor_version(main_python()), main_python())
    others = [pair for pair in sorted(pythons().items()) if pair[0] != main[0]]
    sets = [found for size in range(len(every) + 1) for found in combinations(every, size)]
    for transports in sets:
        floor = lowest([CORE, *(f"wsrooms-{each}" for each in transports)])
        yield Trial(transports, "lowest", main, archives.wheel, floor)
        for python in others or [main]:
            yield Trial(transports, "newest", python, archives.wheel)
    yield Trial(every, "from sdists", main, archives.sdist, builder=builders())


async def try_all(archives: Archives, urls: dict[str, str], only: str) -> None:
    """Make and try all whose line holds ``only``, as many at a time as there are processors.

    Raises:
        Refused: There is none of them, or a transport has no broker. One that fails does so in
            an ``ExceptionGroup``.
    """
    every = tuple(sorted(name.removeprefix("wsrooms-") for name in packages(ROOT) if name != CORE))
    if lacking := set(every) - urls.keys():
        raise Refused(f"there is no broker for {', '.join(sorted(lacking))}")
    turns = asyncio.Semaphore(os.cpu_count() or 1)

    async def one(sentence: str, case: Callable[[], Coroutine[Any, Any, str | None]]) -> None:
        async with turns:
            began = time.monotonic()
            told = await case()
            print(f"{sentence} ({time.monotonic() - began:.1f} s)", flush=True)
            if told:
                print(f"    {told}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        mixed = Mixed(ROOT, work / "mixed", main_python(), list(urls.values()))
        alike = [
            (str(trial), partial(trial.make, work / str(number), every, urls))
            for number, trial in enumerate(trials(archives, every))
            if only in str(trial)
        ]
        several = [(sentence, case) for sentence, case in mixed.cases() if only in sentence]
        if not (alike or several):
            raise Refused(f"there is no combination whose line has {only!r}")
        async with asyncio.TaskGroup() as group:
            for sentence, make in alike:
                group.create_task(one(sentence, make))
            if several:
                await asyncio.to_thread(mixed.build)
            for sentence, case in several:
                group.create_task(one(sentence, case))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER")
    parser.add_argument("--only", default="", metavar="WORDS")
    parser.add_argument("urls", nargs="+", metavar="URL")
    arguments = parser.parse_args()
    urls = {url.partition(":")[0]: url for url in arguments.urls}
    try:
        asyncio.run(try_all(Archives(arguments.dist, version(ROOT)), urls, arguments.only))
    except* Refused as refused:
        sys.exit("\n\n".join(str(each) for each in refused.exceptions))


if __name__ == "__main__":
    main()
