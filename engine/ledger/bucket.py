"""The task of the ledger: one bucket of users, from their segments and the date before to the tables of the ledger.

In: who is in which segment now, the features and scores of the date, and the published tables of the date before.
Out: staged files of `memberships`, `membership_changes` and `membership_history`, and a small record with the moves
of `segment_flows`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.features.spec import FeatureSpec
from engine.identity import run_mark
from engine.ledger import causes
from engine.ledger.changes import ENTER, EXIT, changes, ended
from engine.ledger.evidence import Evidence, explain, files_of
from engine.ledger.flows import Flow, flow_counts
from engine.ledger.members import Stamp, memberships
from engine.ledger.previous import Previous, previous_members
from engine.ledger.reasons import definition_frame, plain_reasons
from engine.rollups.ranges import KeyRange, key_ranges
from engine.tables.compact import keep_for
from engine.tables.durable import durable_parquet
from engine.tables.layout import table_folder
from engine.tables.manifest import FileRecord, dtypes_of
from engine.tables.published_types import as_published
from engine.tables.rows import Piece

LEDGER: Final = ("segment_flows", "membership_history", "membership_changes", "memberships")
"""The tables of the ledger."""

_USER_TYPES: Final[Mapping[str, pl.DataType]] = {"Int64": pl.Int64(), "String": pl.String()}
_SETS: Final = ("user_id", "segment", "group")
_CHANGES: Final = (
    "user_id",
    "segment",
    "group",
    "change",
    "reason",
    "previous_segment",
    "rule_version",
    "run_id",
)
_NO_CLAUSE: Final = (pl.lit(None, pl.String).alias("clause"), pl.lit(value=False).alias("several"))


@dataclass(frozen=True)
class BucketFiles:
    """The files of one bucket, absolute; None for one without rows.

    Attributes:
        sets: `user_id`, `segment`, `group`: who is in which segment (other columns are not read).
        features, scores: The tables of these names.
        gone: `user_id` and `cause` of users with events of whom nothing is computed.
    """

    sets: str | None
    features: str | None
    scores: str | None
    gone: str | None = None


@dataclass(frozen=True)
class Scored:
    """A date that was scored: what its ledger is made from, beside the date before.

    Attributes:
        as_of: The date.
        run_id: Of the run that scored it.
        user_dtype: Int64 or String.
        rekeyed: User ids that share their key with another one and have a key of their own.
        buckets: The files of each bucket, in the order of their ranges of keys; their number is a power of two.
        definitions: Files of the table `segment_definitions`, absolute.
        spec: The features, for event functions of rules; None when they are not known: reasons are shorter then.
        told: Files of the published `membership_changes` of the date, absolute, of which nothing but the users of whom
            nothing is computed counts; none of a date that is not published yet.
    """

    as_of: date
    run_id: str
    user_dtype: str
    rekeyed: int
    buckets: tuple[BucketFiles, ...]
    definitions: tuple[str, ...]
    spec: FeatureSpec | None
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class LedgerTask:
    """One bucket of users.

    Attributes:
        bucket, keys: Its number and its range of keys.
        scored: The date, without the files of other buckets.
        files: The files of the bucket.
        everyone: Files of `features` of all buckets, when users may lie elsewhere than their key says.
        previous: The date before, with the files that the bucket's users can lie in; None on the first date.
        staging: Work folder of the run.
        mark: Part of every file's name; see `ledger_mark`.
    """

    bucket: int
    keys: KeyRange
    scored: Scored
    files: BucketFiles
    everyone: tuple[str, ...]
    previous: Previous | None
    staging: str
    mark: str


@dataclass(frozen=True)
class LedgerRecord:
    """What became of one bucket.

    Attributes:
        files: Of `memberships`, which later dates read bucket by bucket: what was staged; nothing without rows.
        schema: Its columns and types as the manifest keeps them.
        pieces: Of the tables of changes and ended intervals, the rows that files are to be made of when those of all
            buckets are there.
        entries, exits: Users that entered and left each segment, where there are any.
        flows: Users by where from, where to and why.
    """

    files: tuple[FileRecord, ...] = ()
    schema: tuple[tuple[str, str], ...] = ()
    pieces: dict[str, tuple[Piece, ...]] = field(default_factory=dict)
    entries: dict[str, int] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    flows: tuple[Flow, ...] = ()


def ledger_mark(run_id: str, previous: Previous | None) -> str:
    """Part of the names of the ledger's files, different for another run and for another state of the date before."""
    link = "" if previous is None else f"{previous.as_of} {previous.link.memberships}"
    return f"{run_mark(run_id)}-{hashlib.sha256(link.encode()).hexdigest()[:8]}"


