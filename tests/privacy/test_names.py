from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.privacy.ids import IdRules, id_rules, without_names
from engine.privacy.key import key_source, load_key
from engine.privacy.tombstones import read_tombstones, with_erased, write_tombstones

SOURCE = {"name": "log", "path": "log", "columns": {"user_id": "u", "event_type": "t", "event_time": "at"}}
ROWS = pl.DataFrame(
    {
        "user_id": ["person-1", "other"],
        "referrer": ["person-1", "person-10"],
        "number": ["700000007", None],
        "short": ["75", "anna"],
        "points": [75, 3],
    }
)


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IdRules:
    monkeypatch.setenv("TAMIS_KEY", "5a" * 32)
    config = Config.model_validate({"out": str(tmp_path), "sources": [SOURCE]})
    ids = ("person-1", "700000007", "75", "anna")
    write_tombstones(with_erased(read_tombstones(tmp_path), ids, load_key(key_source(config)), 10, "id"), tmp_path)
    return id_rules(config)


def test_gd05_a_text_that_is_an_erased_id_is_nothing_and_short_ones_may_be_something_else(rules: IdRules) -> None:
    found = without_names(ROWS, rules, "user_id")
    assert found.to_dict(as_series=False) == {
        "user_id": ["person-1", "other"],
        "referrer": [None, "person-10"],
        "number": [None, None],
        "short": ["75", "anna"],
        "points": [75, 3],
    }


def test_without_anybody_erased_nothing_is_looked_at() -> None:
    assert without_names(ROWS, IdRules(), "user_id") is ROWS
