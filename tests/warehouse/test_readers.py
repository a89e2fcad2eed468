from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.execution.local import LocalExecutor
from engine.pipeline import run
from tests.published import frame_of, ordered, published_tables
from tests.samples import AS_OF, configuration, mail, write_sample
from tests.warehouse.readers import READERS
from tests.warehouse.sample import SEGMENTS, HandMade, frames


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_every_library_reads_the_same(sample: HandMade, read: Callable[[str, str], list[tuple[Any, ...]]]) -> None:
    written = frames(60)["segments"].select("segment", "user_id", "engagement_score").rows()
    found = read(str(sample.out), AS_OF.isoformat())
    assert sorted(found) == sorted(written)
    assert {row[0] for row in found} == set(SEGMENTS)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run; some rows of its log were rejected, as rejects are a table too."""
    folder = tmp_path_factory.mktemp("run")
    file = write_sample(folder, 60)
    mail(6, seed=8).with_columns(customer=pl.lit(None, pl.Int64)).write_parquet(folder / "mail" / "001.parquet")
    run(configuration(file), AS_OF, executor=LocalExecutor(threads=1))
    return folder / "out"


def all_with_duckdb(folder: Path, keys: tuple[str, ...]) -> Any:
    import duckdb

    types = ", ".join(f"'{key}': VARCHAR" for key in keys)
    hive = f", hive_partitioning = true, hive_types = {{{types}}}" if keys else ", hive_partitioning = false"
    return duckdb.sql(f"SELECT * FROM read_parquet('{folder}/**/*.parquet'{hive})").to_arrow_table()


def all_with_pyarrow(folder: Path, keys: tuple[str, ...]) -> Any:
    return _dataset(folder, keys).to_table()


def all_with_polars(folder: Path, keys: tuple[str, ...]) -> Any:
    hive = dict.fromkeys(keys, pl.String)
    return pl.scan_parquet(folder, hive_partitioning=bool(keys), hive_schema=hive or None).collect().to_arrow()


def all_with_pandas(folder: Path, keys: tuple[str, ...]) -> Any:
    import pandas as pd
    import pyarrow as pa

    partitioning = _dataset(folder, keys).partitioning if keys else None
    frame = pd.read_parquet(folder, partitioning=partitioning, dtype_backend="pyarrow")
    return pa.Table.from_pandas(frame, preserve_index=False)


def all_with_chdb(folder: Path, keys: tuple[str, ...]) -> Any:
    import chdb

    columns = [f"decodeURLComponent(extract(_path, '/{key}=([^/]+)/')) AS {key}" for key in keys]
    # Else the columns that are folders come as they are encoded, and under the same names.
    query = f"SELECT {', '.join([*columns, '*'])} FROM file('{folder}/**/*.parquet') SETTINGS use_hive_partitioning = 0"
    return chdb.query(query, "ArrowTable")


def _dataset(folder: Path, keys: tuple[str, ...]) -> Any:
    import pyarrow as pa
    from pyarrow import dataset

    schema = pa.schema([(key, pa.string()) for key in keys])
    return dataset.dataset(folder, partitioning=dataset.partitioning(schema, flavor="hive") if keys else None)


ALL = (all_with_duckdb, all_with_pyarrow, all_with_polars, all_with_pandas, all_with_chdb)


@pytest.mark.parametrize("read", ALL, ids=lambda read: read.__name__)
def test_every_library_reads_every_value_of_a_run(
    published: Path, read: Callable[[Path, tuple[str, ...]], Any]
) -> None:
    tables = published_tables(published, AS_OF)
    assert len(tables) >= 10
    for name, written in tables.items():
        keys = ("segment",) if name == "segments" else ()
        found = frame_of(read(published / name / f"as_of={AS_OF}", keys))
        expected = written.drop("as_of")
        # Some take the folder of the date for a column.
        assert set(found.columns) - {"as_of"} == set(expected.columns), name
        # Libraries have several types for one kind of value; none of them may cost a value.
        found = found.select(pl.col(column).cast(dtype) for column, dtype in expected.schema.items())
        assert_frame_equal(ordered(found), ordered(expected), check_exact=True)
