from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Columns, Source, Value
from engine.config_file import load_config
from engine.events.inspect import Condition, Draft
from engine.events.roles import guess_roles
from engine.events.starter import row_notes, source_name, starter_config
from engine.events.survey import Survey

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def draft(name: str, user: str, note: str = "") -> Draft:
    columns = Columns(user_id=user, event_type=Value(value="x"), event_time="t")
    return Draft(Source(name=name, path=("a", "b"), columns=columns, where="a > 1", time_unit="ms"), (note,))


@given(name=texts, user=texts, note=texts, types=st.dictionaries(texts, st.integers(1, 10**9), min_size=1))
def test_any_name_gives_a_valid_file(
    tmp_path_factory: pytest.TempPathFactory, name: str, user: str, note: str, types: dict[str, int]
) -> None:
    survey = Survey(types, dict.fromkeys(types, 500), date(2025, 1, 1), date(2026, 1, 1))
    path = tmp_path_factory.mktemp("starter") / "tamis.toml"
    path.write_bytes(starter_config(draft(name, user, note), survey, guess_roles(types)).encode())
    config = load_config(path).config
    assert config.sources[0].name == name
    assert config.sources[0].columns.user_id == user
    assert config.sources[0].time_unit == "ms"
    assert len(config.targets) == 1
    assert config.targets[0].event in types


@pytest.mark.parametrize(
    ("types", "users", "last", "targets", "fallback"),
    [
        ({"purchase": 900}, 300, date(2025, 12, 31), 1, "rfm"),
        ({"purchase": 900}, 30, date(2025, 12, 31), 0, "rfm"),
        ({"purchase": 900}, 300, date(2025, 2, 1), 0, "rfm"),
        ({"login": 900}, 300, date(2025, 12, 31), 1, "other"),
    ],
)
def test_what_a_log_is_good_for(
    tmp_path: Path, types: dict[str, int], users: int, last: date, targets: int, fallback: str
) -> None:
    survey = Survey(types, dict.fromkeys(types, users), date(2025, 1, 1), last)
    text = starter_config(draft("log", "u"), survey, guess_roles(types))
    path = tmp_path / "tamis.toml"
    path.write_text(text, encoding="utf-8")
    config = load_config(path).config
    assert (len(config.targets), config.segment_fallback) == (targets, fallback)
    assert text.endswith("\n")


def surveyed(**counts: object) -> Survey:
    return Survey({"purchase": 5}, {"purchase": 5}, date(2025, 1, 1), date(2026, 1, 1), **counts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("survey", "notes"),
    [
        (surveyed(rows=10, failing=(0, 0)), ()),
        (
            surveyed(rows=25_897, left_out=22_076, failing=(22_076, 0), all_users=800, lost_users=54),
            ("`where` leaves out 22,076 of 25,897 rows (85.2%) that have no u; 54 of 800 users have no other rows",),
        ),
        (
            surveyed(rows=10_000, left_out=2_500, failing=(2_490, 20)),
            (
                "`where` leaves out 2,500 of 10,000 rows (25.0%)",
                "2,490 of 10,000 rows (24.9%) have no u",
                "20 of 10,000 rows (0.2%) are free",
            ),
        ),
        (
            surveyed(rows=10_000, rejected=1, failing=(0, 0)),
            (
                (
                    "1 of 10,000 rows (less than 0.1%) have no user, event type or time that can be used: "
                    "a run rejects them"
                ),
            ),
        ),
    ],
)
def test_rows_that_are_not_used_are_counted(survey: Survey, notes: tuple[str, ...]) -> None:
    conditions = (Condition("u IS NOT NULL", "have no u"), Condition("p > 0", "are free"))
    source = draft("log", "u").source
    drafted = Draft(source, (), conditions)
    assert row_notes(drafted, survey) == notes
    text = starter_config(drafted, survey, guess_roles(survey.types))
    assert all(f"# {note}.\n" in text for note in notes)


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        (["events/*.parquet"], "events"),
        (["shop.parquet", "b.parquet"], "shop"),
        (["/data/mails/day=2026-01-01/part-0.parquet"], "part-0"),
        (["**/*.parquet"], "events"),
        (["../logs/"], "logs"),
        ([], "events"),
    ],
)
def test_source_name(paths: list[str], name: str) -> None:
    assert source_name(paths) == name
