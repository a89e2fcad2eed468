from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.config import Config
from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run, score_run
from engine.tables.layout import TABLES, manifest_path
from engine.tables.manifest import read_manifest
from tests.formats.reading import parquet_files, versions
from tests.published import frame_of, ordered, published_tables
from tests.samples import AS_OF, configuration, mail, write_sample

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"
LOCAL = LocalExecutor(threads=1)
BEFORE = AS_OF - timedelta(days=7)


@dataclass(frozen=True)
class Fitted:
    """A sample and a bundle, nothing published."""

    file: Path

    def elsewhere(self, folder: Path, kind: str) -> Config:
        shutil.copytree(self.file.parent / "out", folder / "out")
        return configuration(self.file, out=str(folder / "out"), publish__format=kind, publish__tables=TABLES)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    folder = tmp_path_factory.mktemp("fitted")
    file = write_sample(folder, 60)
    # Rows that are rejected, as their table is one of those that are committed.
    lost = mail(6, seed=8).with_columns(customer=pl.lit(None, pl.Int64))
    lost.write_parquet(folder / "mail" / "001.parquet")
    fit_run(configuration(file), BEFORE, executor=LOCAL)
    return Fitted(file)


def readings(config: Config, name: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """A table as each library reads it that is not Tamis."""
    if config.publish.format == "delta":
        from deltalake import DeltaTable

        where = f"{config.out}/_delta/{name}"
        yield "deltalake", frame_of(DeltaTable(where).to_pyarrow_table())
        yield "Polars", pl.scan_delta(where).collect()
        delta = DeltaTable(where).to_pyarrow_dataset()  # noqa: F841 - DuckDB finds it by its name
        yield "DuckDB", frame_of(duckdb.sql("SELECT * FROM delta").to_arrow_table())
    else:
        from pyiceberg.catalog.sql import SqlCatalog

        folder = f"{config.out}/_iceberg"
        catalog = SqlCatalog("tamis", uri=f"sqlite:///{folder}/catalog.db", warehouse=folder)
        table = catalog.load_table(f"tamis.{name}")
        yield "pyiceberg", frame_of(table.scan().to_arrow())
        yield "Polars", pl.scan_iceberg(table).collect()
        iceberg = table.scan().to_arrow()  # noqa: F841 - DuckDB finds it by its name
        yield "DuckDB", frame_of(duckdb.sql("SELECT * FROM iceberg").to_arrow_table())
        catalog.close()


def check(config: Config, *days: date, names: Collection[str] = TABLES) -> None:
    for name, frame in published_tables(Path(config.out), *days).items():
        if name not in names:
            continue
        for library, found in readings(config, name):
            try:
                assert_frame_equal(ordered(found), ordered(frame), check_exact=True)
            except AssertionError as error:
                error.add_note(f"{name} by {library}")
                raise


def commits(config: Config, as_of: date) -> dict[str, list[str]]:
    counts = score_run(config, as_of, executor=LOCAL).counts
    return dict(counts["formats"]["commits"])


@pytest.mark.parametrize("kind", ["delta", pytest.param("iceberg", marks=pytest.mark.slow)])
def test_every_library_reads_what_runs_have_published(
    fitted: Fitted, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Polars warns without its own planner of Iceberg scans.
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    config = fitted.elsewhere(tmp_path, kind)
    out = Path(config.out)
    first = commits(config, AS_OF)
    names = {table.name for table in read_manifest(manifest_path(out, AS_OF)).tables}
    assert first == {name: [AS_OF.isoformat()] for name in names}
    assert names >= {*type(config.publish)().tables, "features", "rejects", "drift"} - {"membership_changes"}
    check(config, AS_OF, names={"memberships", "segments"})

    before = {name: (versions(config, name), parquet_files(config, name)) for name in names}
    assert commits(config, AS_OF) == {}
    assert {name: (versions(config, name), parquet_files(config, name)) for name in names} == before

    # The earlier date tells since when users are in their segments.
    uncorrected = published_tables(out, AS_OF)["memberships"]
    late = score_run(config, BEFORE, executor=LOCAL).counts
    assert late["ledger_corrected"] == [AS_OF.isoformat()]
    both = [BEFORE.isoformat(), AS_OF.isoformat()]
    assert late["formats"]["commits"]["memberships"] == both
    assert late["formats"]["commits"]["segments"] == both[:1]
    assert not ordered(published_tables(out, AS_OF)["memberships"]).equals(ordered(uncorrected))
    check(config, BEFORE, AS_OF)
    check_page(config)


def check_page(config: Config) -> None:
    """What docs/tables.md shows runs, and reads what is published."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    told = 0
    for block in blocks:
        if (config.publish.format == "iceberg") != ("pyiceberg" in block):
            continue
        told += 1
        code = block.replace("/data/out", config.out).replace('"out/', f'"{config.out}/')
        code = code.replace("2026-01-31", AS_OF.isoformat()).replace("version=12", "version=1")
        scope: dict[str, Any] = {}
        exec(compile(code, str(PAGE), "exec"), scope)  # noqa: S102 - the page is ours
    assert told
