"""One published table, `segments`, read by every library: the functions that docs/warehouses.md shows."""

from __future__ import annotations

from typing import Any


def read_with_duckdb(out: str, as_of: str) -> list[tuple[Any, ...]]:
    import duckdb

    return duckdb.sql(
        "SELECT segment, user_id, engagement_score "
        f"FROM read_parquet('{out}/segments/as_of={as_of}/*/*.parquet', "
        "hive_partitioning = true, hive_types = {'as_of': DATE, 'segment': VARCHAR})"
    ).fetchall()


def read_with_pyarrow(out: str, as_of: str) -> list[tuple[Any, ...]]:
    import pyarrow as pa
    from pyarrow import dataset

    keys = dataset.partitioning(pa.schema([("segment", pa.string())]), flavor="hive")
    table = dataset.dataset(f"{out}/segments/as_of={as_of}", partitioning=keys).to_table()
    return [tuple(row.values()) for row in table.select(["segment", "user_id", "engagement_score"]).to_pylist()]


def read_with_polars(out: str, as_of: str) -> list[tuple[Any, ...]]:
    import polars as pl

    keys = {"as_of": pl.Date, "segment": pl.String}
    scan = pl.scan_parquet(f"{out}/segments/as_of={as_of}/*/*.parquet", hive_partitioning=True, hive_schema=keys)
    return scan.select("segment", "user_id", "engagement_score").collect().rows()


def read_with_pandas(out: str, as_of: str) -> list[tuple[Any, ...]]:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import dataset

    keys = dataset.partitioning(pa.schema([("segment", pa.string())]), flavor="hive")
    frame = pd.read_parquet(f"{out}/segments/as_of={as_of}", partitioning=keys)
    return list(frame[["segment", "user_id", "engagement_score"]].itertuples(index=False, name=None))


def read_with_chdb(out: str, as_of: str) -> list[tuple[Any, ...]]:
    import chdb

    table = chdb.query(
        "SELECT decodeURLComponent(extract(_path, '/segment=([^/]+)/')) AS segment, user_id, engagement_score "
        f"FROM file('{out}/segments/as_of={as_of}/*/*.parquet', 'Parquet')",
        "ArrowTable",
    )
    return [tuple(row.values()) for row in table.to_pylist()]


READERS = (read_with_duckdb, read_with_pyarrow, read_with_polars, read_with_pandas, read_with_chdb)
