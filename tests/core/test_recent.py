"""What was met last, within a bound."""

from __future__ import annotations

from wsrooms.recent import Recent


def test_what_was_met_long_ago_is_new_again() -> None:
    recent: Recent[str] = Recent(2)
    assert [recent.add(thing) for thing in "aabca"] == [True, False, True, True, True]
    assert "b" not in recent
    assert "a" in recent
    assert not recent.complete


def test_it_is_complete_until_something_was_forgotten() -> None:
    recent: Recent[int] = Recent(2)
    assert recent.complete
    for thing in (1, 2, 2, 1):
        recent.add(thing)
    assert recent.complete
