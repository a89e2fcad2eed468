"""The features of a bucket at any day, and what they need of the log."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.config import Config, Target
from engine.consent.inputs import LACKS, without_unknown
from engine.consent.permits import Permits
from engine.features.assemble import add_families, needed
from engine.features.bands import BandTotals, Totals
from engine.features.build import bands_of, build_features, features_of
from engine.features.choice import ROLES, feature_spec
from engine.features.feature import Reads
from engine.features.measure import Measure
from engine.features.measures import event_code, measure_columns, measure_wants
from engine.features.spec import FeatureSpec
from engine.features.standing import Standing, bring_forward, from_frame, priced_types, standing_of, to_frame
from engine.rollups.bucket import Bucket, Shelf, load_bucket, load_changes
from engine.rollups.checkpoint import Terms
from engine.rollups.daily import merge_daily
from engine.rollups.index import Code
from engine.rollups.ranges import KeyRange
from engine.rollups.update import Wanted
from engine.stages.reduced import Usable, usable
from engine.stages.users import kept_events
from engine.tables.durable import durable_parquet_at
from engine.tables.manifest import FileRecord

_IMPLIED = frozenset({"event_type", "event_time", "time", "day", "user_id"})


def wanted_of(spec: FeatureSpec, targets: Sequence[Target], measures: Sequence[Measure] = ()) -> Wanted:
    """What features, labels and measures need of the log.

    The codes are those of `spec.types`, then those that only targets have, then those that only measures have.
    """
    codes = [Code(kind.name) if kind.of is None else Code(kind.of, kind.where) for kind in spec.types]
    reads = needed(spec).get("events", Reads(frozenset()))
    more = measure_wants(measures, spec)
    columns = reads.columns - _IMPLIED if reads.types else frozenset()
    return Wanted(
        codes=tuple(dict.fromkeys((*codes, *(target_code(target, spec) for target in targets), *more.codes))),
        event_types=tuple(sorted({*reads.types, *more.event_types})),
        event_columns=tuple(sorted({*columns, *more.event_columns})),
    )


def target_positions(spec: FeatureSpec, targets: Sequence[Target]) -> tuple[int, ...]:
    """For each target, the position of its events among the codes of `wanted_of`: a type of its own, or one of many."""
    codes = wanted_of(spec, targets).codes
    return tuple(codes.index(target_code(target, spec)) for target in targets)


def target_code(target: Target, spec: FeatureSpec) -> Code:
    """What is counted for a target: its events, under its condition and that of a derived event type."""
    return event_code(target.event, target.where, spec)


def provisional_wants(config: Config, types: Sequence[str], attributes: Collection[str]) -> Wanted:
    """What a fit will need, before it is known which event types the log has and which of them have amounts.

    Roles that are not among `types` are left out here: that they are missing is told once the log was read.
    """
    known = {*types, *(entry.name for entry in config.features.events)}
    roles = {role: None for role in ROLES if getattr(config.events, role) not in known}
    likely = config.model_copy(update={"events": config.events.model_copy(update=roles)})
    spec = feature_spec(likely, types, frozenset(types), attributes)
    return wanted_of(spec, [target for target in config.targets if target.event in spec.type_names])


def terms_of(spec: FeatureSpec, codes: Sequence[int], buckets: int) -> Terms:
    """What the totals of a specification are about.

    Args:
        spec: The features.
        codes: Code in the store of each event type, and perhaps of more.
        buckets: Number of ranges that the users are cut into.
    """
    windows = bands_of(0, 0, spec).windows
    return Terms(windows, tuple(codes[: len(spec.types)]), priced_types(spec), spec.code(spec.purchase), buckets)


@dataclass(frozen=True)
class BucketFeatures:
    """The features of a bucket as of the day of the run.

    Attributes:
        users: `user` (number), `user_key`, `user_id`; sorted by id.
        features: `user`, the columns of the catalogue, with a purchase type `rfm_monetary_minor`, and the measures;
            `LACKS` where inputs ask for purposes, and then made of the rows that may be used of each user.
        kept: Events of these users.
        standing: The table of totals that was kept.
        partial: `user` and the same features without any input that asks for a purpose, of the users who lack some of
            these purposes only; None without such users.
        unusable: Users who have events before the day, none of which may be used.
    """

    users: pl.DataFrame
    features: pl.DataFrame
    kept: int
    standing: FileRecord | None = None
    partial: pl.DataFrame | None = None
    unusable: int = 0


def load_features(
    shelf: Shelf,
    keys: KeyRange,
    number: int,
    spec: FeatureSpec,
    measures: Sequence[Measure] = (),
    permits: Permits | None = None,
) -> BucketFeatures:
    """The features of one bucket as of `shelf.end_day`, from all rows or from what has changed.

    Args:
        shelf: Where the rows are; what `wanted_of` names for the measures is among them.
        keys: The users.
        number: Number of the bucket.
        spec: The features.
        measures: What rules ask beside the features: all rows are read for them.
        permits: What users agreed to: with inputs that ask for purposes, all rows are read, too.

    Raises:
        IntegrityError: As `load_bucket`.
        ResourceError: The disk of the store is full or failing.
    """
    day, forward = shelf.end_day, shelf.forward
    by_purpose = permits is not None and permits.inputs is not None
    if forward is None or measures or by_purpose:
        bucket = load_bucket(shelf, keys)
        users, kept = bucket.users.with_row_index("user"), kept_events(bucket.daily, spec)
        mine = usable(bucket, shelf.kinds, permits, keys)
        if mine is None:
            return BucketFeatures(users, _features_of_rows(bucket, shelf, spec, measures), kept)
        table = usable_features(_features_of_rows(mine.bucket, shelf, spec, measures), mine, spec, measures)
        partial = None if mine.partial is None else features_at(bucket_rows(mine.partial, spec), day, spec)
        return BucketFeatures(users, table, kept, None, partial, unusable_users(bucket, mine, spec, day))
    totals: Totals
    if forward.then is None:
        bucket = load_bucket(shelf, keys)
        users, bands = bucket.users, bands_of(day, bucket.users.height, spec)
        daily = bucket.daily.filter(pl.col("type") < len(spec.types))
        totals = BandTotals(daily, bands, len(spec.types))
    else:
        changes = load_changes(shelf, forward, keys, number)
        users, bands = changes.users, bands_of(day, changes.users.height, spec)
        before = bands_of(forward.then, users.height, spec)
        then = from_frame(changes.totals, users["user_key"], before, len(spec.types), forward.terms.priced)
        totals = bring_forward(then, day, changes.was, changes.now, forward.terms.purchase)
    own = [code for code, kind in enumerate(spec.types) if kind.of is None]
    kept = sum(int(totals.events(code)[:, -1].sum()) for code in own)
    features = features_of(totals, bands, spec)
    standing = None
    if forward.keep is not None:
        kept_totals = totals if isinstance(totals, Standing) else standing_of(totals, bands, spec)
        path = Path(f"{forward.keep}-{number:05d}.parquet")
        table = to_frame(kept_totals, users["user_key"])
        standing = durable_parquet_at(table, path, root=path.parents[1], compression="lz4")
    return BucketFeatures(users.with_row_index("user"), features, kept, standing)


def _features_of_rows(bucket: Bucket, shelf: Shelf, spec: FeatureSpec, measures: Sequence[Measure]) -> pl.DataFrame:
    table = features_at(bucket_rows(bucket, spec), shelf.end_day, spec)
    if not measures:
        return table
    asked = measure_columns(measures, bucket, shelf.end_day, spec, shelf.kinds)
    return table.join(asked, on="user", how="left", maintain_order="left", validate="1:1")


def usable_features(
    features: pl.DataFrame, mine: Usable, spec: FeatureSpec, measures: Sequence[Measure] = ()
) -> pl.DataFrame:
    """Features of the usable rows of a bucket with `LACKS`, null where nothing can be told of a user."""
    lacks = features.with_columns(mine.lacks.gather(features["user"]).alias(LACKS))
    return without_unknown(lacks, spec, mine.inputs, measures)


def unusable_users(bucket: Bucket, mine: Usable, spec: FeatureSpec, day: int) -> int:
    """Users who have events before a day, none of which may be used."""
    before = (pl.col("day") < day) & (pl.col("type") < len(spec.types))
    every, left = (rows.filter(before)["user"].n_unique() for rows in (bucket.daily, mine.bucket.daily))
    return every - left


@dataclass(frozen=True)
class BucketRows:
    """The rows of a bucket, ready for the features at several days.

    Attributes:
        users: Number of users.
        daily: Partials of the types of the specification; what users did on a day may be in several rows.
        merged: The same with one row per user, type and day; None when no family reads them.
        events: Single events; None when no family reads them.
    """

    users: int
    daily: pl.DataFrame
    merged: pl.DataFrame | None
    events: pl.DataFrame | None


def bucket_rows(bucket: Bucket, spec: FeatureSpec) -> BucketRows:
    """The rows that features of a specification are made of."""
    daily = bucket.daily.filter(pl.col("type") < len(spec.types))
    merged = merge_daily(daily) if "daily" in needed(spec) else None
    return BucketRows(bucket.users.height, daily, merged, bucket.events)


def features_at(rows: BucketRows, day: int, spec: FeatureSpec) -> pl.DataFrame:
    """The features of the users with an event before `day` (days since 1970-01-01).

    Returns:
        `user`, the columns of the catalogue in its order and, with a purchase type, `rfm_monetary_minor`.
    """
    core = build_features(rows.daily, rows.users, day, spec)
    if not spec.families:
        return core
    return add_families(core, {"daily": rows.merged, "events": rows.events}, day, spec)
