"""`make` on a machine where nothing is prepared: tools/run.sh and tools/bootstrap.py.

Each test runs the real `make` in a copy of the repository, with a PATH that holds make, a
shell and what its sentence names, and with no virtual environment. Where Python lacks
ensurepip or pip, it is a real installation without them, as Debian's is.

The packages are those of the repository in one test. In the others they stand for them: with
the same names and ways to need and to find each other, but nothing in them, they are installed
without a registry and in a tenth of the time.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.deadlines import promised

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="make is for Linux and macOS"),
]


@pytest.fixture(scope="session")
def registry() -> None:
    """Skip where no package registry answers."""
    uv = [find_uv_bin(), "pip", "install", "--python", sys.executable, "--quiet"]
    asked = subprocess.run(
        [*uv, "--dry-run", "--refresh", "--reinstall", "msgspec"], capture_output=True, text=True
    )
    if asked.returncode:
        pytest.skip(f"no package registry can be reached: {asked.stderr.strip()}")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A copy of the repository with an empty PATH, in a folder whose name has a space."""
    return Clone(tmp_path / "a clone", tmp_path / "bin")


# What stands for a package, and for the demo: it names the transports that it finds.
PROJECT = """
[build-system]
requires = []
build-backend = "stand_in"
backend-path = ["."]

[project]
name = "wsrooms-{name}"
version = "0.1.0"
dependencies = [{needs}]

[project.entry-points."wsrooms.transports"]
{points}

[tool.uv.sources]
wsrooms-core = {{ workspace = true }}
"""
DEMO = """
from importlib.metadata import entry_points
print("--port", *(each.load() for each in entry_points(group="wsrooms.transports")))
"""
TRANSPORTS = ("kafka", "nats", "redis")


