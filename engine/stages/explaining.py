"""The task of `explain`: the features of a few users of one bucket, their scores, and the reasons for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from engine.bundle import load_bundle
from engine.consent.permits import Permits
from engine.propensity.explain import reasons
from engine.propensity.wording import Language, wording
from engine.rollups.bucket import Shelf
from engine.rollups.parts import write_part
from engine.rollups.ranges import KeyRange
from engine.stages.accounts import AccountFiles, join_accounts
from engine.stages.features import load_features
from engine.stages.permitting import permitted, with_agreed
from engine.stages.reduced import propensities, scored_by
from engine.stages.users import join_contacts

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class ExplainTask:
    """One bucket in which users are to be explained.

    Attributes:
        shelf: Where the rows are; no totals are brought forward or kept.
        bundle: Folder of the bundle.
        users: File with the ids (`user_id`) of the users.
        targets: Names of the targets.
        top: Reasons per user and target at most.
        folder: Where the results are written.
        threads: Threads LightGBM may use.
    """

    bucket: int
    keys: KeyRange
    shelf: Shelf
    contacts: str | None
    bundle: str
    users: str
    targets: tuple[str, ...]
    top: int
    language: Language
    folder: str
    threads: int
    accounts: AccountFiles = ()
    permits: Permits | None = None


@dataclass(frozen=True)
class ExplainRecord:
    """Files of one bucket: `user_id`, `target`, `probability` of the users that it has, and their reasons."""

    scores: str
    reasons: str


def scores_schema(user_dtype: pl.DataType) -> dict[str, pl.DataType]:
    """Name and type of the columns of the scores of `ExplainRecord`."""
    return {"user_id": user_dtype, "target": pl.String(), "probability": pl.Float64()}


def explain_bucket(task: ExplainTask) -> ExplainRecord:
    """Scores of the asked users of one bucket, as `score` gives them, and the reasons for them.

    Who is outside the population of a target has no probability and no reasons for it. Reasons are those of the model
    that scored the user, which for users who lack a purpose of an input is the reduced one.

    Raises:
        IntegrityError: The bundle is damaged, the features do not fit it, or reasons do not add up to their score.
    """
    bundle = load_bundle(Path(task.bundle))
    loaded = load_features(task.shelf, task.keys, task.bucket, bundle.spec, permits=task.permits)
    bucket, _ = permitted(loaded, task.permits, task.keys)
    asked = pl.read_parquet(task.users, glob=False, hive_partitioning=False)["user_id"]
    own = bucket.users.filter(pl.col("user_id").is_in(asked.implode()))
    own = with_agreed(own, [model.spec.target for model in bundle.models], task.permits)
    attributes = tuple(name for name, _ in bundle.contacts)
    users = join_contacts(own, task.contacts, task.keys, attributes, task.shelf.end_day)

    def with_accounts(features: pl.DataFrame) -> pl.DataFrame:
        joined = users.join(features, on="user", how="inner", maintain_order="right")
        return join_accounts(joined, task.accounts, task.shelf.end_day, bundle.spec)

    features = with_accounts(bucket.features)
    partial = None if bucket.partial is None else with_accounts(bucket.partial)
    words = wording(bundle.spec, task.language)
    columns = {column.name: column for column in propensities(features, bundle, task.threads, partial)}
    scores, found = [], []
    for name in task.targets:
        probability = columns[f"propensity_{name}"]
        scores.append(features.select("user_id", pl.lit(name).alias("target"), probability.alias("probability")))
        for model, scored in scored_by(features, bundle, name, columns, partial):
            found.append(reasons(scored, model, words, top=task.top, threads=task.threads))
    record = ExplainRecord(
        scores=str(Path(task.folder) / f"scores-{task.bucket:05d}.parquet"),
        reasons=str(Path(task.folder) / f"reasons-{task.bucket:05d}.parquet"),
    )
    write_part(pl.concat(scores), record.scores)
    write_part(pl.concat(found), record.reasons)
    return record


def keys_of(users: pl.Series, files: Sequence[str]) -> pl.Series:
    """Keys (UInt64, ascending, each once) of those of the users that the store knows.

    By the id: a key may have been changed to keep two users apart.

    Args:
        users: Ids, in the type of the store's.
        files: The store's files of user ids.
    """
    scan = pl.scan_parquet(list(files), glob=False, hive_partitioning=False)
    known = scan.filter(pl.col("user_id").is_in(users.implode())).select("user_key").collect()
    return known["user_key"].unique().sort()
