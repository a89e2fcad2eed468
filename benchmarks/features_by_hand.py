"""The contenders of `benchmarks.features`, each to be run in a process of its own.

`python -m benchmarks.features_by_hand duckdb --events log/events --as-of 2026-01-01 --to features.parquet` writes the
default features of every user by one DuckDB query, `polars` by one lazy Polars query. `scan` reads the columns that
both need and writes one row: no way of computing the features from the files is faster. `journey` is DuckDB's query
over the day folders of Complete Journey. None of them imports anything of the project.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path


def by_duckdb(events: Path, as_of: date, to: Path) -> None:
    """The features of the synthetic log by one SQL query."""
    from benchmarks.script_sql import FeatureSet, feature_query

    copy(feature_query(events, as_of, FeatureSet()), to)


def journey_by_duckdb(events: Path, as_of: date, to: Path) -> None:
    """The features of Complete Journey by one SQL query."""
    from benchmarks.features_journey import JOURNEY, journey_rows
    from benchmarks.script_sql import query_over

    copy(query_over(journey_rows(events, as_of), JOURNEY), to)


def copy(query: str, to: Path) -> None:
    """Write the result of a DuckDB query; no limit of memory but DuckDB's own (80 % of the machine)."""
    import duckdb

    with duckdb.connect(config={"temp_directory": f"{to}.tmp"}) as connection:
        connection.execute(f"COPY ({query}) TO '{to}' (FORMAT parquet, COMPRESSION zstd)")


def by_polars(events: Path, as_of: date, to: Path) -> None:
    """The features of the synthetic log by one lazy Polars query."""
    from benchmarks.features_polars import feature_frame
    from benchmarks.script_sql import FeatureSet

    feature_frame(events, as_of, FeatureSet()).sink_parquet(to, compression="zstd")


def scan(events: Path, as_of: date, to: Path) -> None:
    """Decode every value of the needed columns, and add up just enough of each for that."""
    import polars as pl

    del as_of
    pl.scan_parquet(f"{events}/*/*.parquet", hive_partitioning=False).select(
        pl.len().alias("rows"),
        pl.col("user_id").str.len_bytes().sum(),
        pl.col("event_type").str.len_bytes().sum(),
        pl.col("event_id", "event_time").to_physical().sum(),
        pl.col("amount").sum(),
    ).sink_parquet(to)


CONTENDERS = {"duckdb": by_duckdb, "polars": by_polars, "scan": scan, "journey": journey_by_duckdb}


def main(arguments: list[str] | None = None) -> None:
    """Command line of the contenders."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features_by_hand", description="Features by hand.")
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--events", type=Path, required=True, help="folder of the daily files")
    parser.add_argument("--as-of", type=date.fromisoformat, required=True)
    parser.add_argument("--to", type=Path, required=True, help="Parquet file to write")
    given = parser.parse_args(arguments)
    CONTENDERS[given.contender](given.events, given.as_of, given.to)


if __name__ == "__main__":
    main()
