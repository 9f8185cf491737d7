"""A test that fails is named, whatever becomes of the words about it."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report, also where a plugin or Python itself fails at that: else the run would end there.

    Garbage waits meanwhile. Where it tells of an error in the middle of the parse of a test's
    source, some Pythons lose count (gh-106905; 3.11.7 does) and raise SystemError.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return (yield)
    except Exception as error:  # noqa: BLE001 - whatever it is, the test has to be named
        said = [] if call.excinfo is None else traceback.format_exception(call.excinfo.value)
        told = traceback.format_exception(error)
        assert call.when != "collect"
        return pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords=dict.fromkeys(item.keywords, 1),
            outcome="failed",
            longrepr="".join([*said, "\nand to report it failed:\n\n", *told]),
            when=call.when,
            user_properties=item.user_properties,
        )
    finally:
        if collects:
            gc.enable()
