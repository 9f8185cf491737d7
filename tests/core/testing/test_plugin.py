"""The pytest plugin: a seed, shown where a test fails, and no cost where it is not used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import pytest_wsrooms


@pytest.fixture
def run_tests(tmp_path: Path) -> Path:
    """Give a folder with two tests that have a seed, of which one fails, and one without."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_without():\n"
        "    assert 'wsrooms' not in sys.modules\n"
        "def test_passes(wsrooms_seed):\n"
        "    assert 0 <= wsrooms_seed < 2**32\n"
        "def test_fails(wsrooms_seed):\n"
        "    print(f'drawn: {wsrooms_seed}')\n"
        "    raise AssertionError\n"
    )
    return tmp_path


def pytest_in(folder: Path, *arguments: str) -> str:
    source = Path(pytest_wsrooms.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "pytest_wsrooms", *arguments],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_a_failing_tests_report_shows_the_seed_and_others_do_not(run_tests: Path) -> None:
    out = pytest_in(run_tests)
    assert "1 failed, 2 passed" in out
    [shown] = re.findall(r"run it again with --wsrooms-seed=(\d+)", out)
    assert f"drawn: {shown}" in out


def test_the_option_says_which_seed(run_tests: Path) -> None:
    out = pytest_in(run_tests, "--wsrooms-seed", "42")
    assert "drawn: 42" in out


def test_without_an_option_each_test_has_a_seed_of_its_own(run_tests: Path) -> None:
    first, second = (pytest_in(run_tests, "-k", "fails") for _ in range(2))
    assert re.findall("drawn: (.*)", first) != re.findall("drawn: (.*)", second)


def test_the_plugin_is_found_by_its_entry_point() -> None:
    [found] = entry_points(group="pytest11", name="pytest_wsrooms")
    assert found.load() is pytest_wsrooms


def test_a_report_that_fails_is_not_blamed_on_the_plugin(run_tests: Path) -> None:
    (run_tests / "conftest.py").write_text(
        "def pytest_runtest_makereport():\n    raise RuntimeError('no report')\n"
    )
    out = pytest_in(run_tests)
    assert "RuntimeError: no report" in out
    assert "pytest_wsrooms" not in out


def test_a_pytest_older_than_7_loads_it_too() -> None:
    source = Path(pytest_wsrooms.__file__).parents[1]
    old = "import pytest; del pytest.StashKey, pytest.Stash, pytest.Parser; import pytest_wsrooms"
    subprocess.run(
        [sys.executable, "-c", old], env={**os.environ, "PYTHONPATH": str(source)}, check=True
    )
