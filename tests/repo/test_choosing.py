"""Which of all that `make bench` knows is measured."""

from __future__ import annotations

import pytest

from benchmarks.harness.choosing import chosen, skipped
from benchmarks.harness.machine import CannotMeasure


def test_what_cannot_be_measured_here_is_told_with_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = {"redis": "wsrooms-redis", "kafka": "wsrooms-kafka"}
    reasons = {"wsrooms-redis": None, "wsrooms-kafka": "it is not here"}
    assert skipped(wanted, reasons.__getitem__) == {"kafka": "it is not here"}
    assert capsys.readouterr().out == "wsrooms: kafka is skipped: it is not here\n"


def test_names_are_chosen_in_the_order_in_which_they_are_given() -> None:
    assert chosen("b,a", ["a", "b", "c"], "letter") == ["b", "a"]
    assert chosen("all", ["a", "b", "c"], "letter") == ["a", "b", "c"]
    with pytest.raises(CannotMeasure, match="there is no letter 'd'; there are a, b, c"):
        chosen("a,d", ["a", "b", "c"], "letter")
