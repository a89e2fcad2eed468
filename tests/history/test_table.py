from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from engine.history.record import Noted
from engine.history.table import SCHEMA, history_table
from engine.tables.durable import durable_parquet_at
from tests.history.attempts import attempt, failed


def test_one_row_per_attempt_with_types(tmp_path: Path) -> None:
    made = [attempt(1, guards=(Noted("jump", "x", held=True),)), failed(0), attempt(2, as_of=None, input=None)]
    table = history_table(made)
    assert table.schema == SCHEMA
    assert table["attempt"].to_list() == sorted(one.attempt for one in made)
    first, second, third = table.rows(named=True)
    assert (first["result"], first["exit_code"], first["error_code"], first["users"]) == (
        "failed",
        3,
        "reject-share",
        None,
    )
    assert second["started"] == datetime(2026, 3, 1, 4, 31, tzinfo=UTC)
    assert second["as_of"] == date(2026, 3, 1)
    assert second["rows"] == [
        {"outcome": "read", "rows": 1000},
        {"outcome": "rejected", "rows": 10},
        {"outcome": "kept", "rows": 990},
    ]
    assert second["stages"][1] == {"stage": "score", "seconds": 1.5}
    assert second["tables"] == [{"table": "segments", "rows": 80, "bytes": 4567}]
    assert second["guards"] == [{"guard": "jump", "held": True, "finding": "x"}]
    assert (third["as_of"], third["input_rows"], third["segments"][0]["users"]) == (None, None, 66)
    durable_parquet_at(table, tmp_path / "history.parquet")
    assert pl.read_parquet(tmp_path / "history.parquet").equals(table)


def test_an_empty_history_has_its_columns() -> None:
    assert history_table([]).schema == SCHEMA
