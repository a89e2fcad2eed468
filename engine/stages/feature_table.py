"""The feature table alone, without a bundle: one task per bucket of users."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.consent.permits import Permits, Withheld
from engine.features.catalogue import catalogue
from engine.features.spec import FeatureSpec
from engine.rollups.bucket import Shelf
from engine.rollups.ranges import KeyRange
from engine.stages.accounts import AccountFiles, join_accounts, users_with_account
from engine.stages.features import load_features
from engine.stages.permitting import permitted
from engine.stages.users import HAS_CONTACT
from engine.tables.durable import durable_parquet
from engine.tables.manifest import FileRecord


@dataclass(frozen=True)
class FeatureTask:
    """One bucket of users whose features are to be written below `folder`; the contacts tell their accounts."""

    bucket: int
    keys: KeyRange
    shelf: Shelf
    spec: FeatureSpec
    folder: str
    mark: str
    contacts: str | None = None
    accounts: AccountFiles = ()
    permits: Permits | None = None


@dataclass(frozen=True)
class FeatureRecord:
    """What became of one bucket; see `MatrixRecord`."""

    users: int
    kept: int
    contacts_matched: int
    file: FileRecord
    standing: FileRecord | None
    withheld: Withheld = field(default_factory=Withheld)


def write_features(task: FeatureTask) -> FeatureRecord:
    """Features of one bucket: `user_id` and the columns of the catalogue, one row per user, sorted by id.

    Raises:
        ResourceError: The disk is full or failing.
    """
    loaded = load_features(task.shelf, task.keys, task.bucket, task.spec, permits=task.permits)
    bucket, withheld = permitted(loaded, task.permits, task.keys)
    features, matched = bucket.features, 0
    if task.spec.account is not None:
        users = users_with_account(bucket.users, task.contacts, task.keys, task.spec.account, task.shelf.end_day)
        features = features.join(users, on="user", how="left", maintain_order="left")
        matched = int(features[HAS_CONTACT].sum())
        features = join_accounts(features, task.accounts, task.shelf.end_day, task.spec)
    table = features.select(
        bucket.users["user_id"].gather(features["user"]), *(feature.name for feature in catalogue(task.spec))
    )
    folder = Path(task.folder)
    file = durable_parquet(table, folder, f"part-{task.bucket:05d}-{task.mark}", root=folder)
    return FeatureRecord(table.height, bucket.kept, matched, file, bucket.standing, withheld.counts)
