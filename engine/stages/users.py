"""The users of a bucket with their contact attributes, and how many events they have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from engine.features.spec import FeatureSpec
from engine.rollups.ranges import KeyRange

HAS_CONTACT: Final = "__has_contact"
"""Whether a user has a contact (Boolean)."""


def join_contacts(users: pl.DataFrame, contacts: str | None, keys: KeyRange, columns: Sequence[str]) -> pl.DataFrame:
    """Users with their attributes, null where a user has no contact, and `HAS_CONTACT`.

    Args:
        users: One row per user with `user_key` and `user_id`; its order is kept.
        contacts: The part that `engine.events.contacts` wrote; None without contacts.
        keys: The bucket's range.
        columns: The attributes to add.
    """
    if contacts is None:
        return users.with_columns(pl.lit(value=False).alias(HAS_CONTACT))
    # By the id: a key may have been changed to keep two users apart.
    attributes = (
        pl.scan_parquet(contacts, glob=False, hive_partitioning=False)
        .filter(keys.contains() | pl.col("user_id").is_in(users["user_id"].cast(pl.String).implode()))
        .select(pl.col("user_id").alias("__contact"), pl.lit(value=True).alias(HAS_CONTACT), *columns)
        .collect()
    )
    joined = users.with_columns(__contact=pl.col("user_id").cast(pl.String)).join(
        attributes, on="__contact", how="left", maintain_order="left"
    )
    return joined.drop("__contact").with_columns(pl.col(HAS_CONTACT).fill_null(value=False))


def kept_events(daily: pl.DataFrame, spec: FeatureSpec) -> int:
    """Events of the log in partials: of derived event types and conditions none counts again."""
    own = [code for code, kind in enumerate(spec.types) if kind.of is None]
    return int(daily.filter(pl.col("type").is_in(own))["events"].sum())
