"""Why nothing is computed of somebody who is asked for by name."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from engine.consent.permits import Permits, allowed


def reasons_withheld(ids: pl.Series, users: Sequence[str], permits: Permits | None) -> dict[str | int, str]:
    """Of some ids, those of whom nothing is computed although the store has events of theirs, and why.

    Args:
        ids: Ids in the type of the store's.
        users: Files of the store with `user_key` and `user_id`.
        permits: What users agreed to; None withholds nobody.
    """
    if permits is None or not users:
        return {}
    own = pl.scan_parquet(list(users), glob=False, hive_partitioning=False).select("user_key", "user_id")
    known = own.filter(pl.col("user_id").is_in(ids.implode())).unique().collect().sort("user_id")
    part = pl.scan_parquet(permits.part, glob=False, hive_partitioning=False)
    states = part.filter(pl.col("user_key").is_in(known["user_key"].implode())).collect()
    joined = known.with_columns(__text=pl.col("user_id").cast(pl.String)).join(
        states.rename({"user_id": "__text"}), on=["user_key", "__text"], how="left", maintain_order="left"
    )
    lacks = {
        purpose: ~allowed((purpose,), permits.known, "purposes").fill_null(value=False) for purpose in permits.process
    }
    told = joined.select("user_id", pl.col("opposed").fill_null(value=False), **lacks)
    found: dict[str | int, str] = {}
    for row in told.iter_rows(named=True):
        missing = [purpose for purpose in permits.process if row[purpose]]
        if row["opposed"]:
            found[row["user_id"]] = "the user objects to any use"
        elif missing:
            found[row["user_id"]] = f"the user has not agreed to {', '.join(missing)}"
    return found
