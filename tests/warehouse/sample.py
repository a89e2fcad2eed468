"""A published date made by hand: every kind of table and type, and names that quoting must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from engine.config import Config
from engine.segments.definitions import DEFINITIONS_SCHEMA
from engine.tables.durable import durable_parquet
from engine.tables.layout import partition_folder, table_folder
from engine.tables.manifest import Manifest, TableRecord, dtypes_of, table_record
from engine.tables.publish import publish
from engine.tables.workspace import workspace
from engine.warehouse.ddl import Place, asked_of, asked_with_absent
from engine.warehouse.statements import Asked
from engine.warehouse.types import Dialect
from engine.why.published import Published, open_published
from tests.samples import AS_OF, configuration

TOML = """\
out = "out"

[[sources]]
name = "shop"
path = "shop"
[sources.columns]
user_id = "customer"
event_type = { value = "purchase" }
event_time = "at"
amount = "total"

[events]
types = ["purchase"]
purchase = "purchase"

[features]
windows = [7, 30]
"""
SEGMENTS = ("Été / à 50 %", "it's; DROP TABLE x --", "007", "new_customers", "Café", 'a"b`c\\d')
HOSTILE = 'Prénom, l\'usuel; "x" `y` \\z'
LOCATIONS: dict[Dialect, str] = {"bigquery": "gs://bucket/tamis", "snowflake": "s3://b/t", "redshift": "s3://b/t"}


@dataclass(frozen=True)
class HandMade:
    config: Config

    @property
    def out(self) -> Path:
        return Path(self.config.out)

    def published(self, as_of: date = AS_OF) -> Published:
        return open_published(self.out.absolute(), as_of, ())

    def asked(
        self, dialect: Dialect, *tables: str, as_of: date = AS_OF, schema: str | None = None
    ) -> tuple[Asked, ...]:
        place = Place(schema=schema, location=LOCATIONS.get(dialect))
        return asked_of(self.published(as_of), self.config, dialect, place, tables)

    def asked_with_absent(self, dialect: Dialect, *tables: str, schema: str | None = None) -> tuple[Asked, ...]:
        return asked_with_absent(self.published(), self.config, dialect, Place(schema=schema), tables)


def hand_made(folder: Path, attribute: str = "Prénom") -> HandMade:
    """One date in a folder."""
    file = folder / "tamis.toml"
    file.write_text(TOML, encoding="utf-8")
    made = HandMade(configuration(file))
    publish_frames(made, AS_OF, frames(60, attribute))
    return made


def frames(users: int, attribute: str = "Prénom") -> dict[str, pl.DataFrame]:
    ids = [f"u{number:05d}é" for number in range(users)]
    named = [SEGMENTS[number % len(SEGMENTS)] for number in range(users)]
    features = pl.DataFrame(
        {
            "user_id": ids,
            "tenure_days": range(users),
            "purchase_amount_30d": [number / 7 if number % 5 else None for number in range(users)],
            attribute: [
                ("line\nbreak", 'quote"s', "it's", "back\\slash", "", None)[number % 6] for number in range(users)
            ],
            "member": [(True, False, None)[number % 3] for number in range(users)],
            "born": [date(1960, 1, 1) if number % 4 else None for number in range(users)],
            "seen": [datetime(2026, 2, 3, 4, 5, 6, 789, UTC) if number % 4 else None for number in range(users)],
        },
        schema_overrides={"seen": pl.Datetime("us", "UTC"), "tenure_days": pl.Int64},
    )
    members = pl.DataFrame(
        {
            "user_id": ids,
            "segment": named,
            "group": ["primary" if number % 2 else None for number in range(users)],
            "entered_on": [AS_OF] * users,
            "days_in": pl.Series([0] * users, dtype=pl.Int32),
            "previous_segment": [None, *named[1:]],
            "rule_version": ["0a1b2c3d"] * users,
            "run_id": ["score-1"] * users,
        },
        schema_overrides={"previous_segment": pl.String},
    )
    segments = pl.DataFrame(
        {"user_id": ids, "segment": named, "engagement_score": [number * 0.1 for number in range(users)]}
    )
    definitions = pl.DataFrame(
        {
            "segment": sorted(SEGMENTS),
            "kind": ["list"] * len(SEGMENTS),
            "rule_version": ["0a1b2c3d"] * len(SEGMENTS),
            "campaigns": [[], ["spring"], ["a", "b'c"], [], [], []],
            "priority": range(len(SEGMENTS)),
            "frozen_on": [None, AS_OF, None, None, None, None],
            "depends_on": [[]] * len(SEGMENTS),
            "position": range(len(SEGMENTS)),
        },
        schema_overrides=DEFINITIONS_SCHEMA,
    )
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in DEFINITIONS_SCHEMA.items()]
    definitions = definitions.with_columns(
        column for column in missing if column.meta.output_name() not in definitions.columns
    ).select(*DEFINITIONS_SCHEMA)
    return {"features": features, "segment_definitions": definitions, "memberships": members, "segments": segments}


def publish_frames(made: HandMade, day: date, tables: Mapping[str, pl.DataFrame]) -> None:
    """Publish tables of a date, each in two files, `segments` in a folder per segment."""
    run_id = f"by-hand-{day}"
    with workspace(made.out, run_id) as work:
        records = tuple(_stage(name, frame, day, work) for name, frame in tables.items())
        publish(work, made.out, Manifest(run_id, day, None, {}, {}, records))


def _stage(name: str, frame: pl.DataFrame, day: date, work: Path) -> TableRecord:
    root = table_folder(work, name, day)
    if name != "segments":
        half = frame.height // 2
        pieces = [(root, frame[:half]), (root, frame[half:])] if half else [(root, frame)]
    else:
        cut = frame.partition_by("segment", as_dict=True, include_key=False)
        pieces = [(partition_folder(root, "segment", str(key)), part) for (key,), part in cut.items()]
        frame = frame.drop("segment")
    files = [
        durable_parquet(piece, folder, f"part-{place:05d}", root=work) for place, (folder, piece) in enumerate(pieces)
    ]
    return table_record(name, day, dtypes_of(frame.schema), files)
