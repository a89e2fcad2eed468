from __future__ import annotations

import pytest

from engine.tables import disk


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "sync_file", lambda *_: None)
    monkeypatch.setattr(disk, "sync_folder", lambda *_: None)
