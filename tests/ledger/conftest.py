from __future__ import annotations

import os

import pytest

from engine.tables import publish


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "LISTING_SECONDS", 0)
    monkeypatch.setattr(os, "fsync", lambda _: None)