def ledger_tasks(scored: Scored, previous: Previous | None, staging: Path) -> list[LedgerTask]:
    """A task per bucket.

    Args:
        scored: The date.
        previous: The date before, as `engine.ledger.previous.find_previous` gives it.
        staging: Work folder of the run; the tables are staged below it.
    """
    everyone = files_of([each.features for each in scored.buckets]) if previous and previous.scattered else ()
    shared = replace(scored, buckets=())
    return [
        LedgerTask(
            bucket=number,
            keys=keys,
            scored=shared,
            files=files,
            everyone=everyone,
            previous=None if previous is None else previous.near(keys),
            staging=str(staging),
            mark=ledger_mark(scored.run_id, previous),
        )
        for number, (keys, files) in enumerate(zip(key_ranges(len(scored.buckets)), scored.buckets, strict=True))
    ]


def ledger_bucket(task: LedgerTask) -> LedgerRecord:
    """Memberships, changes with their reasons, and ended intervals of one bucket."""
    scored, stem = task.scored, f"part-{task.bucket:05d}-{task.mark}"
    made, flows = ledger_tables(task)
    tables = {name: as_published(frame) for name, frame in made.items()}
    staging = Path(task.staging)
    now = tables.pop("memberships")
    folder = table_folder(staging, "memberships", scored.as_of)
    files = (durable_parquet(now, folder, stem, root=staging),) if now.height else ()
    pieces = {name: keep_for(name, task.bucket, frame, staging) for name, frame in tables.items()}
    counted = tables["membership_changes"].group_by("change", "segment").len().sort("change", "segment")
    numbers: dict[str, dict[str, int]] = {ENTER: {}, EXIT: {}}
    for change, segment, number in counted.iter_rows():
        numbers[change][segment] = number
    return LedgerRecord(files, dtypes_of(now.schema), pieces, numbers[ENTER], numbers[EXIT], flows)


def ledger_tables(task: LedgerTask) -> tuple[dict[str, pl.DataFrame], tuple[Flow, ...]]:
    """The three tables of one bucket with rows of users, each sorted by user and segment, and its flows."""
    scored, previous = task.scored, task.previous
    stamp = Stamp(scored.as_of, scored.run_id)
    users = _column(task.files.features, scored.user_dtype)
    sets = _sets(task.files.sets, scored.user_dtype)
    definitions = _definitions(scored.definitions)
    everyone = None
    if task.everyone:
        everyone = pl.read_parquet(list(task.everyone), columns=["user_id"], glob=False, hive_partitioning=False)[
            "user_id"
        ]
    if previous is None:
        before = _nobody(scored.user_dtype)
    else:
        before = previous_members(previous, task.keys, users, everyone)
    now = memberships(sets, before, definitions, stamp)
    changed = changes(now, before, stamp)
    explained = _explained(task, changed, now, before, definitions)
    tables = {
        "membership_history": ended(now, before, stamp),
        "membership_changes": explained.select(_CHANGES),
        "memberships": now,
    }
    return tables, flow_counts(explained)


