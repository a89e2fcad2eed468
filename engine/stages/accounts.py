"""The pass over all users that features of accounts need: users of one account lie in different buckets.

In: the rows of every bucket and the contacts. Out: one file per day with the sums of every account, which the tasks
that follow join to their users.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from engine.consent.permits import Permits
from engine.execution.protocol import Executor
from engine.features.accounts import ACCOUNT, add_account_columns, add_up, sum_users
from engine.features.spec import FeatureSpec
from engine.progress import Progress, track
from engine.rollups.bucket import Shelf, load_bucket
from engine.rollups.parts import write_part
from engine.rollups.ranges import KeyRange
from engine.stages.features import bucket_rows, features_at, load_features
from engine.stages.permitting import only_permitted
from engine.stages.preparation import Prepared
from engine.stages.reduced import usable
from engine.stages.users import HAS_CONTACT, bucket_contacts, join_contacts

AccountFiles = tuple[tuple[int, str], ...]
"""Days (since 1970-01-01), each with the file of the sums of every account at that day."""


@dataclass(frozen=True)
class AccountTask:
    """One bucket of users, to be summed up per value of `attribute` as of several days, into files below `folder`."""

    bucket: int
    keys: KeyRange
    shelf: Shelf
    contacts: str | None
    spec: FeatureSpec
    attribute: str
    days: tuple[int, ...]
    folder: str
    permits: Permits | None = None


@dataclass(frozen=True)
class AddTask:
    """The parts of all buckets as of one day, to be added up into `file`."""

    parts: tuple[str, ...]
    spec: FeatureSpec
    file: str


def account_files(
    prepared: Prepared,
    shelf: Shelf,
    spec: FeatureSpec,
    days: Sequence[int],
    *,
    work: Path,
    executor: Executor,
    progress: Progress | None,
) -> AccountFiles:
    """Sum up the users of every account as of each of the days; nothing is done without accounts.

    Args:
        prepared: The rollups of the run.
        shelf: Where the rows are, and the totals that can be brought forward.
        spec: The features.
        days: Days since 1970-01-01; the day of the run alone when totals are brought forward.
        work: Folder for the files.
        executor: Where the tasks run.
        progress: Told of each finished task.
    """
    if spec.account is None:
        return ()
    contacts = None if prepared.contacts is None else prepared.contacts.part
    tasks = [
        AccountTask(index, keys, portion, contacts, spec, spec.account, tuple(days), str(work), prepared.asked.permits)
        for index, (keys, portion) in enumerate(prepared.portions(shelf))
    ]
    parts = executor.map(sum_accounts, tasks, on_done=track(progress, "accounts", len(tasks)))
    files = [str(work / f"accounts-{day}.parquet") for day in days]
    executor.map(
        add_accounts_up,
        [AddTask(tuple(of_day), spec, file) for of_day, file in zip(zip(*parts, strict=True), files, strict=True)],
    )
    return tuple(zip(days, files, strict=True))


def sum_accounts(task: AccountTask) -> tuple[str, ...]:
    """Write the sums of one bucket per account; the file of each day."""
    everybody, at_days = _core_features(task)
    users = only_permitted(everybody, task.permits, task.keys)
    contacts = bucket_contacts(users, task.contacts, task.keys, (task.attribute,))
    files = []
    for day, features in at_days:
        accounts = _with_account(contacts.join(users, day), task.attribute)
        file = Path(task.folder) / f"accounts-{day}-{task.bucket:05d}.parquet"
        of_users = features if task.permits is None else features.join(users, on="user", how="semi")
        write_part(sum_users(of_users.join(accounts, on="user", how="left"), task.spec), file)
        files.append(str(file))
    return tuple(files)


def _core_features(task: AccountTask) -> tuple[pl.DataFrame, Iterator[tuple[int, pl.DataFrame]]]:
    """The users of a bucket and their core features at each day; no family is computed, and no totals are kept."""
    core = replace(task.spec, families=(), account=None)
    forward = task.shelf.forward
    if forward is not None and forward.then is not None:
        shelf = replace(task.shelf, events=(), forward=replace(forward, keep=None))
        found = load_features(shelf, task.keys, task.bucket, core, permits=task.permits)
        return found.users, iter([(shelf.end_day, found.features)])
    bucket = load_bucket(replace(task.shelf, events=(), forward=None), task.keys)
    mine = usable(bucket, task.shelf.kinds, task.permits, task.keys)
    rows = bucket_rows(bucket if mine is None else mine.bucket, core)
    return bucket.users.with_row_index("user"), ((day, features_at(rows, day, core)) for day in task.days)


def users_with_account(
    users: pl.DataFrame, contacts: str | None, keys: KeyRange, attribute: str, day: int
) -> pl.DataFrame:
    """`user`, `HAS_CONTACT` and `ACCOUNT` of the users of a bucket as of a day; see `join_contacts`.

    Nothing else of the contacts: an attribute may be called like a feature where attributes are not published.
    """
    return _with_account(join_contacts(users, contacts, keys, (attribute,), day), attribute)


def _with_account(joined: pl.DataFrame, attribute: str) -> pl.DataFrame:
    return joined.select("user", HAS_CONTACT, _account(joined, attribute))


def _account(users: pl.DataFrame, attribute: str) -> pl.Expr:
    """The account of users with their attributes; empty text is none."""
    column = pl.col(attribute)
    if users.schema[attribute] == pl.String:
        column = pl.when(column != "").then(column)
    return column.alias(ACCOUNT)


def add_accounts_up(task: AddTask) -> int:
    """Add the parts of one day up; the number of accounts."""
    sums = add_up(pl.scan_parquet(list(task.parts), glob=False, hive_partitioning=False), task.spec)
    write_part(sums, task.file)
    return sums.height


def join_accounts(features: pl.DataFrame, files: AccountFiles, day: int, spec: FeatureSpec) -> pl.DataFrame:
    """Users with the features of their accounts; as they are without accounts.

    Args:
        features: The core features, and the contact attribute that tells the account or `ACCOUNT`.
        files: What `account_files` wrote.
        day: The day of the features (days since 1970-01-01).
        spec: The features.
    """
    if spec.account is None:
        return features
    users = features if ACCOUNT in features.columns else features.with_columns(_account(features, spec.account))
    sums = pl.scan_parquet(dict(files)[day], glob=False, hive_partitioning=False)
    own = sums.filter(pl.col(ACCOUNT).is_in(users[ACCOUNT].drop_nulls().unique().implode())).collect()
    return add_account_columns(users, own, spec).drop(ACCOUNT)
