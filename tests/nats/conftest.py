"""Servers of a cluster have as long to answer as a busy machine takes."""

from __future__ import annotations

import pytest

from tests.deadlines import promised
from wsrooms_nats import conversation, dialogue


@pytest.fixture(autouse=True)
def _answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = promised(conversation.ANSWER)
    monkeypatch.setattr(conversation, "ANSWER", answer)
    monkeypatch.setattr(dialogue, "ANSWER", answer)
