from __future__ import annotations

from engine.config import Config
from engine.rules.asked import asked_columns


def test_names_of_every_rule_of_the_configuration() -> None:
    config = Config.model_validate(
        {
            "out": "out",
            "sources": [
                {"name": "log", "path": "x.parquet", "columns": {"user_id": "u", "event_type": "t", "event_time": "s"}}
            ],
            "events": {"purchase": "purchase"},
            "segments": [
                {"name": "s", "where": 'seg_column > 1 OR "quoted column" IS NULL'},
                {"name": "listed", "list": "ids.txt", "frozen_on": "2025-01-01"},
            ],
            "experiments": [{"name": "e", "arms": {"a": 1, "b": 1}, "key": "k", "where": "exp_column > 1"}],
            "targets": [{"name": "t", "event": "purchase", "population": "pop_column > 1"}],
            "points": [
                {
                    "name": "p",
                    "rules": [
                        {"name": "one", "value": "value_column", "points": 1},
                        {"name": "two", "where": "where_column > 1", "points": 1},
                        {"name": "three", "event": "purchase", "where": "event_column > 1", "points": 1},
                    ],
                }
            ],
        }
    )
    asked = asked_columns(config)
    expected = {"seg_column", "quoted column", "exp_column", "pop_column", "value_column", "where_column"}
    assert expected <= asked
    assert "event_column" not in asked


def test_lifecycle_groups_ask_for_columns_too() -> None:
    values = {"events": {"purchase": "purchase"}, "lifecycle": [{"preset": "activity"}]}
    sources = [{"name": "log", "path": "x.parquet", "columns": {"user_id": "u", "event_type": "t", "event_time": "s"}}]
    config = Config.model_validate({"out": "out", "sources": sources, **values})
    assert "days_since_last_action" in asked_columns(config)
