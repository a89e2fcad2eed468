from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.errors import IntegrityError
from engine.events.keys import user_key
from engine.execution.local import LocalExecutor
from engine.rollups.ranges import key_ranges
from engine.tables.check_before import check_before
from engine.tables.durable import durable_parquet
from engine.tables.layout import table_folder
from engine.tables.manifest import TableRecord, dtypes_of, table_record

AS_OF = date(2018, 1, 1)
BUCKETS = 4
USERS = pl.DataFrame({"user_id": [f"user {i:03d}" for i in range(200)], "score": [i / 8 for i in range(200)]})
Frames = dict[str, list[pl.DataFrame]]


def frames() -> Frames:
    keyed = USERS.with_columns(user_key=user_key(pl.col("user_id")))
    parts = [keyed.filter(keys.contains()).drop("user_key") for keys in key_ranges(BUCKETS)]
    members = [
        pl.concat([part.select("user_id", segment=pl.lit(name)) for name in ("loyal", "new")]).sort(
            "user_id", "segment"
        )
        for part in parts
    ]
    segments = [pl.concat([parts[1], parts[2]]).sort("user_id"), pl.concat([parts[0], parts[3]]).sort("user_id")]
    return {"features": parts, "scores": list(parts), "memberships": members, "segments": segments}


def stage(made: Frames, staging: Path) -> list[TableRecord]:
    return [
        table_record(
            name,
            AS_OF,
            dtypes_of(parts[0].schema),
            [
                durable_parquet(part, table_folder(staging, name, AS_OF), f"part-{number:05d}-mark", root=staging)
                for number, part in enumerate(parts)
            ],
        )
        for name, parts in made.items()
    ]


def check(tables: list[TableRecord], staging: Path, rekeyed: int = 0) -> None:
    check_before(tables, staging, buckets=BUCKETS, rekeyed=rekeyed, executor=LocalExecutor(threads=1))


def test_tables_that_are_what_they_promise(tmp_path: Path) -> None:
    made = frames()
    made["drift"] = [pl.DataFrame({"column": ["a", "a"]})]
    check(stage(made, tmp_path), tmp_path)


def change(table: str, part: int, how: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Frames], None]:
    def apply(made: Frames) -> None:
        made[table][part] = how(made[table][part])

    return apply


def swap(made: Frames) -> None:
    made["features"][0], made["features"][1] = made["features"][1], made["features"][0]


def one_for_another(part: pl.DataFrame) -> pl.DataFrame:
    return part.with_columns(user_id=pl.col("user_id").replace(part["user_id"][-1], "user 999")).sort("user_id")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (change("scores", 1, lambda part: pl.concat([part[:1], part])), "1 rows repeat a user_id"),
        (change("segments", 0, lambda part: part.reverse()), "not sorted by user_id"),
        (change("memberships", 2, lambda part: pl.concat([part[:1], part])), "1 rows repeat user_id, segment"),
        (
            change("memberships", 0, lambda part: part.with_columns(segment=pl.lit(None, pl.String))),
            "rows without segment",
        ),
        (
            change("features", 3, lambda part: part.with_columns(user_id=pl.lit(None, pl.String))),
            "rows without user_id",
        ),
        (swap, "users of another bucket"),
        (change("segments", 1, one_for_another), "segments has other users than features"),
        (change("scores", 2, lambda part: part[1:]), "scores has other users than features"),
    ],
)
def test_what_is_refused(tmp_path: Path, damage: Callable[[Frames], None], told: str) -> None:
    made = frames()
    damage(made)
    tables = stage(made, tmp_path)
    with pytest.raises(IntegrityError, match=told) as caught:
        check(tables, tmp_path)
    assert caught.value.code == "publish-check"


@pytest.mark.parametrize("table", ["features", "memberships", "segments"])
def test_a_file_that_changed_since_it_was_written(tmp_path: Path, table: str) -> None:
    tables = stage(frames(), tmp_path)
    record = next(each for each in tables if each.name == table).records[0]
    content = bytearray((tmp_path / record.path).read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / record.path).write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{record.path}: the content differs"):
        check(tables, tmp_path)
    (tmp_path / record.path).unlink()
    with pytest.raises(IntegrityError, match=f"{record.path}: cannot be read"):
        check(tables, tmp_path)


def test_users_of_one_key_may_lie_in_other_ranges(tmp_path: Path) -> None:
    made = frames()
    swap(made)
    check(stage(made, tmp_path), tmp_path, rekeyed=1)
