from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.config import Columns, Source
from engine.errors import ConfigError, DataError, TamisError
from engine.events.survey import survey_source

NOON = datetime(2026, 1, 1, 12)
CONDITIONS = ("u IS NOT NULL", "p IS NULL OR p > 0")


def source(path: Path, **settings: object) -> Source:
    columns = Columns(user_id="u", event_type="e", event_time="t", event_id=None)
    return Source(name="log", path=str(path), columns=columns, **settings)  # type: ignore[arg-type]


def write(path: Path, columns: dict[str, object]) -> None:
    pl.DataFrame(columns).write_parquet(path)


def test_all_rows_of_all_files_are_counted(tmp_path: Path) -> None:
    for day in range(2):
        write(
            tmp_path / f"{day}.parquet",
            {
                "u": ["a", "a", "b", None, "c", "d"],
                "e": ["sent", "order", "order", "order", "", "sent"],
                "t": [NOON + timedelta(days=day)] * 6,
                "p": [None, 3.0, 0.0, -1.0, None, None],
            },
        )
    where = "u IS NOT NULL AND (p IS NULL OR p > 0)"
    survey = survey_source(source(tmp_path, where=where), CONDITIONS)
    assert survey.types == {"sent": 4, "order": 2}
    assert survey.users == {"sent": 2, "order": 1}
    assert (survey.first_day, survey.last_day) == (date(2026, 1, 1), date(2026, 1, 2))
    assert (survey.rows, survey.left_out, survey.failing, survey.rejected) == (12, 4, (2, 4), 2)
    assert (survey.all_users, survey.lost_users) == (4, 2)
    assert sum(survey.types.values()) + survey.left_out + survey.rejected == survey.rows


@pytest.mark.parametrize(
    "other",
    [
        {"customer": ["a"], "e": ["order"], "t": [NOON]},
        {"u": [1], "e": ["order"], "t": [NOON]},
        {"u": ["a"], "e": ["order"], "t": ["2026-01-01"]},
    ],
)
def test_files_of_two_kinds(tmp_path: Path, other: dict[str, object]) -> None:
    write(tmp_path / "a.parquet", {"u": ["a"], "e": ["order"], "t": [NOON]})
    write(tmp_path / "b.parquet", other)
    with pytest.raises(ConfigError) as caught:
        survey_source(source(tmp_path))
    assert caught.value.code == "init-different-files"
    assert caught.value.message.startswith("these files have different columns:\n")
    assert "[[sources]] side by side" in caught.value.hint
    assert "e (String)" not in caught.value.message


def test_a_column_more_is_no_other_kind(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"u": ["a"], "e": ["order"], "t": [NOON]})
    write(tmp_path / "b.parquet", {"u": ["b"], "e": ["order"], "t": [NOON], "new": [1]})
    assert survey_source(source(tmp_path)).types == {"order": 2}


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"u": ["a"], "e": ["order"], "t": [1.5]}, "events-columns"),
        ({"u": pl.Series([None], dtype=pl.String), "e": ["order"], "t": [NOON]}, "events-empty"),
    ],
)
def test_a_log_of_no_use(tmp_path: Path, columns: dict[str, object], code: str) -> None:
    write(tmp_path / "a.parquet", columns)
    with pytest.raises(TamisError) as caught:
        survey_source(source(tmp_path))
    assert isinstance(caught.value, DataError)
    assert caught.value.code == code


def test_times_that_do_not_fit_their_format(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"u": ["a", "b"], "e": ["order"] * 2, "t": ["31/01/2026", "soon"]})
    mapped = source(tmp_path).model_dump() | {
        "columns": {"user_id": "u", "event_type": "e", "event_time": {"sql": "STRPTIME(t, '%d/%m/%Y')"}}
    }
    with pytest.raises(DataError) as caught:
        survey_source(Source.model_validate(mapped))
    assert caught.value.code == "events-values"
    assert "soon" not in caught.value.message
