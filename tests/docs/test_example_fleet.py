"""The tests that docs/testing.md shows for several instances pass."""

from __future__ import annotations

import pytest

from .programs import load


@pytest.mark.parametrize(
    "name",
    [
        "test_what_is_said_on_one_instance_is_heard_on_the_other",
        "test_a_message_to_an_instance_without_its_broker_is_lost_and_told",
        "test_nothing_is_lost_without_a_word_while_the_bus_is_bad",
    ],
)
async def test_the_example_of_two_instances_passes(name: str) -> None:
    module = load("test_two_instances.py")
    await getattr(module, name)()
