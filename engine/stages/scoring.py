"""The task of `score`: one bucket of users, from its events to its files, in one pass.

In: parts of the log, the contacts, a bundle, score cards and segments. Out: staged Parquet files of the tables, who is
in which segment, and a small record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from engine.bundle import Bundle, load_bundle
from engine.clusters.assign import assign
from engine.clusters.record import with_names
from engine.consent.permits import Permits, Withheld
from engine.errors import DataError, IntegrityError
from engine.features.build import MONETARY_MINOR
from engine.features.catalogue import catalogue
from engine.ledger.previous import Previous, previous_members
from engine.points.cards import apply_cards
from engine.propensity.drift import Counts, count
from engine.propensity.predict import load_scorer
from engine.rollups.bucket import Shelf
from engine.rollups.ranges import KeyRange
from engine.segments.evaluate import evaluate
from engine.segments.rfm_grid import RfmGrid, rfm_counts
from engine.segments.rfm_maps import segment_of
from engine.segments.rfm_scores import rfm_columns
from engine.segments.rfm_scores import score as rfm_score
from engine.segments.score_bins import ScoreBins, score_bins
from engine.segments.static_lists import bucket_lists
from engine.segments.stats import SegmentStats, segment_stats
from engine.stable_math import log1p
from engine.stages.accounts import AccountFiles, join_accounts
from engine.stages.features import BucketFeatures, load_features
from engine.stages.permitting import Others, agreed_to, permitted_users, with_agreed
from engine.stages.reduced import propensities
from engine.stages.schemas import bundle_schema, segment_columns
from engine.stages.segmenting import Applied, compile_applied, published_scores
from engine.stages.users import HAS_CONTACT, join_contacts
from engine.tables.compact import keep_for, keep_partitions
from engine.tables.durable import durable_parquet, durable_parquet_at
from engine.tables.layout import partition_folder, table_folder
from engine.tables.manifest import FileRecord, dtypes_of
from engine.tables.published_types import as_published
from engine.tables.rows import Piece
from engine.value.model import value_columns

SETS_FOLDER = "_sets"
"""Folder of a run's work folder."""


@dataclass(frozen=True)
class ScoreTask:
    """One bucket of users to score.

    Attributes:
        staging: Work folder of the run; tables are staged below it.
        bundle: Folder of the bundle.
        applied: Score cards and segments.
        mark: Part of every file name, different in different runs: a reader whose listing is cut by the switch then
            misses a file instead of taking one of another run for it.
        threads: Threads LightGBM may use.
        accounts: The sums of every account as of the day.
        lists: File of the static lists; None without any.
        previous: The published date before, when a rule asks how long users have been in a segment.
        cluster_names: Id and name of clusters that the configuration names.
        permits: What users agreed to, and who objects; None where nothing is asked.
    """

    bucket: int
    keys: KeyRange
    shelf: Shelf
    contacts: str | None
    as_of: date
    bundle: str
    applied: Applied
    staging: str
    mark: str
    threads: int
    accounts: AccountFiles = ()
    lists: str | None = None
    previous: Previous | None = None
    cluster_names: tuple[tuple[str, str], ...] = ()
    permits: Permits | None = None


@dataclass(frozen=True)
class SegmentSize:
    """Users of one segment and what they spent (minor units, whole history)."""

    users: int = 0
    spent_minor: int = 0


@dataclass(frozen=True)
class ScoreRecord:
    """What became of one bucket.

    Attributes:
        users: Users with an event before `as_of` who are not withheld.
        kept: Events of all users.
        contacts_matched: Those of them who have a contact.
        standing: The table of totals that was kept.
        files: Per table, the files that were staged.
        schemas: Per table with files, columns and types as the manifest keeps them.
        pieces: Per table, the rows that files are to be made of when those of all buckets are there.
        drift: The users in the bins of the bundle's drift reference; None when it has none.
        notes: Why scores took longer than they should.
        sets: File of who is in which segment; None of a bucket without users.
        stats: Counts of the segments; None of a bucket that was not scored.
        listed: By segment with a list, the users whose id is in it, those who are withheld among them.
        infinite: Contact attributes that a model or the clusters read and that are infinite, with the number of users;
            the bucket was not scored then.
        far: Users who are farther from every cluster than 99 % were at the fit; 0 without clusters.
        rfm: Users by RFM scores; None without those.
        score_bins: Users by engagement and propensities.
        withheld: Further users with an event before `as_of`, of whom nothing is computed.
        gone: File of those of them with the reason, for the ledger; None without any.
    """

    users: int
    kept: int
    contacts_matched: int
    standing: FileRecord | None = None
    segments: dict[str, SegmentSize] = field(default_factory=dict)
    files: dict[str, tuple[FileRecord, ...]] = field(default_factory=dict)
    schemas: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    pieces: dict[str, tuple[Piece, ...]] = field(default_factory=dict)
    drift: Counts | None = None
    notes: tuple[str, ...] = ()
    sets: str | None = None
    stats: SegmentStats | None = None
    listed: dict[str, int] = field(default_factory=dict)
    infinite: dict[str, int] = field(default_factory=dict)
    far: int = 0
    rfm: RfmGrid | None = None
    score_bins: tuple[ScoreBins, ...] = ()
    withheld: Withheld = field(default_factory=Withheld)
    gone: str | None = None


