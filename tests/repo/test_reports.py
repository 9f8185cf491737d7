"""What tests/reports.py is for: whatever goes wrong, a run says which test has failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FAILS = """
def test_first():
    raise AssertionError("so it was")

def test_second():
    pass
"""


def pytest_in(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.reports", "-W", "error"],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_test_whose_report_fails_is_named_with_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FAILS)
    (tmp_path / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl(hookwrapper=True)\n"
        "def pytest_runtest_makereport(item, call):\n"
        "    yield\n"
        "    if call.excinfo is not None:\n"
        "        raise SystemError('AST constructor recursion depth mismatch')\n"
    )
    done = pytest_in(tmp_path)
    assert "FAILED test_it.py::test_first" in done.stdout
    assert "so it was" in done.stdout
    assert "AST constructor recursion depth mismatch" in done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert done.returncode == 1


def test_garbage_that_says_something_spoils_no_report(tmp_path: Path) -> None:
    # Each collection parses something; the source is so long that one would come amid its parse.
    says = (
        "import ast, gc\ndef test_before():\n    gc.callbacks.append(lambda *_: ast.parse('x'))\n"
    )
    (tmp_path / "test_it.py").write_text(
        says + FAILS + "\nX = [\n" + "    (1, 2),\n" * 2000 + "]\n"
    )
    done = pytest_in(tmp_path)
    assert "def test_first" in done.stdout
    assert "to report it failed" not in done.stdout
    assert "1 failed, 2 passed" in done.stdout
