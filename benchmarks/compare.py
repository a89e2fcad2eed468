"""Do the project and the script say the same? A ratio of times means something only if they do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path

SCORE_TOLERANCE = 1e-6
# The last bit of a distance may put a user who is equally near two centroids into the other cluster.
CLUSTER_TOLERANCE = 1e-4


def published_figures(out: Path, as_of: date, targets: Sequence[str]) -> dict[str, Any]:
    """The figures that the script prints, read from the published tables of one date.

    Returns:
        `users`, `purchases`, `spend` (major units), rows per segment and cluster, mean score per target.
    """
    import duckdb

    def table(name: str) -> str:
        return f"read_parquet('{out}/{name}/as_of={as_of.isoformat()}/**/*.parquet', hive_partitioning = true)"

    with duckdb.connect() as connection:
        users, purchases, spend = connection.sql(
            "SELECT count(*), sum(purchase_count_total)::BIGINT, round(sum(purchase_amount_total), 2)"
            f" FROM {table('features')}"
        ).fetchall()[0]
        segments = connection.sql(f"SELECT segment, count(*) FROM {table('segments')} GROUP BY ALL").fetchall()
        clusters = connection.sql(
            f"SELECT count(*) FROM {table('scores')} GROUP BY cluster ORDER BY cluster"
        ).fetchall()
        means = ", ".join(f"avg(propensity_{target})" for target in targets)
        scores = connection.sql(f"SELECT {means} FROM {table('scores')}").fetchall()[0]
    return {
        "users": users,
        "purchases": purchases,
        "spend": spend,
        "segments": dict(segments),
        "clusters": [count for (count,) in clusters],
        "scores": dict(zip(targets, scores, strict=True)),
    }


def differences(published: Mapping[str, Any], script: Mapping[str, Any]) -> list[str]:
    """What the two disagree on, one line each; empty when they agree."""
    problems = [
        f"{name}: published {published[name]}, script {script[name]}"
        for name in ("users", "purchases", "segments")
        if published[name] != script[name]
    ]
    if not math.isclose(published["spend"], script["spend"], abs_tol=0.01):
        problems.append(f"spend: published {published['spend']}, script {script['spend']}")
    ours, theirs = published["clusters"], script["clusters"]
    moved = sum(abs(one - other) for one, other in zip(ours, theirs, strict=False)) / 2
    if len(ours) != len(theirs) or moved > CLUSTER_TOLERANCE * published["users"]:
        problems.append(f"clusters: published {ours}, script {theirs}")
    for target, score in script["scores"].items():
        if not math.isclose(published["scores"][target], score, rel_tol=SCORE_TOLERANCE):
            problems.append(f"mean score of {target}: published {published['scores'][target]}, script {score}")
    return problems
