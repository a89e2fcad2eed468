from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.errors import IntegrityError
from engine.tables.durable import canonical_json, durable_json
from engine.tables.manifest import (
    FileRecord,
    Manifest,
    dtypes_of,
    manifest_from_json,
    manifest_to_json,
    read_manifest,
    table_record,
)

FILES = [
    FileRecord("segments/as_of=2018-01-01/segment=b%20c/part-0-ab.parquet", 3, 100, "ab" * 32),
    FileRecord("segments/as_of=2018-01-01/segment=a/part-0-cd.parquet", 4, 120, "cd" * 32),
]
MANIFEST = Manifest(
    run_id="r1",
    as_of=date(2018, 1, 1),
    bundle=None,
    fingerprints={"config": "12", "events": "34"},
    counts={"events": {"kept": 7, "rejected": {"null-user": 1}}, "users": 7},
    tables=(table_record("segments", date(2018, 1, 1), [("user_id", "Int64")], FILES),),
)


def test_totals_and_order_come_from_the_files() -> None:
    table = MANIFEST.tables[0]
    assert (table.rows, table.files, table.bytes) == (7, 2, 220)
    assert table.path == "segments/as_of=2018-01-01"
    assert table.records == tuple(reversed(FILES))
    assert table == table_record("segments", MANIFEST.as_of, table.schema, reversed(FILES))


@pytest.mark.parametrize("manifest", [MANIFEST, replace(MANIFEST, bundle="f00d", counts={}, tables=())])
def test_round_trip(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "x.json"
    durable_json(manifest_to_json(manifest), path)
    assert read_manifest(path) == manifest
    assert path.read_text() == canonical_json(manifest_to_json(read_manifest(path)))


def test_dtypes_are_those_that_parquet_gives_back(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        schema={
            "user_id": pl.String,
            "day": pl.Date,
            "at": pl.Datetime("us", "UTC"),
            "score": pl.Float64,
            "active": pl.Boolean,
            "points": pl.Int16,
        }
    )
    frame.write_parquet(tmp_path / "x.parquet")
    assert dtypes_of(pl.read_parquet_schema(tmp_path / "x.parquet")) == dtypes_of(frame.schema)


def changed(**values: object) -> str:
    return json.dumps({**manifest_to_json(MANIFEST), **values})


def changed_table(**values: object) -> str:
    table = {**manifest_to_json(MANIFEST)["tables"][0], **values}
    return changed(tables=[table])


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", "manifest-malformed", "not a JSON object"),
        ("[]", "manifest-malformed", "not a JSON object"),
        (b"\xff", "manifest-malformed", "not a JSON object"),
        (changed(schema_version=2), "manifest-version", "got version 2"),
        (changed(run_id=1), "manifest-malformed", "run_id"),
        (changed(extra=1), "manifest-malformed", "extra"),
        (changed(as_of="yesterday"), "manifest-malformed", "as_of"),
        (changed_table(rows="7"), "manifest-malformed", "tables.0.rows"),
        (changed_table(name="../x"), "manifest-malformed", "not one of"),
        (changed_table(path="segments/as_of=2018-01-02"), "manifest-malformed", "is at"),
        (changed_table(records=[vars(replace(FILES[0], path="/etc/passwd"))]), "manifest-malformed", "not below"),
        (
            changed_table(records=[vars(replace(FILES[0], path="segments/as_of=2018-01-01/../x"))]),
            "manifest-malformed",
            "not below",
        ),
        (changed(tables=manifest_to_json(MANIFEST)["tables"] * 2), "manifest-malformed", "twice"),
    ],
)
def test_what_is_no_manifest(text: str, code: str, says: str) -> None:
    with pytest.raises(IntegrityError, match=r"m\.json") as caught:
        manifest_from_json(text, "m.json")
    assert caught.value.code == code
    assert says in str(caught.value)
    assert caught.value.hint
