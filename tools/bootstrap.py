"""Makes what a ``make`` target needs, then becomes its command.

    python3 tools/bootstrap.py GROUP COMMAND [ARGUMENT ...]

GROUP is a dependency group of ``pyproject.toml``. Its requirements and the packages of
this repository that ``[tool.bootstrap]`` names for it go into ``.venv`` (with uv, else with
venv and pip) or, where Python has no working venv, into ``.deps/GROUP``
(``pip install --target``). Versions come from ``constraints.txt``. A stamp tells the next run
that nothing has to be done, so that it reaches its command at once.

It owns ``.venv``, ``.deps`` and ``.bootstrap``, is standard library only, and starts with
any Python >= 3.11. Several may run at once, and one may be killed at any moment: work is
done under a lock, and a stamp is written only when its work is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

try:
    import fcntl
except ImportError:
    sys.exit("wsrooms: make works on Linux and macOS; elsewhere see CONTRIBUTING.md")

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin/python"
STAMPS = VENV / "bootstrap-stamps"
DEPS = ROOT / ".deps"
STATE = ROOT / ".bootstrap"
# Outside .venv, so that it outlasts a half-made one.
VENV_IN_WORK = STATE / "venv-in-work"

PIP_OPTIONS = ("--quiet", "--disable-pip-version-check")


class Unavailable(Exception):
    """This way of installing cannot work on this machine."""


@dataclass(frozen=True)
class Package:
    """One of this repository, and the key under which having it is remembered."""

    name: str
    folder: Path
    key: str


@dataclass(frozen=True)
class Plan:
    """What a group needs, and the key under which having it is remembered.

    Attributes:
        packages: Each after those that it needs itself.
    """

    group: str
    packages: tuple[Package, ...]
    requirements: tuple[str, ...]
    key: str

    @classmethod
    def read(cls, group: str) -> Plan:
        """Read what ``group`` needs; whatever changes that changes its key."""
        config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        groups = config["dependency-groups"]
        if group not in groups:
            fail(f"there is no dependency group {group!r} in pyproject.toml")
        packages = packages_of(config["tool"]["bootstrap"].get(group))
        requirements = tuple(sorted(set(expand(groups, group))))
        key = digest(*common_keys(), *(package.key for package in packages), *requirements)
        return cls(group, packages, requirements, key)

    def summary(self) -> str:
        """The names of what is installed, for a person."""
        outside = (name_of(requirement) for requirement in self.requirements)
        return ", ".join(outside) or names(self.packages)


def packages_of(wanted: Iterable[str] | None) -> tuple[Package, ...]:
    """The packages of these names, and those that they need; all of them for None."""
    there = {path.parent.name: path for path in sorted(ROOT.glob("packages/*/pyproject.toml"))}
    found: dict[str, Package] = {}

    def add(name: str) -> None:
        if name in found:
            return
        if name not in there:
            fail(f"there is no package {name!r} in packages, but in [tool.bootstrap]")
        text = there[name].read_text("utf-8")
        for requirement in tomllib.loads(text)["project"]["dependencies"]:
            if (needed := name_of(requirement)) in there:
                add(needed)
        found[name] = Package(name, there[name].parent, digest(*common_keys(), text))

    for name in there if wanted is None else wanted:
        add(name)
    return tuple(found.values())


def common_keys() -> tuple[str, str]:
    """What everything that is installed depends on: how that is done, and the versions."""
    return Path(__file__).read_text("utf-8"), CONSTRAINTS.read_text("utf-8")


def editable(packages: Iterable[Package]) -> list[str]:
    """These as arguments of an installer."""
    return [part for package in packages for part in ("-e", str(package.folder))]


@dataclass(frozen=True)
class Environment:
    """Where a group is installed, and so how a command starts there."""

    python: Path
    scripts: Path
    pythonpath: tuple[Path, ...] = ()

    def become(self, command: Sequence[str]) -> NoReturn:
        """Replace this process by ``command``."""
        variables = dict(os.environ)
        variables["PATH"] = joined(self.scripts, os.environ.get("PATH", os.defpath))
        if self.pythonpath:
            variables["PYTHONPATH"] = joined(*self.pythonpath, os.environ.get("PYTHONPATH"))
        name = str(self.python) if command[0] == "python" else command[0]
        program = shutil.which(name, path=variables["PATH"])
        if program is None:
            fail(f"there is no command {name!r} here")
        os.execve(program, [program, *command[1:]], variables)


def joined(*paths: str | Path | None) -> str:
    return os.pathsep.join(str(path) for path in paths if path)


def ready(plan: Plan) -> Environment | None:
    """The environment that has all of ``plan``, by its stamps; this installs nothing."""
    if venv_is_whole() and venv_has(plan.group, plan.key):
        return venv_environment()
    return target_if_ready(plan)


def prepare(plan: Plan) -> Environment:
    """Install ``plan`` in the first way that works here."""
    with one_at_a_time():
        environment = ready(plan)
        if environment:
            return environment
        started = time.monotonic()
        for way in (with_uv, with_venv, with_target):
            with contextlib.suppress(Unavailable):
                environment = way(plan)
                say(f"ready after {time.monotonic() - started:.1f} s")
                return environment
    fail(
        "needs uv, or Python's venv and pip: install one of them "
        "(Debian, Ubuntu: apt install python3-venv python3-pip) and run make again"
    )


def with_uv(plan: Plan) -> Environment:
    """``uv venv`` and ``uv pip install``."""
    uv = shutil.which("uv")
    if uv is None or not works(uv, "--version"):
        raise Unavailable
    make_venv("uv", uv, "venv", "--quiet", "--python", base_python())
    return fill_venv(plan, uv, "pip", "install", "--quiet", "--python", str(VENV_PYTHON))


def with_venv(plan: Plan) -> Environment:
    """``python -m venv`` and the pip that it brings."""
    if not works(base_python(), "-c", "import ensurepip, venv"):
        raise Unavailable
    if venv_is_whole() and not works(str(VENV_PYTHON), "-m", "pip", "--version"):
        say("replacing .venv: uv made it, so it has no pip, and uv is not here any more")
        VENV_IN_WORK.touch()
    make_venv("venv and pip", base_python(), "-m", "venv")
    return fill_venv(plan, str(VENV_PYTHON), "-m", "pip", "install", *PIP_OPTIONS)


def with_target(plan: Plan) -> Environment:
    """``pip install --target``: a folder for each group, used through ``PYTHONPATH``.

    The packages are installed editable for the sake of their metadata. Python does not
    read the ``.pth`` files there, so their ``src`` folders are on ``PYTHONPATH`` as well.
    """
    if not works(sys.executable, "-m", "pip", "--version"):
        raise Unavailable
    say(f"no uv and no working venv here, so pip installs into .deps/{plan.group}:")
    say(f"  {plan.summary()}")
    folder, unfinished = DEPS / plan.group, DEPS / f"{plan.group}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    run(
        *(sys.executable, "-m", "pip", "install", *PIP_OPTIONS, "--target", str(unfinished)),
        *("--constraint", str(CONSTRAINTS), *editable(plan.packages), *plan.requirements),
    )
    (unfinished / "stamp").write_text(target_key(plan), "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return target_environment(plan)


# --- .venv: one for all groups ---------------------------------------------------------------


def make_venv(tool: str, *command: str) -> None:
    """Make ``.venv`` unless a whole one is there."""
    if venv_is_whole() or adopt_venv():
        return
    say(f"making .venv with {tool} (Python {sys.version.split()[0]})")
    VENV_IN_WORK.touch()
    shutil.rmtree(VENV, ignore_errors=True)
    made = works(*command, str(VENV))
    if made:
        stamp_venv_made()
    else:
        shutil.rmtree(VENV, ignore_errors=True)
    VENV_IN_WORK.unlink()
    if not made:
        raise Unavailable


def fill_venv(plan: Plan, *install: str) -> Environment:
    """Install into ``.venv`` what ``plan`` needs and its stamps do not show."""
    install += ("--constraint", str(CONSTRAINTS))
    VENV_IN_WORK.touch()
    # A package has a stamp of its own: it may be running while a group is added.
    lacking = [each for each in plan.packages if not venv_has(each.name, each.key)]
    if lacking:
        say(f"installing of this repository: {names(lacking)}")
        run(*install, *editable(lacking), on_failure=VENV_IN_WORK.unlink)
        for package in lacking:
            (STAMPS / package.name).write_text(package.key, "utf-8")
    if plan.requirements:
        say(f"installing for {plan.group}: {plan.summary()}")
        run(*install, *plan.requirements, on_failure=VENV_IN_WORK.unlink)
    (STAMPS / plan.group).write_text(plan.key, "utf-8")
    VENV_IN_WORK.unlink()
    return venv_environment()


def venv_is_whole() -> bool:
    """Whether ``.venv`` was made here, its Python exists, and no work on it was cut short.

    A virtual environment holds absolute paths, so one that has been moved is not whole.
    """
    try:
        made = json.loads((STAMPS / "made").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return (
        not VENV_IN_WORK.exists()
        and made["root"] == str(ROOT)
        and Path(made["python"]).exists()
        and os.access(VENV_PYTHON, os.X_OK)
    )


def adopt_venv() -> bool:
    """Take over a working ``.venv`` that somebody made without ``make``."""
    test = "import sys; sys.exit(sys.version_info < (3, 11))"
    if VENV_IN_WORK.exists() or STAMPS.exists() or not works(str(VENV_PYTHON), "-c", test):
        return False
    say("using the .venv that is here")
    stamp_venv_made()
    return True


def stamp_venv_made() -> None:
    STAMPS.mkdir()
    made = {"root": str(ROOT), "python": os.path.realpath(VENV_PYTHON)}
    (STAMPS / "made").write_text(json.dumps(made), "utf-8")


def venv_has(name: str, key: str) -> bool:
    stamp = STAMPS / name
    return stamp.is_file() and stamp.read_text("utf-8") == key


def venv_environment() -> Environment:
    return Environment(VENV_PYTHON, VENV_PYTHON.parent)


# --- .deps: a folder for each group ----------------------------------------------------------


def target_if_ready(plan: Plan) -> Environment | None:
    stamp = DEPS / plan.group / "stamp"
    if stamp.is_file() and stamp.read_text("utf-8") == target_key(plan):
        return target_environment(plan)
    return None


def target_key(plan: Plan) -> str:
    return digest(plan.key, sys.executable, sys.version)


def target_environment(plan: Plan) -> Environment:
    folder = DEPS / plan.group
    sources = [package.folder / "src" for package in plan.packages]
    return Environment(Path(sys.executable), folder / "bin", (*sources, folder))


# --- small tools -----------------------------------------------------------------------------


def base_python() -> str:
    """The interpreter itself: not a virtual environment's, not a link to it.

    A virtual environment made through a link looks for its standard library beside the link.
    """
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@contextlib.contextmanager
def one_at_a_time() -> Generator[None]:
    """Hold the lock on the environments; the system frees it however this process ends."""
    STATE.mkdir(exist_ok=True)
    with (STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another make that is installing")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def works(*command: str) -> bool:
    """Whether ``command`` can be started and succeeds; what it prints is of no interest."""
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def run(*command: str, on_failure: Callable[[], None] = lambda: None) -> None:
    """Run ``command``, whose own words are the explanation where it fails."""
    # A group's folder or a virtual environment is root's own business.
    variables = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    if subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, check=False).returncode:
        on_failure()
        fail("installing failed; the lines above say why")


def expand(groups: dict[str, list[str | dict[str, str]]], group: str) -> Iterator[str]:
    """The requirements of ``group`` and of the groups that it includes."""
    for entry in groups[group]:
        if isinstance(entry, str):
            yield entry
        else:
            yield from expand(groups, entry["include-group"])


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def name_of(requirement: str) -> str:
    """The distribution that a requirement is about."""
    return re.split(r"[^\w.-]", requirement)[0]


def names(packages: Iterable[Package]) -> str:
    return ", ".join(package.name for package in packages)


def say(line: str) -> None:
    print(f"wsrooms: {line}", flush=True)


def fail(line: str) -> NoReturn:
    sys.stdout.flush()
    sys.exit(f"wsrooms: {line}")


def main(group: str, *command: str) -> NoReturn:
    """Prepare ``group`` unless that is done, then become ``command``."""
    plan = Plan.read(group)
    environment = ready(plan) or prepare(plan)
    environment.become(command)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
