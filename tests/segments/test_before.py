from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import polars as pl

from engine.segments.before import from_counts, read_before, to_counts
from engine.segments.composition import composition_shift, named_counts, segment_composition
from engine.tables.durable import durable_json, durable_parquet
from engine.tables.layout import manifest_path, table_folder
from engine.tables.manifest import Manifest, dtypes_of, manifest_to_json, table_record
from tests.segments.counted import counted, holds_of, stats_of, users_of

DAY = date(2017, 11, 1)


def publish(out: Path, counts: dict[str, object], tables: dict[str, pl.DataFrame]) -> None:
    records = [
        table_record(
            name,
            DAY,
            dtypes_of(frame.schema),
            [durable_parquet(frame, table_folder(out, name, DAY), "part-00000-x", root=out)],
        )
        for name, frame in tables.items()
    ]
    manifest = Manifest("score-x", DAY, None, {}, counts, tuple(records))  # type: ignore[arg-type]
    path = manifest_path(out, DAY)
    path.parent.mkdir(parents=True)
    durable_json(manifest_to_json(manifest), path)


def test_sizes_survive_the_manifest_largest_first() -> None:
    counts = to_counts(stats_of({"b": 5, "a": 5, "Île": 0, "c": 9}))
    assert list(counts["memberships"].items()) == [("c", 9), ("a", 5), ("b", 5), ("Île", 0)]
    assert from_counts(json.loads(json.dumps(counts))) == {"c": 9, "a": 5, "b": 5, "Île": 0}


def test_a_manifest_without_sizes_has_none() -> None:
    assert from_counts({"users": 5}) == {}


def test_a_published_date_is_what_was_counted(tmp_path: Path) -> None:
    stats = counted(users_of(300), holds_of(300, {"half": 0.5, "nobody": 0.0}))
    definitions = pl.DataFrame({"segment": ["half", "nobody"], "rule_version": ["aa", "bb"], "kind": ["rule", "rule"]})
    publish(
        tmp_path,
        to_counts(stats),
        {"segment_composition": segment_composition(stats), "segment_definitions": definitions},
    )
    before = read_before(tmp_path, DAY)
    assert before.as_of == DAY
    assert before.sizes == dict(zip(stats.segments, stats.sizes, strict=True))
    assert before.versions == {"half": "aa", "nobody": "bb"}
    for column, now in named_counts(stats)["half"].items():
        assert composition_shift(before.bins["half"][column], now)[0] == 0


def test_tables_that_were_not_published_count_as_empty(tmp_path: Path) -> None:
    publish(tmp_path, {}, {})
    before = read_before(tmp_path, DAY)
    assert (before.sizes, before.bins, before.versions) == ({}, {}, {})
