"""Dates that are published without a log: users with columns, segments given as sets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import polars as pl

from engine.events.keys import user_key
from engine.execution.local import LocalExecutor
from engine.ledger.bucket import BucketFiles, Scored, ledger_bucket, ledger_counts, ledger_tasks
from engine.ledger.cascade import correct_later, ledger_records, note_publish
from engine.ledger.previous import find_previous
from engine.rollups.ranges import key_ranges
from engine.tables.durable import durable_parquet
from engine.tables.layout import TABLES, table_folder
from engine.tables.manifest import Manifest, TableRecord, dtypes_of, table_record
from engine.tables.publish import publish
from engine.tables.workspace import workspace

FEATURES = {"days_since_purchase": pl.Int64(), "open_rate_90d": pl.Float64(), "city": pl.String()}
SCORES = {"r_score": pl.Int32(), "f_score": pl.Int32(), "m_score": pl.Int32()}
DEFINITIONS = {
    "segment": pl.String(),
    "group": pl.String(),
    "kind": pl.String(),
    "rule": pl.String(),
    "rule_version": pl.String(),
    "priority": pl.Int64(),
    "frozen_on": pl.Date(),
    "expires_on": pl.Date(),
}


@dataclass(frozen=True)
class Defined:
    name: str
    group: str | None = "primary"
    kind: str = "rule"
    rule: str | None = None
    version: str = "v1"
    frozen_on: date | None = None
    expires_on: date | None = None

    def row(self) -> tuple[object, ...]:
        dates = (self.frozen_on, self.expires_on)
        return (self.name, self.group, self.kind, self.rule, self.version, 0, *dates)


@dataclass(frozen=True)
class Day:
    """What is published for a date: columns per user, segments per user, definitions."""

    as_of: date
    users: Mapping[int | str, Mapping[str, object]]
    sets: Mapping[int | str, Iterable[str]]
    defined: Sequence[Defined]
    buckets: int = 1
    rekeyed: Mapping[int | str, int] = field(default_factory=dict)
    note: str = ""

    @property
    def run_id(self) -> str:
        plain = {user: sorted(names) for user, names in sorted(self.sets.items(), key=str)}
        text = repr((self.as_of, sorted(self.users.items(), key=str), plain, list(self.defined), self.note))
        return f"score-{self.as_of}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    @property
    def id_type(self) -> pl.DataType:
        return pl.String() if any(isinstance(user, str) for user in self.users) else pl.Int64()


def frames(day: Day) -> list[dict[str, pl.DataFrame]]:
    """`sets`, `features` and `scores` of each bucket."""
    groups = {defined.name: defined.group for defined in day.defined}
    ids = sorted(day.users, key=lambda user: (str(type(user)), user))
    dtype = day.id_type
    columns = [{"user_id": user, **dict.fromkeys((*FEATURES, *SCORES)), **day.users[user]} for user in ids]
    table = pl.DataFrame(columns, {"user_id": dtype, **FEATURES, **SCORES}, orient="row")
    rows = [(user, name, groups[name]) for user in ids for name in sorted(day.sets.get(user, ()))]
    sets = pl.DataFrame(rows, {"user_id": dtype, "segment": pl.String, "group": pl.String}, orient="row")
    keys = table.select("user_id", user_key=user_key(pl.col("user_id"), [(str(u), s) for u, s in day.rekeyed.items()]))
    found = []
    for bounds in key_ranges(day.buckets):
        here = keys.filter(bounds.contains()).select("user_id")
        part = table.join(here, on="user_id", how="semi").sort("user_id")
        found.append(
            {
                "sets": sets.join(here, on="user_id", how="semi").sort("user_id", "segment"),
                "features": part.select("user_id", *FEATURES),
                "scores": part.select("user_id", *SCORES),
            }
        )
    return found


def definitions(day: Day) -> pl.DataFrame:
    return pl.DataFrame([defined.row() for defined in day.defined], DEFINITIONS, orient="row")


def publish_day(out: Path, day: Day, *, correct: bool = True) -> tuple[date, ...]:
    """Publish one date as a score run does; returns the later dates that were corrected."""
    executor = LocalExecutor(threads=1)
    with workspace(out, day.run_id) as work:
        previous = find_previous(out, day.as_of, rekeyed=len(day.rekeyed))
        scored, tables = staged(day, work)
        tasks = ledger_tasks(scored, previous, work)
        records = executor.map(ledger_bucket, tasks)
        tables += ledger_records(tasks, records, executor)
        note_publish(out, day.as_of)
        publish(work, out, manifest(day, tables, {"ledger": ledger_counts(scored, previous, records)}))
        return correct_later(out, day.as_of, executor) if correct else ()


def staged(day: Day, work: Path) -> tuple[Scored, list[TableRecord]]:
    """The tables of a date before its ledger, staged; what they are for the ledger; and their records."""
    parts, mark = frames(day), day.run_id[-10:]
    files: dict[str, list[list[str]]] = {}
    records = []
    for name in ("sets", "features", "scores"):
        folder = work / "_sets" if name == "sets" else table_folder(work, name, day.as_of)
        written = [
            [durable_parquet(part[name], folder, f"part-{number:05d}-{mark}", root=work)] if part[name].height else []
            for number, part in enumerate(parts)
        ]
        files[name] = [[str(work / record.path) for record in each] for each in written]
        if name != "sets":
            records.append(
                table_record(
                    name, day.as_of, dtypes_of(parts[0][name].schema), [file for each in written for file in each]
                )
            )
    table = definitions(day)
    file = durable_parquet(table, table_folder(work, "segment_definitions", day.as_of), f"part-{mark}", root=work)
    records.append(table_record("segment_definitions", day.as_of, dtypes_of(table.schema), [file]))
    scored = Scored(
        as_of=day.as_of,
        run_id=day.run_id,
        user_dtype=str(day.id_type),
        rekeyed=len(day.rekeyed),
        buckets=tuple(
            BucketFiles(*(next(iter(files[name][number]), None) for name in ("sets", "features", "scores")))
            for number in range(day.buckets)
        ),
        definitions=(str(work / file.path),),
        spec=None,
    )
    return scored, [record for record in records if record.rows]


def manifest(day: Day, tables: Sequence[TableRecord], counts: Mapping[str, object]) -> Manifest:
    ordered = sorted(tables, key=lambda table: TABLES.index(table.name))
    return Manifest(day.run_id, day.as_of, None, {"config": "ab"}, dict(counts), tuple(ordered))


def read(out: Path, name: str, as_of: date) -> pl.DataFrame:
    """A published table; without columns when there is none."""
    files = sorted(table_folder(out, name, as_of).glob("*.parquet"))
    if not files:
        return pl.DataFrame()
    return pl.concat([pl.read_parquet(file) for file in files]).sort("user_id", "segment")


def reasons(out: Path, as_of: date) -> dict[tuple[object, str, str], str]:
    """Reason by user, segment and change."""
    rows = read(out, "membership_changes", as_of)
    return {row[:3]: row[3] for row in rows.select("user_id", "segment", "change", "reason").iter_rows()}
