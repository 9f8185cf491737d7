"""The page "From one instance to many": its one changed line, its figures, its project."""

from __future__ import annotations

import difflib
import os
import re
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from release import pin

from tests.brokers.containers import Engine, engine
from tests.brokers.record import missing
from tests.deadlines import DEADLINE
from wsrooms import __version__
from wsrooms.testing import connect_client

from .programs import EXAMPLES, ROOT, copy_folder, load, run_pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.brokers import Server

PAGE = (ROOT / "docs/many.md").read_text("utf-8")


def changed_lines() -> list[str]:
    one, many = (
        (EXAMPLES / name).read_text("utf-8").splitlines() for name in ("chat.py", "many/chat.py")
    )
    return [line for line in difflib.ndiff(one, many) if line[0] in "+-"]


def test_the_page_shows_the_one_line_in_which_the_programs_differ() -> None:
    [shown] = re.findall(r"^```diff\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert shown.splitlines() == [line[0] + line[2:] for line in changed_lines()]
    assert len(changed_lines()) == 2


async def test_the_program_with_that_line_spans_two_instances(redis: Server) -> None:
    there = {"localhost:6379": f"{redis.host}:{redis.port}"}
    one, other = load("many/chat.py", there).ws, load("many/chat.py", there).ws
    async with connect_client(one) as ann, connect_client(other) as bob:
        for each in (ann, bob):
            assert await each.call("join", "/chat/general", timeout=DEADLINE) == {"joined": True}
        ann.send("message", "/chat/general", "hello")
        assert (await bob.receive(timeout=DEADLINE))["data"] == "hello"


# The project


def a_users(**more: str) -> dict[str, str]:
    """What is in the environment of somebody who knows nothing of our tests."""
    ours = ("WSROOMS_", "PYTEST_", "CI", "TESTCONTAINERS_RYUK_DISABLED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # The image of its reaper is one more, which need not be here.
    return kept | {"TESTCONTAINERS_RYUK_DISABLED": "true"} | more


@pytest.mark.skipif(sys.platform == "win32", reason="brokers run on Linux and macOS")
def test_the_tests_of_the_project_pass_outside_the_repository(tmp_path: Path) -> None:
    docker = engine()
    reason = docker.lacks("redis:7") if isinstance(docker, Engine) else docker
    if reason:
        missing(reason)
    told = run_pytest(copy_folder("fleet_project", tmp_path), env=a_users(CI="true"))
    assert re.search(r"\b5 passed in\b", told), told


def test_without_docker_the_project_tests_the_rest_and_says_what_it_skips(tmp_path: Path) -> None:
    folder = copy_folder("fleet_project", tmp_path)
    told = run_pytest(folder, env=a_users(DOCKER_HOST="unix:///none"))
    assert re.search(r"\b3 passed, 2 skipped in\b", told), told
    assert told.count("this test needs Docker, which does not run here") == 2


def test_the_project_asks_for_the_wsrooms_of_this_repository() -> None:
    project = tomllib.loads((EXAMPLES / "fleet_project/pyproject.toml").read_text("utf-8"))
    assert project["project"]["dependencies"] == [f"wsrooms-core[redis]{pin(__version__)}"]


def test_its_ci_runs_what_its_readme_tells_to_run() -> None:
    folder = EXAMPLES / "fleet_project"
    steps = re.findall(
        r"- run: (?:python -m )?(\w+.*?)(?: #.*)?$",
        (folder / ".github/workflows/tests.yml").read_text("utf-8"),
        re.MULTILINE,
    )
    typed = re.findall(r"^\.venv/bin/(\w+.*)$", (folder / "README.md").read_text("utf-8"), re.M)
    assert steps == typed
