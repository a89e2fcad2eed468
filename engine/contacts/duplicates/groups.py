"""Pairs to groups: who is one person when pairs are, and which id a group keeps."""

from __future__ import annotations

import polars as pl

from engine.contacts.duplicates.order import id_order


def group_links(pairs: pl.DataFrame) -> pl.DataFrame:
    """The ids of each group with the one that it keeps: the first in the order of ids (`id_order`).

    A group is everybody who is reached from one to the other by pairs; circles are no matter.

    Args:
        pairs: `user_id` and `other_id`, text.

    Returns:
        `from_id` and `to_id`, text: one row per id that is not kept, sorted by `from_id`.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ids = (
        pl.concat([pairs["user_id"], pairs["other_id"].alias("user_id")]).unique().to_frame().sort(*id_order("user_id"))
    )
    places = ids.with_row_index("place")
    ends = [
        pairs.select(user_id=name).join(places, on="user_id", how="left", maintain_order="left")["place"].to_numpy()
        for name in ("user_id", "other_id")
    ]
    size = ids.height
    graph = coo_array(([True] * pairs.height, (ends[0], ends[1])), shape=(size, size))
    _, labels = connected_components(graph, directed=False) if size else (0, [])
    return (
        ids.with_columns(group=pl.Series(labels, dtype=pl.Int32))
        .select(from_id="user_id", to_id=pl.col("user_id").first().over("group"))
        .filter(pl.col("from_id") != pl.col("to_id"))
        .sort("from_id")
    )
