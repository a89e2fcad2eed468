from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.errors import ConfigError, DataError
from engine.events.sample import take_sample


def test_sample_of_many_files(tmp_path: Path) -> None:
    for day in range(12):
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
        target = tmp_path / f"day={date(2026, 1, 1) + timedelta(days=day)}"
        target.mkdir()
        pl.DataFrame({"user_id": [day], "ts": [at]}).write_parquet(target / "a.parquet")
    taken = take_sample(str(tmp_path))
    assert (taken.files, taken.total_rows) == (12, 12)
    assert taken.rows.height == 5
    assert set(taken.schema) == {"user_id", "ts", "day"}


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "input-unreadable"), (b"PAR1 and no more", "input-unreadable"), (None, "events-empty")],
)
def test_files_without_events(tmp_path: Path, content: bytes | None, code: str) -> None:
    path = tmp_path / "a.parquet"
    if content is None:
        pl.DataFrame(schema={"user_id": pl.Int64}).write_parquet(path)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        take_sample(str(path))
    assert caught.value.code == code
    assert code == "events-empty" or str(path) in caught.value.message


def test_sample_of_a_long_file_has_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"n": range(50_000)}).write_parquet(path)
    rows = take_sample(str(path)).rows["n"].to_list()
    assert (rows[0], rows[-1], len(rows)) == (0, 49_999, len(set(rows)))
    assert 25_000 in rows
    assert len(rows) < 30_000


def test_a_missing_file_is_named_without_a_source(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        take_sample(str(tmp_path / "no.parquet"))
    assert caught.value.code == "input-no-files"
    assert caught.value.message.startswith("no Parquet file matches ")
    assert "working directory" in caught.value.hint


def test_files_whose_columns_cannot_stand_in_one_table(tmp_path: Path) -> None:
    pl.DataFrame({"user_id": [1], "ts": [datetime(2026, 1, 1)]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"user_id": [1], "ts": [[True]]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ConfigError) as caught:
        take_sample(str(tmp_path))
    assert caught.value.code == "init-different-files"
    assert "ts (List(Boolean))" in caught.value.message
    assert "user_id" not in caught.value.message
