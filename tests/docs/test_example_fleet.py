"""The tests that docs/testing.md shows for several instances pass."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "test_two_instances.py"


@pytest.mark.parametrize(
    "name",
    [
        "test_what_is_said_on_one_instance_is_heard_on_the_other",
        "test_a_message_to_an_instance_without_its_broker_is_lost_and_told",
        "test_nothing_is_lost_without_a_word_while_the_bus_is_bad",
    ],
)
async def test_the_example_of_two_instances_passes(name: str) -> None:
    spec = importlib.util.spec_from_file_location("two_instances", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    await getattr(module, name)()
