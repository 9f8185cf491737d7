"""Servers of a cluster, and instances there, have as long as a busy machine takes."""

from __future__ import annotations

import pytest

from tests.deadlines import promised
from wsrooms.transports import broker
from wsrooms_nats import conversation, dialogue


@pytest.fixture(autouse=True)
def _answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = promised(conversation.ANSWER)
    monkeypatch.setattr(conversation, "ANSWER", answer)
    monkeypatch.setattr(dialogue, "ANSWER", answer)


@pytest.fixture(autouse=True)
def _settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers learn of each other's instances in it, and one that is held up takes longer."""
    monkeypatch.setattr(conversation, "SETTLE", promised(0.25))


@pytest.fixture(autouse=True)
def _resume(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who hears has to be back within it of who publishes."""
    monkeypatch.setattr(broker, "RESUME", promised(broker.RESUME))
