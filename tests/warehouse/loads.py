"""A date whose tables change: what a load must do, whatever the database."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from tests.samples import AS_OF
from tests.warehouse.sample import HandMade, frames, publish_frames

NEXT = AS_OF + timedelta(days=1)


def republish(made: HandMade, users: int, *more: pl.Expr, day: date = AS_OF) -> pl.DataFrame:
    """Publish `memberships` of other users, with other columns; what was published."""
    frame = frames(users)["memberships"].with_columns(more)
    publish_frames(made, day, {"memberships": frame})
    return frame


def damage(made: HandMade) -> None:
    """Flip one bit of the last file of `memberships`."""
    path = max(made.out.glob(f"memberships/as_of={AS_OF}/*.parquet"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
