"""The users of a bucket with their contact attributes."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from engine.rollups.bucket import KeyRange


def join_contacts(
    users: pl.DataFrame, contacts: str | None, keys: KeyRange, columns: Sequence[str]
) -> tuple[pl.DataFrame, int]:
    """Users with their attributes, null where a user has no contact; and how many have one.

    Args:
        users: One row per user with `user_key` and `user_id`; its order is kept.
        contacts: The part that `engine.events.contacts` wrote; None without contacts.
        keys: The bucket's range.
        columns: The attributes to add.
    """
    if contacts is None:
        return users, 0
    attributes = (
        pl.scan_parquet(contacts, glob=False, hive_partitioning=False)
        .filter(keys.contains())
        .select("user_key", pl.col("user_id").alias("__contact"), *columns)
        .collect()
    )
    joined = users.with_columns(__contact=pl.col("user_id").cast(pl.String)).join(
        attributes.with_columns(__found=pl.lit(value=True)),
        on=["user_key", "__contact"],
        how="left",
        maintain_order="left",
    )
    return joined.drop("__contact", "__found"), int(joined["__found"].sum())
