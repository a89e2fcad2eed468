"""What one would write by hand: one DuckDB query, `Booster.predict`, `KMeans.predict`, partitioned Parquet.

`python -m benchmarks.script_baseline --events log/events --as-of 2026-01-01 --bundle BUNDLE --out script-out` computes
the same features as the project, applies the same models, centroids and segment rules, and writes one table partitioned
by segment. It has no checks, no manifest and no atomic publish, and it imports nothing of the project.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from benchmarks.script_sql import FeatureSet, feature_query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RULES = {
    "loyal": "purchase_count_total >= 3 AND days_since_purchase <= 30",
    "buyers": "days_since_purchase <= 90",
    "cart left": "add_to_cart_count_30d > 0",
    "engaged": "email_click_count_30d > 0 OR active_days_30d >= 3",
    "sleeping": "days_since_last_event > 60",
}
"""Segments by name, as conditions that both SQL dialects read; the first that holds counts."""
FALLBACK = "others"


@dataclass(frozen=True)
class TargetParts:
    """A propensity model: its LightGBM text file and the columns it takes, in order."""

    name: str
    model: Path
    features: tuple[str, ...]


@dataclass(frozen=True)
class ClusterParts:
    """Centroids in the space of `(signed log1p(value or fill) − mean) / scale`."""

    features: tuple[str, ...]
    fill: Floats
    mean: Floats
    scale: Floats
    centroids: Floats


@dataclass(frozen=True)
class BundleParts:
    """What the script needs of a bundle."""

    targets: tuple[TargetParts, ...]
    clusters: ClusterParts


def load_bundle_parts(bundle: Path) -> BundleParts:
    """Models and centroids of a bundle folder: `targets/<name>/model.{txt,json}` and `clusters.json`."""
    targets = []
    for folder in sorted((bundle / "targets").iterdir()):
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        targets.append(TargetParts(folder.name, folder / "model.txt", tuple(about["features"])))
    read: dict[str, Any] = json.loads((bundle / "clusters.json").read_text(encoding="utf-8"))["clustering"]
    prepared = read["preparation"]
    by_id = [centroid for _, centroid in sorted(zip(read["ids"], read["centroids"], strict=True))]
    fill, mean, scale, centroids = (
        np.array(numbers, dtype=np.float64)
        for numbers in (prepared["fill"], prepared["centre"], prepared["scale"], by_id)
    )
    return BundleParts(tuple(targets), ClusterParts(tuple(prepared["features"]), fill, mean, scale, centroids))


def matrix(features: pl.DataFrame, names: Sequence[str]) -> Floats:
    """The named columns as rows of numbers, null as NaN."""
    return features.select(pl.col(names).cast(pl.Float64)).to_numpy(order="c")


def predict(features: pl.DataFrame, target: TargetParts) -> Floats:
    """Probability of the target per row."""
    import lightgbm

    return np.asarray(lightgbm.Booster(model_file=target.model).predict(matrix(features, target.features)))


def assign(features: pl.DataFrame, clusters: ClusterParts) -> NDArray[np.int32]:
    """Nearest centroid per row, by scikit-learn."""
    from sklearn.cluster import KMeans

    rows = matrix(features, clusters.features)
    rows = np.where(np.isnan(rows), clusters.fill, rows)
    rows = (np.copysign(np.log1p(np.abs(rows)), rows) - clusters.mean) / clusters.scale
    # A fit on the centroids alone, started from them, leaves them where they are.
    kmeans = KMeans(len(clusters.centroids), init=clusters.centroids, n_init=1, max_iter=1).fit(clusters.centroids)
    return np.asarray(kmeans.predict(rows), dtype=np.int32)


def run(events: Path, as_of: date, bundle: Path, out: Path) -> dict[str, Any]:
    """Features, scores, clusters and segments of every user, as one table partitioned by segment.

    Returns:
        Figures to compare with: `users`, `purchases`, `spend`, rows per segment and cluster, mean score per target.
    """
    import duckdb

    parts = load_bundle_parts(bundle)
    out.mkdir(parents=True)
    with duckdb.connect(config={"temp_directory": str(out.with_name(out.name + ".tmp"))}) as connection:
        features = connection.sql(feature_query(events, as_of, FeatureSet())).pl()
        scores = {f"propensity_{target.name}": predict(features, target) for target in parts.targets}
        table = features.with_columns(cluster=assign(features, parts.clusters), **scores)
        connection.register("scored", table.to_arrow())
        cases = " ".join(f"WHEN {condition} THEN '{name}'" for name, condition in RULES.items())
        folder = out / f"as_of={as_of.isoformat()}"
        connection.execute(
            f"COPY (SELECT *, CASE {cases} ELSE '{FALLBACK}' END AS segment FROM scored)"
            f" TO '{folder}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (segment))"
        )
        rows = connection.sql(
            f"SELECT segment, count(*) FROM '{folder}/*/*.parquet' GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    return {
        "users": table.height,
        "purchases": int(table["purchase_count_total"].sum()),
        "spend": round(float(table["purchase_amount_total"].sum()), 2),
        "segments": dict(rows),
        "clusters": np.bincount(table["cluster"], minlength=len(parts.clusters.centroids)).tolist(),
        "scores": {target.name: float(table[f"propensity_{target.name}"].mean()) for target in parts.targets},
    }


def main(arguments: list[str] | None = None) -> None:
    """Command line of `run`; prints the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.script_baseline", description="The script by hand.")
    parser.add_argument("--events", type=Path, required=True, help="folder of daily hive folders")
    parser.add_argument("--as-of", type=date.fromisoformat, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; must not exist")
    given = parser.parse_args(arguments)
    sys.stdout.write(json.dumps(run(**vars(given))) + "\n")


if __name__ == "__main__":
    main()
