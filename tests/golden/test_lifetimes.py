from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from tests.features.logs import Event, write_source
from tests.features.test_rfm import BTYD, transactions
from tests.golden.runs import published, score_log

COLUMNS = {"user_id": "user", "event_type": "type", "event_time": "time", "amount": "amount"}


@pytest.mark.parametrize("text", [False, True])
def test_ids_keep_their_type_through_to_every_published_table(text: bool, tmp_path: Path) -> None:
    events: list[Event] = transactions("shuffled", text=text)
    write_source(events, tmp_path / "log.parquet")
    source = {"path": str(tmp_path / "log.parquet"), "columns": COLUMNS}
    score_log(tmp_path / "out", date(2015, 2, 8), source)
    ids = [f"c{user}" if text else user for user in range(1, 7)]
    for table in ("features", "scores", "memberships", "segments"):
        frame = published(tmp_path / "out", table)
        assert frame.schema["user_id"] == (pl.String if text else pl.Int64), table
        assert frame["user_id"].to_list() == ids
    btyd = published(tmp_path / "out", "features").select(
        "btyd_frequency", "btyd_recency_days", "btyd_t_days", "btyd_mean_repeat_spend"
    )
    assert btyd.rows() == BTYD
