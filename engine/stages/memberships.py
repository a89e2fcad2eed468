"""From the buckets that were scored to the ledger of memberships: which staged files are of which bucket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from engine.features.spec import FeatureSpec
from engine.ledger.bucket import BucketFiles, Scored
from engine.segments.definition import Definition
from engine.segments.static_lists import is_in_force, stage_lists, unknown_ids
from engine.stages.scoring import ScoreRecord
from engine.tables.manifest import TableRecord

if TYPE_CHECKING:
    import polars as pl


def staged_scored(
    work: Path,
    as_of: date,
    run_id: str,
    buckets: Sequence[ScoreRecord],
    definitions: TableRecord | None,
    *,
    user_dtype: str,
    rekeyed: int,
    spec: FeatureSpec,
) -> Scored:
    """What the ledger of a run is made from.

    Args:
        work: Work folder of the run.
        as_of: Day of the run.
        run_id: The run.
        buckets: What became of the buckets, in their order.
        definitions: The staged table `segment_definitions`.
        user_dtype: Int64 or String.
        rekeyed: User ids that share their key with another one.
        spec: The features.
    """
    return Scored(
        as_of=as_of,
        run_id=run_id,
        user_dtype=user_dtype,
        rekeyed=rekeyed,
        buckets=tuple(
            BucketFiles(bucket.sets, _only(work, bucket, "features"), _only(work, bucket, "scores"), bucket.gone)
            for bucket in buckets
        ),
        definitions=() if definitions is None else tuple(str(work / file.path) for file in definitions.records),
        spec=spec,
    )


def staged_lists(lists: Mapping[str, pl.Series], work: Path) -> str | None:
    """The static lists as one file of the work folder, for the tasks of the buckets; None without any."""
    if not lists:
        return None
    file = work / "lists.parquet"
    stage_lists(lists, file)
    return str(file)


def unknown_in_lists(
    definitions: Sequence[Definition],
    lists: Mapping[str, pl.Series],
    buckets: Sequence[ScoreRecord],
    as_of: date,
) -> tuple[str, ...]:
    """As `engine.segments.static_lists.unknown_ids`, of the buckets of a run and the lists in force on its day.

    A list that is not makes nobody a member: people who came later, or were erased since, are no mistake in it.
    """
    in_force = [one for one in definitions if one.list is not None and is_in_force(one.list, as_of)]
    if not in_force:
        return ()
    found: Counter[str] = Counter()
    for bucket in buckets:
        found.update(bucket.listed)
    return unknown_ids(in_force, lists, found)


def _only(work: Path, bucket: ScoreRecord, table: str) -> str | None:
    files = bucket.files[table]
    return str(work / files[0].path) if files else None
