"""Tools for tests of applications and of fleets."""

from wsrooms.testing.history import History
from wsrooms.testing.records import HistoryViolated, Record, Violation

__all__ = ["History", "HistoryViolated", "Record", "Violation"]
