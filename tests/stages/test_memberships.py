from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.errors import ConfigError
from engine.segments.definition import Definition, StaticList
from engine.stages.memberships import unknown_in_lists
from engine.stages.scoring import ScoreRecord
from engine.tables.durable import durable_parquet

LISTED = StaticList("vip.txt", date(2026, 1, 10), date(2026, 2, 1), refuse_unknown=True)
DEFINITIONS = (Definition("VIP", "list", None, list=LISTED), Definition("rule", "rule", None, where="a > 1"))


def buckets(work: Path) -> list[ScoreRecord]:
    frames = [pl.DataFrame({"user_id": ids, "a": ids}, schema_overrides={"user_id": pl.Int64}) for ids in ([1], [2, 3])]
    files = [durable_parquet(frame, work / "features", f"part-{i}", root=work) for i, frame in enumerate(frames)]
    return [ScoreRecord(1, 1, 0, files={"features": (file,)}, listed={"VIP": 1}) for file in files]


def test_ids_that_no_user_of_any_bucket_has_stop_the_run(tmp_path: Path) -> None:
    lists = {"VIP": pl.Series("user_id", [1, 2, 9])}
    with pytest.raises(ConfigError, match=r"'VIP': 1 of 3 ids of its list belong to no user"):
        unknown_in_lists(DEFINITIONS, lists, buckets(tmp_path), date(2026, 1, 10))
    assert unknown_in_lists(DEFINITIONS, {"VIP": lists["VIP"][:2]}, buckets(tmp_path), LISTED.frozen_on) == ()


@pytest.mark.parametrize("as_of", [date(2026, 1, 9), date(2026, 2, 1)])
def test_a_list_that_is_not_in_force_stops_nothing(as_of: date) -> None:
    assert unknown_in_lists(DEFINITIONS, {"VIP": pl.Series("user_id", [9])}, [], as_of) == ()