class Clone:
    """A copy of the repository, and the PATH on which its `make` runs."""

    def __init__(self, root: Path, path: Path) -> None:
        self.root = root
        self.path = path
        root.mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, root)
        self.copy("tools")
        self._stand_in("core", "wsrooms/demo/__main__.py", DEMO)
        for name in TRANSPORTS:
            self._stand_in(
                name,
                f"wsrooms_{name}/__init__.py",
                f"found = 'the transport of {name}'",
                needs="'wsrooms-core>=0.1,<0.2'",
                points=f"{name} = 'wsrooms_{name}:found'",
            )
        path.mkdir()
        self.on_path("make", shutil.which("make"))
        self.on_path("sh", shutil.which("sh"))

    def copy(self, name: str) -> None:
        """A folder of the repository."""
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, self.root / name, ignore=ignored)

    def _stand_in(
        self, name: str, module: str, text: str, needs: str = "", points: str = ""
    ) -> None:
        folder = self.root / f"packages/wsrooms-{name}"
        path = folder / "src" / module
        path.parent.mkdir(parents=True)
        path.write_text(text, "utf-8")
        project = PROJECT.format(name=name, needs=needs, points=points)
        (folder / "pyproject.toml").write_text(project, "utf-8")
        shutil.copy(ROOT / "tests/repo/stand_in.py", folder)

    def on_path(self, name: str, target: str | Path | None) -> None:
        assert target is not None, f"this machine has no {name}"
        (self.path / name).unlink(missing_ok=True)
        (self.path / name).symlink_to(target)

    def change(self, former: str, new: str) -> None:
        """In the clone's pyproject.toml."""
        file = self.root / "pyproject.toml"
        text = file.read_text("utf-8")
        assert text.count(former) == 1, former
        file.write_text(text.replace(former, new), "utf-8")

    def script_on_path(self, name: str, *lines: str) -> None:
        script = self.path / name
        script.unlink(missing_ok=True)
        script.write_text("\n".join(("#!/bin/sh", *lines, "")))
        script.chmod(0o755)

    def start(self, *arguments: str, program: str = "make") -> subprocess.Popen[str]:
        inherited = ("PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS", "COVERAGE")
        variables = {k: v for k, v in os.environ.items() if not k.startswith(inherited)}
        return subprocess.Popen(
            [program, *arguments],
            cwd=self.root,
            env=variables | {"PATH": str(self.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def make(self, *arguments: str) -> Result:
        before = processor_time_of_children()
        with self.start(*arguments) as process:
            stdout, stderr = process.communicate()
        seconds = processor_time_of_children() - before
        return Result(process.returncode, stdout, stderr, seconds)


def processor_time_of_children() -> float:
    """Seconds: unlike those of the clock, they are the same on a busy machine."""
    children = os.times()
    return children.children_user + children.children_system


class Result:
    """How a `make` ended, and what it cost."""

    def __init__(self, status: int, stdout: str, stderr: str, seconds: float) -> None:
        self.status = status
        self.stdout = stdout
        # What make itself says about a failed command is not ours.
        self.errors = [line for line in stderr.splitlines() if not line.startswith("make: ***")]
        self.seconds = seconds

    def must_have_shown_the_help_of_the_demo(self) -> None:
        assert self.status == 0, (self.stdout, self.errors)
        assert "--port" in self.stdout
        assert self.errors == []

    def must_have_found_the_transport(self) -> None:
        """By the metadata of its package, which is installed beside the core."""
        self.must_have_shown_the_help_of_the_demo()
        assert "the transport of redis" in self.stdout


def let_the_demo_have_a_transport(clone: Clone) -> None:
    clone.change('demo = ["wsrooms-core"]', 'demo = ["wsrooms-redis"]')


def installed(clone: Clone) -> set[str]:
    """The packages of this repository that its .venv has."""
    found = clone.root.glob(".venv/lib/python*/site-packages/wsrooms_*.dist-info")
    return {each.name.partition("-")[0] for each in found}


def python_without_ensurepip(prefix: Path) -> Path:
    """Lay out this Python under ``prefix`` as Debian does: no ensurepip, no pip."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    copy = prefix / stdlib.relative_to(sys.base_prefix)
    copy.mkdir(parents=True)
    for entry in stdlib.iterdir():
        if entry.name not in ("ensurepip", "site-packages", "dist-packages"):
            (copy / entry.name).symlink_to(entry)
    python = prefix / "bin" / PYTHON.name
    python.parent.mkdir()
    shutil.copy2(PYTHON, python)
    return python


def install_pip(python: Path) -> None:
    """Give ``python`` a pip, as Debian's python3-pip does."""
    tell = "import site; print(site.getsitepackages()[-1])"
    folder = subprocess.check_output([python, "-Ic", tell], text=True).strip()
    uv = [find_uv_bin(), "pip", "install", "--python", sys.executable, "--quiet"]
    subprocess.run([*uv, "--target", folder, "pip"], check=True)


def second_run_is_immediate(clone: Clone) -> None:
    again = clone.make("demo", "ARGS=--help")
    again.must_have_shown_the_help_of_the_demo()
    assert "wsrooms:" not in again.stdout
    assert again.seconds < promised(2.0)


def test_uv_on_path_is_used_first(clone: Clone) -> None:
    clone.on_path("python3", PYTHON)
    clone.on_path("uv", find_uv_bin())
    let_the_demo_have_a_transport(clone)
    first = clone.make("demo", "ARGS=--help")
    first.must_have_found_the_transport()
    assert "making .venv with uv" in first.stdout
    second_run_is_immediate(clone)


@pytest.mark.usefixtures("registry")
def test_the_packages_are_installed_and_find_each_other(clone: Clone) -> None:
    clone.on_path("python3", PYTHON)
    clone.on_path("uv", find_uv_bin())
    shutil.rmtree(clone.root / "packages")
    clone.copy("packages")
    let_the_demo_have_a_transport(clone)
    clone.make("demo", "ARGS=--help").must_have_shown_the_help_of_the_demo()
    assert installed(clone) == {"wsrooms_core", "wsrooms_redis"}
    code = "from wsrooms.transports import *; print(transport_from_url('redis://localhost'))"
    command = ("tools/run.sh", "demo", "python", "-c", code)
    with clone.start(*command, program=str(clone.path / "sh")) as process:
        stdout, stderr = process.communicate()
    assert "RedisTransport" in stdout, stderr


def test_without_uv_there_are_venv_and_pip(clone: Clone) -> None:
    clone.on_path("python3", PYTHON)
    let_the_demo_have_a_transport(clone)
    first = clone.make("demo", "ARGS=--help")
    first.must_have_found_the_transport()
    assert "making .venv with venv and pip" in first.stdout
    second_run_is_immediate(clone)


@pytest.mark.usefixtures("registry")
def test_without_a_working_venv_pip_installs_into_a_folder(clone: Clone, tmp_path: Path) -> None:
    python = python_without_ensurepip(tmp_path / "python")
    install_pip(python)
    clone.on_path("python3", python)
    let_the_demo_have_a_transport(clone)
    first = clone.make("demo", "ARGS=--help")
    first.must_have_found_the_transport()
    assert "pip installs into .deps/demo" in first.stdout
    assert not (clone.root / ".venv").exists()
    second_run_is_immediate(clone)


def test_without_any_installer_one_line_says_what_to_install(clone: Clone, tmp_path: Path) -> None:
    clone.on_path("python3", python_without_ensurepip(tmp_path / "python"))
    result = clone.make("demo")
    assert result.status != 0
    assert result.stdout == ""
    [line] = result.errors
    assert "apt install python3-venv" in line


def test_without_python_one_line_says_what_to_install(clone: Clone) -> None:
    result = clone.make("demo")
    assert result.status != 0
    assert result.stdout == ""
    [line] = result.errors
    assert "no Python 3.11 or newer" in line


def test_an_old_python_is_passed_over_for_a_newer_name(clone: Clone) -> None:
    clone.script_on_path("python3", "exit 1")
    clone.script_on_path("python3.13", 'echo "found $0"')
    result = clone.make("demo")
    assert "found" in result.stdout


@pytest.mark.usefixtures("registry")
def test_each_target_brings_only_its_own_group(clone: Clone) -> None:
    clone.on_path("python3", PYTHON)
    clone.on_path("uv", find_uv_bin())
    clone.make("demo", "ARGS=--help").must_have_shown_the_help_of_the_demo()
    assert installed(clone) == {"wsrooms_core"}
    clone.change('docs = ["mkdocs', 'docs = ["iniconfig"] # "mkdocs')
    command = ("tools/run.sh", "docs", "python", "-m", "wsrooms.demo")
    with clone.start(*command, program=str(clone.path / "sh")) as process:
        stdout, stderr = process.communicate()
    others = ", ".join(f"wsrooms-{name}" for name in TRANSPORTS)
    assert f"installing of this repository: {others}\n" in stdout, stderr
    assert "installing for docs: iniconfig\n" in stdout
    assert installed(clone) == {"wsrooms_core", *(f"wsrooms_{name}" for name in TRANSPORTS)}
    second_run_is_immediate(clone)


def test_two_at_once_install_once(clone: Clone) -> None:
    clone.on_path("python3", PYTHON)
    clone.on_path("uv", find_uv_bin())
    with clone.start("demo", "ARGS=--help") as one, clone.start("demo", "ARGS=--help") as other:
        outputs = [one.communicate()[0], other.communicate()[0]]
    assert (one.returncode, other.returncode) == (0, 0)
    assert sum("making .venv" in output for output in outputs) == 1
    assert all("--port" in output for output in outputs)


def test_a_killed_installation_is_done_anew(clone: Clone) -> None:
    clone.on_path("python3", PYTHON)
    kill = f'case "$*" in "pip install"*) kill -{signal.SIGKILL:d} $PPID; exit 1;; esac'
    clone.script_on_path("uv", kill, f'exec "{find_uv_bin()}" "$@"')
    assert clone.make("demo", "ARGS=--help").status != 0
    clone.on_path("uv", find_uv_bin())
    again = clone.make("demo", "ARGS=--help")
    again.must_have_shown_the_help_of_the_demo()
    assert "making .venv with uv" in again.stdout


def test_a_failed_installation_shows_the_installers_words_and_is_tried_again(clone: Clone) -> None:
    clone.on_path("python3", PYTHON)
    fail = 'case "$*" in "pip install"*) echo "the registry is on fire" >&2; exit 1;; esac'
    clone.script_on_path("uv", fail, f'exec "{find_uv_bin()}" "$@"')
    failed = clone.make("demo", "ARGS=--help")
    assert failed.status != 0
    assert failed.errors == [
        "the registry is on fire",
        "wsrooms: installing failed; the lines above say why",
    ]
    clone.on_path("uv", find_uv_bin())
    clone.make("demo", "ARGS=--help").must_have_shown_the_help_of_the_demo()


def test_a_moved_clone_makes_its_environment_anew(clone: Clone, tmp_path: Path) -> None:
    clone.on_path("python3", PYTHON)
    clone.on_path("uv", find_uv_bin())
    clone.make("demo", "ARGS=--help").must_have_shown_the_help_of_the_demo()
    clone.root = clone.root.rename(tmp_path / "moved")
    moved = clone.make("demo", "ARGS=--help")
    moved.must_have_shown_the_help_of_the_demo()
    assert "making .venv with uv" in moved.stdout


@pytest.mark.usefixtures("registry")
def test_changed_requirements_are_installed(clone: Clone) -> None:
    clone.on_path("python3", PYTHON)
    clone.on_path("uv", find_uv_bin())
    clone.make("demo", "ARGS=--help").must_have_shown_the_help_of_the_demo()
    clone.change("demo = []", 'demo = ["iniconfig"]')
    changed = clone.make("demo", "ARGS=--help")
    changed.must_have_shown_the_help_of_the_demo()
    assert "installing for demo: iniconfig" in changed.stdout
    assert "installing of this repository" not in changed.stdout
    let_the_demo_have_a_transport(clone)
    changed = clone.make("demo", "ARGS=--help")
    changed.must_have_found_the_transport()
    assert "installing of this repository: wsrooms-redis\n" in changed.stdout
    assert "making .venv" not in changed.stdout


def test_an_environment_that_somebody_made_is_used_and_kept(clone: Clone) -> None:
    clone.on_path("python3", PYTHON)
    clone.on_path("uv", find_uv_bin())
    subprocess.run(
        [find_uv_bin(), "venv", "--quiet", "--python", PYTHON, ".venv"], cwd=clone.root, check=True
    )
    theirs = clone.root / ".venv" / "theirs"
    theirs.touch()
    first = clone.make("demo", "ARGS=--help")
    first.must_have_shown_the_help_of_the_demo()
    assert "using the .venv that is here" in first.stdout
    assert theirs.exists()
