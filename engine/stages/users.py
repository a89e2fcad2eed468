"""The users of a bucket with their contact attributes, and how many events they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.contacts.history import VALID_DAY, latest_at
from engine.features.spec import FeatureSpec
from engine.rollups.ranges import KeyRange, in_range

HAS_CONTACT: Final = "__has_contact"
"""Whether a user has a contact (Boolean)."""
_ID: Final = "__contact"


@dataclass(frozen=True, eq=False)
class BucketContacts:
    """The contacts of the users of a bucket, to be looked at as of one or several days.

    Attributes:
        rows: The user's id as text, `HAS_CONTACT`, the attributes and, with a history, the day from which each row
            counts; None without contacts.
    """

    rows: pl.DataFrame | None

    def join(self, users: pl.DataFrame, day: int) -> pl.DataFrame:
        """Users with their attributes as of a day, null where a user has no contact then, and `HAS_CONTACT`.

        Args:
            users: One row per user with `user_id`; its order is kept.
            day: First day that is not known yet (days since 1970-01-01).
        """
        if self.rows is None:
            return users.with_columns(pl.lit(value=False).alias(HAS_CONTACT))
        attributes = latest_at(self.rows, _ID, day)
        joined = users.with_columns(pl.col("user_id").cast(pl.String).alias(_ID)).join(
            attributes, on=_ID, how="left", maintain_order="left"
        )
        return joined.drop(_ID).with_columns(pl.col(HAS_CONTACT).fill_null(value=False))


def bucket_contacts(
    users: pl.DataFrame, contacts: str | None, keys: KeyRange, columns: Sequence[str]
) -> BucketContacts:
    """The contacts of the users of a bucket.

    Args:
        users: One row per user with `user_id`.
        contacts: The part that `engine.contacts.read` wrote; None without contacts.
        keys: The bucket's range.
        columns: The attributes that are wanted.
    """
    if contacts is None:
        return BucketContacts(None)
    part = pl.scan_parquet(contacts, glob=False, hive_partitioning=False)
    days = [VALID_DAY] if VALID_DAY in part.collect_schema() else []
    rows = (
        part.filter(in_range(keys, users["user_id"].cast(pl.String)))
        .select(pl.col("user_id").alias(_ID), pl.lit(value=True).alias(HAS_CONTACT), *days, *columns)
        .collect()
    )
    return BucketContacts(rows)


def join_contacts(
    users: pl.DataFrame, contacts: str | None, keys: KeyRange, columns: Sequence[str], day: int
) -> pl.DataFrame:
    """Users with their attributes as of one day; see `BucketContacts.join`.

    Args:
        users: One row per user with `user_key` and `user_id`; its order is kept.
        contacts: The part that `engine.contacts.read` wrote; None without contacts.
        keys: The bucket's range.
        columns: The attributes to add.
        day: First day that is not known yet (days since 1970-01-01).
    """
    return bucket_contacts(users, contacts, keys, columns).join(users, day)


def kept_events(daily: pl.DataFrame, spec: FeatureSpec) -> int:
    """Events of the log in partials: of derived event types and conditions none counts again."""
    own = [code for code, kind in enumerate(spec.types) if kind.of is None]
    return int(daily.filter(pl.col("type").is_in(own))["events"].sum())