def score_bucket(task: ScoreTask) -> ScoreRecord:
    """Features, scores, clusters, segments and files of one bucket.

    Raises:
        IntegrityError: The bundle is damaged, or the features do not fit it.
    """
    bundle = load_bundle(Path(task.bundle))
    if bundle.clusters is not None:
        bundle = replace(bundle, clusters=with_names(bundle.clusters, dict(task.cluster_names)))
    scores = bundle_schema(bundle)
    applied, spec = task.applied, task.applied.spec
    compiled = compile_applied(applied, scores, task.as_of)
    bucket = load_features(task.shelf, task.keys, task.bucket, spec, compiled.measures, task.permits)
    users, withheld = permitted_users(bucket, task.permits, task.keys)
    attributes = tuple(name for name, _ in applied.attributes)
    agreed = with_agreed(users, [model.spec.target for model in bundle.models], task.permits)
    users = join_contacts(agreed, task.contacts, task.keys, attributes, task.shelf.end_day)
    features = users.join(bucket.features, on="user", how="inner", maintain_order="right")
    matched = int(features[HAS_CONTACT].sum())
    infinite = infinite_attributes(features, bundle)
    if infinite:
        return ScoreRecord(features.height, bucket.kept, matched, infinite=infinite, withheld=withheld.counts)
    with_accounts = join_accounts(features, task.accounts, task.shelf.end_day, spec)
    partial = None if bucket.partial is None else _with_accounts(users, bucket.partial, task)
    scored = add_scores(with_accounts, bundle, task.threads, partial)
    points, ledger = apply_cards(compiled.cards, scored)
    lists = {} if task.lists is None else bucket_lists(Path(task.lists), task.keys, bucket.users["user_id"])
    evaluated = evaluate(
        compiled.plan,
        scored.with_columns(points),
        lists,
        None if task.previous is None else previous_members(task.previous, task.keys, scored.select("user_id")),
        task.as_of,
        agreed_to(scored, compiled.plan.definitions, task.permits),
    )
    assigned = evaluated.users
    measured = tuple(measure.name for measure in compiled.measures)
    tables = {
        "features": assigned.select("user_id", *(f.name for f in catalogue(spec)), *measured, *attributes),
        "scores": assigned.select("user_id", *published_scores(applied, compiled.plan, scores)),
    }
    tables = {name: as_published(frame) for name, frame in tables.items()}
    stem, staging = f"part-{task.bucket:05d}-{task.mark}", Path(task.staging)
    files: dict[str, tuple[FileRecord, ...]] = {}
    for name, frame in tables.items():
        folder = table_folder(staging, name, task.as_of)
        files[name] = (durable_parquet(frame, folder, stem, root=staging),) if frame.height else ()
    by_segment = as_published(assigned.select("user_id", "segment", *segment_columns(bundle)))
    return ScoreRecord(
        users=features.height,
        kept=bucket.kept,
        contacts_matched=matched,
        standing=bucket.standing,
        segments=_segment_sizes(assigned),
        files=files,
        schemas={name: dtypes_of(frame.schema) for name, frame in tables.items()},
        pieces={
            "points": keep_for("points", task.bucket, as_published(ledger), staging),
            "segments": keep_partitions("segments", task.bucket, by_segment, "segment", _segment_folder, staging),
        },
        drift=None if bundle.drift is None else count(scored, bundle.drift),
        notes=tuple(note for model in bundle.all_models if (note := load_scorer(model.text, model.spec).note)),
        sets=_write_sets(evaluated.members, staging, stem),
        stats=segment_stats(
            assigned,
            evaluated.holds,
            evaluated.clauses,
            spec=spec,
            window=applied.window,
            attributes=applied.told,
            matched=evaluated.matched,
            cards=tuple(card.name for card in applied.cards),
        ),
        listed=_listed(evaluated.listed, lists, bucket, withheld),
        far=0 if bundle.clustering is None else int((scored["cluster_distance"] > bundle.clustering.far).sum()),
        rfm=None if bundle.rfm_edges is None else rfm_counts(assigned, bundle.rfm_edges.bins),
        score_bins=score_bins(assigned, [f"propensity_{model.spec.target.name}" for model in bundle.models]),
        withheld=withheld.counts,
        gone=withheld.write(staging, stem),
    )


def _listed(
    listed: Mapping[str, int], lists: Mapping[str, pl.Series], bucket: BucketFeatures, others: Others
) -> dict[str, int]:
    """By list, the users of the bucket whose id is in it: who is withheld by now is no mistake in a list."""
    found = [] if others.users is None else [others.users["user_id"]]
    if bucket.unusable:
        used = bucket.features["user"].implode()
        found.append(bucket.users.filter(~pl.col("user").is_in(used))["user_id"])
    if not found:
        return dict(listed)
    known = pl.concat(found).unique()
    return {name: number + int(known.is_in(lists[name].implode()).sum()) for name, number in listed.items()}


