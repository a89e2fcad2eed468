"""The features of the families beside the core ones: what they read of the log, and one table in the end."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from engine.features.catalogue import user_catalogue
from engine.features.feature import Reads
from engine.features.registry import enabled
from engine.features.spec import FeatureSpec


def needed(spec: FeatureSpec) -> dict[str, Reads]:
    """What the families of a specification read, by grain (`daily`, `events`); a grain that none reads is left out."""
    grains: dict[str, Reads] = {}
    for family in enabled(spec):
        if family.features(spec):
            reads, before = family.reads(spec), grains.get(family.grain, Reads(frozenset()))
            grains[family.grain] = Reads(before.types | reads.types, before.columns | reads.columns)
    return grains


def add_families(
    core: pl.DataFrame, rows: Mapping[str, pl.DataFrame | None], as_of_day: int, spec: FeatureSpec
) -> pl.DataFrame:
    """All features of users, but for those of their accounts, for the users of `core`, in their order.

    Args:
        core: What `build_features` gave: `user`, the core columns and, with a purchase type, `rfm_monetary_minor`.
        rows: By grain, the rows of these users; `events` may be None or missing when `needed` does not name it. Days
            from `as_of_day` on do not count.
        as_of_day: Days since 1970-01-01.
        spec: The feature specification.

    Returns:
        `user`, the columns of `user_catalogue` in its order and types, and what else `core` has.
    """
    table = core
    for family in enabled(spec):
        features = family.features(spec)
        if not features:
            continue
        given = rows[family.grain]
        if given is None:
            message = f"the family {family.name} reads {family.grain} rows, and there are none"
            raise ValueError(message)
        codes = [spec.code(name) for name in sorted(family.reads(spec).types)]
        read = given.filter((pl.col("day") < as_of_day) & pl.col("type").is_in(codes))
        built = family.build(read, as_of_day, spec).select(
            pl.col("user").cast(core.schema["user"]),
            *(pl.col(feature.name).cast(feature.dtype) for feature in features),
        )
        table = table.join(built, on="user", how="left", maintain_order="left", validate="m:1").with_columns(
            pl.col(feature.name).fill_null(feature.absent) for feature in features if feature.absent is not None
        )
    wanted = ["user", *(feature.name for feature in user_catalogue(spec))]
    return table.select(*wanted, *(name for name in core.columns if name not in set(wanted)))