def ledger_counts(scored: Scored, previous: Previous | None, records: Sequence[LedgerRecord]) -> dict[str, Any]:
    """What the manifest says of the ledger, under `counts["ledger"]`; later dates are made from it.

    `buckets` and `rekeyed` as in `Scored`; `features` is its `spec`, for a bundle can lie elsewhere or be removed;
    `previous` is null on the first date, else `as_of` and `memberships` (see `engine.ledger.previous.Link`); `entries`
    and `exits` are users by segment.
    """
    link = None
    if previous is not None:
        link = {"as_of": previous.as_of.isoformat(), "memberships": previous.link.memberships}
    return {
        "buckets": len(scored.buckets),
        "rekeyed": scored.rekeyed,
        "features": None if scored.spec is None else scored.spec.to_json(),
        "previous": link,
        "entries": _summed([record.entries for record in records]),
        "exits": _summed([record.exits for record in records]),
    }


def _explained(
    task: LedgerTask, changed: pl.DataFrame, now: pl.DataFrame, before: pl.DataFrame, definitions: pl.DataFrame
) -> pl.DataFrame:
    """The changes with `reason`, `cause`, `clause` and `several`."""
    scored, previous = task.scored, task.previous
    if previous is None:
        users = changed["user_id"].clear()
        plain = plain_reasons(changed, (None, definitions), (users, users), (None, scored.as_of))
        return plain.with_columns(_NO_CLAUSE)
    if changed.height:
        previous.check("features", "segment_definitions")
    then = Evidence(previous.as_of, tuple(previous.paths("features")), tuple(previous.paths("scores")), before)
    files = task.files
    current = Evidence(scored.as_of, files_of([files.features]), files_of([files.scores]), now)
    users = changed["user_id"].unique().sort()
    known = (then.there(users), current.there(users))
    sides = (_definitions(tuple(previous.paths("segment_definitions"))), definitions)
    days = (previous.as_of, scored.as_of)
    plain = plain_reasons(changed, sides, known, days, _gone(task, users)).with_columns(_NO_CLAUSE)
    missing = plain["reason"].is_null()
    if not missing.any():
        return plain
    previous.check("scores")
    told = explain(plain.filter(missing), then, current, scored.spec, frozenset(definitions["segment"]))
    return plain.with_columns(plain[name].scatter(missing.arg_true(), told[name]) for name in told.columns)


def _gone(task: LedgerTask, users: pl.Series) -> pl.DataFrame | None:
    """`user_id` and `cause` of those of the users of whom nothing may be computed; None where none are known."""
    if task.files.gone is not None:
        return pl.read_parquet(task.files.gone, glob=False, hive_partitioning=False)
    if not task.scored.told:
        return None
    # Of a date that is corrected, the ledger it had knows them.
    kinds = {causes.TEXTS[kind]: kind for kind in causes.WITHHELD}
    scan = pl.scan_parquet(list(task.scored.told), glob=False, hive_partitioning=False)
    exits = (pl.col("change") == EXIT) & pl.col("reason").is_in(list(kinds)) & pl.col("user_id").is_in(users.implode())
    found = scan.filter(exits).select("user_id", "reason").unique().collect()
    return found.select("user_id", cause=pl.col("reason").replace_strict(kinds, return_dtype=pl.String)).sort("user_id")


def _definitions(paths: tuple[str, ...]) -> pl.DataFrame:
    if not paths:
        return definition_frame(pl.DataFrame(schema={"segment": pl.String()}))
    return definition_frame(pl.read_parquet(list(paths), glob=False, hive_partitioning=False))


def _column(path: str | None, user_dtype: str) -> pl.DataFrame:
    if path is None:
        return pl.DataFrame(schema={"user_id": _USER_TYPES[user_dtype]})
    return pl.read_parquet(path, columns=["user_id"], glob=False, hive_partitioning=False)


def _sets(path: str | None, user_dtype: str) -> pl.DataFrame:
    if path is None:
        return _nobody(user_dtype).select(_SETS)
    return pl.read_parquet(path, columns=list(_SETS), glob=False, hive_partitioning=False)


def _nobody(user_dtype: str) -> pl.DataFrame:
    text = dict.fromkeys(("segment", "group", "previous_segment", "rule_version"), pl.String())
    return pl.DataFrame(schema={"user_id": _USER_TYPES[user_dtype], **text, "entered_on": pl.Date()})


def _summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, number in each.items():
            total[name] = total.get(name, 0) + number
    return dict(sorted(total.items()))