def _with_accounts(users: pl.DataFrame, features: pl.DataFrame, task: ScoreTask) -> pl.DataFrame:
    joined = users.join(features, on="user", how="inner", maintain_order="right")
    return join_accounts(joined, task.accounts, task.shelf.end_day, task.applied.spec)


def add_scores(
    features: pl.DataFrame, bundle: Bundle, threads: int, partial: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Features with every score of the bundle: engagement, RFM, cluster, value, propensities with rank and class.

    Args:
        features: One row per user: `user_id`, the catalogue's columns, `rfm_monetary_minor`, contact attributes.
        bundle: What was learnt.
        threads: Threads LightGBM may use.
        partial: What reduced models read of users who lack some purposes of the inputs only.
    """
    known = features["engagement_points"]
    points = known.fill_null(0).to_numpy()
    scaled = np.minimum(100.0, 100.0 * log1p(points) / log1p(bundle.engagement_full_at))
    columns = [pl.Series("engagement_score", scaled).round(2).set(known.is_null(), None)]
    if bundle.rfm_edges is not None:
        scores = rfm_score(rfm_columns(features), bundle.rfm_edges)
        names = scores.select(
            rfm_segment=segment_of(bundle.segment_table, pl.col("r_score"), pl.col("f_score"), pl.col("m_score"))
        )
        columns += [*scores.select("r_score", "f_score", "m_score").get_columns(), names["rfm_segment"]]
    if bundle.clustering is not None:
        columns += assign(features, bundle.clustering).get_columns()
    if bundle.value is not None:
        columns += value_columns(features, bundle.value)
    columns += propensities(features, bundle, threads, partial)
    return features.with_columns(columns)


def check_attributes(bundle: Bundle, contacts: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Name and type of the contact attributes that the bundle knows; attributes that came later are left out.

    Raises:
        DataError: Attributes of the bundle that the contacts no longer have, or have with another type.
    """
    problems = [
        f"  {name}: expected {dtype}, " + (f"got {contacts[name]}" if name in contacts else "it is missing")
        for name, dtype in bundle.contacts
        if name not in contacts or str(contacts[name]) != dtype
    ]
    if problems:
        raise DataError(
            "the contacts do not have the attributes they had when the bundle was fitted\n" + "\n".join(problems),
            code="contacts-changed",
            hint="Restore the columns, or run `tamis fit` with the contacts as they are.",
        )
    return {name: contacts[name] for name, _ in bundle.contacts}


def infinite_attributes(users: pl.DataFrame, bundle: Bundle) -> dict[str, int]:
    """Contact attributes that a model or the clusters of the bundle read, with the number of infinite values.

    Args:
        users: One row per user with the contact attributes.
        bundle: What was learnt.
    """
    read = {name for model in bundle.all_models for name in model.spec.features}
    read |= set() if bundle.clustering is None else set(bundle.clustering.preparation.features)
    names = [name for name, _ in bundle.contacts if name in read and users.schema[name].is_float()]
    rows = {name: int(users[name].is_infinite().sum()) for name in names}
    return {name: number for name, number in rows.items() if number}


def check_finite(records: Sequence[ScoreRecord]) -> None:
    """Stop when attributes that a model or the clusters read are infinite, as a fit does.

    Raises:
        DataError: All such attributes, and the number of users of all buckets.
    """
    found: dict[str, int] = {}
    for record in records:
        for name, rows in record.infinite.items():
            found[name] = found.get(name, 0) + rows
    if found:
        users = sum(record.users for record in records)
        raise DataError(
            "infinite values in contact attributes that models or clusters read\n"
            + "\n".join(f"  {name!r}: {found[name]} of {users} users" for name in sorted(found)),
            code="model-features",
            hint="Replace infinite contact attributes by null.",
        )


def check_user_ids(bundle: Bundle, user_dtype: str) -> None:
    """Stop when user ids are no longer what they were: published ids would change their type.

    Raises:
        IntegrityError: The bundle was learnt on ids of another type.
    """
    if user_dtype != bundle.user_dtype:
        raise IntegrityError(
            f"the bundle was learnt on user ids of type {bundle.user_dtype}; the events have {user_dtype}",
            code="bundle-user-id-type",
            hint="Run `tamis fit` on these events.",
        )


def _segment_sizes(assigned: pl.DataFrame) -> dict[str, SegmentSize]:
    spent = pl.col(MONETARY_MINOR).sum() if MONETARY_MINOR in assigned.columns else pl.lit(0, pl.Int64)
    sizes = assigned.group_by("segment").agg(pl.len(), spent.alias("spent"))
    return {name: SegmentSize(users, spent) for name, users, spent in sizes.iter_rows()}


def _segment_folder(name: str) -> str:
    return partition_folder(Path(), "segment", name).name


def _write_sets(members: pl.DataFrame, staging: Path, stem: str) -> str | None:
    """Who is in which segment, beside the tables: the ledger is made from it, and it is not published."""
    if members.is_empty():
        return None
    path = staging / SETS_FOLDER / f"{stem}.parquet"
    durable_parquet_at(members, path, compression="lz4")
    return str(path)
