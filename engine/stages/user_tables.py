"""Which columns and types the tables with a row per user will have: known before any work is done."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from engine.bundle import Bundle
from engine.features.catalogue import catalogue
from engine.stages.schemas import bundle_schema, segment_columns
from engine.stages.segmenting import Applied, Compiled, published_scores
from engine.tables.manifest import dtypes_of
from engine.tables.published_types import published_schema


def user_tables(
    bundle: Bundle, applied: Applied, compiled: Compiled, contacts: Mapping[str, pl.DataType]
) -> dict[str, tuple[tuple[str, str], ...]]:
    """Columns and types of `features`, `scores` and `segments` as a manifest keeps them.

    Args:
        bundle: What was learnt.
        applied, compiled: Score cards, segments and their rules.
        contacts: Name and type of the contact attributes.
    """
    user = {"user_id": pl.Int64() if bundle.user_dtype == "Int64" else pl.String()}
    features = {feature.name: feature.dtype for feature in catalogue(applied.spec)}
    measures = {measure.name: measure.dtype for measure in compiled.measures}
    scores = published_scores(applied, compiled.plan, bundle_schema(bundle))
    known = {**features, **scores}
    tables = {
        "features": {**user, **features, **measures, **contacts},
        "scores": {**user, **scores},
        "segments": {**user, **{name: known[name] for name in segment_columns(bundle)}},
    }
    return {name: dtypes_of(published_schema(schema)) for name, schema in tables.items()}
