from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from engine.bundle import load_bundle
from engine.config import Config
from engine.errors import IntegrityError
from engine.execution.local import LocalExecutor
from engine.ledger.bucket import LEDGER
from engine.ledger.diff import diff_dates
from engine.ledger.previous import features_of
from engine.pipeline import fit_run, score_run
from engine.tables.layout import manifest_path, table_folder
from engine.tables.manifest import read_manifest
from tests.ledger.publishing import read, reasons
from tests.samples import AS_OF, TOML, configuration, write_sample
from tests.tables.samples import tree

LOCAL = LocalExecutor(threads=1)
FIT, DATES = AS_OF - timedelta(days=20), [AS_OF - timedelta(days=days) for days in (14, 7, 0)]
RULES = """
[[segments]]
name = "opened"
where = "event_count('email_open', 5) >= 1"
tag = true

[[segments]]
name = "opened or warm"
where = "in_segment('opened') OR segment = 'warm'"
tag = true

[execution]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The log, and the tables of all dates in their order."""
    file = write_sample(tmp_path_factory.mktemp("log"), toml=TOML.replace("\n[execution]\n", RULES))
    config = configuration(file)
    fit_run(config, FIT, executor=LOCAL)
    fitted = tmp_path_factory.mktemp("fitted") / "out"
    shutil.copytree(config.out, fitted)
    for as_of in DATES:
        score_run(config, as_of, executor=LOCAL)
    return file, fitted


def ledger(config: Config) -> dict[date, dict[str, dict[str, bytes]]]:
    out = Path(config.out)
    return {as_of: {name: tree(table_folder(out, name, as_of)) for name in LEDGER} for as_of in DATES}


@pytest.mark.slow
def test_dates_that_come_late_give_the_same_ledger(made: tuple[Path, Path]) -> None:
    file, fitted = made
    late = configuration(file, out=str(fitted))
    records = [score_run(late, DATES[place], executor=LOCAL) for place in (0, 2, 1)]
    assert ledger(late) == ledger(configuration(file))
    assert records[2].counts["ledger_corrected"] == [DATES[2].isoformat()]
    assert "ledger_corrected" not in records[1].counts


@pytest.mark.slow
def test_a_bundle_that_is_no_longer_there_takes_no_reason_away(made: tuple[Path, Path], tmp_path: Path) -> None:
    file, fitted = made
    [folder] = [path for path in (fitted / "_bundles").iterdir() if path.is_dir()]
    bundle = shutil.copytree(folder, tmp_path / "elsewhere")
    late = configuration(file, out=str(tmp_path / "out"))
    for place in (0, 2, 1):
        score_run(late, DATES[place], executor=LOCAL, bundle=bundle)
    assert ledger(late) == ledger(configuration(file))
    manifest = read_manifest(manifest_path(tmp_path / "out", DATES[2]))
    assert features_of(manifest) == load_bundle(bundle).spec
    damaged = replace(manifest, counts={"ledger": {"buckets": 1, "rekeyed": 0, "features": {"windows": "x"}}})
    with pytest.raises(IntegrityError) as caught:
        features_of(damaged)
    assert caught.value.code == "ledger-manifest"


def test_every_change_of_a_real_run_has_a_reason(made: tuple[Path, Path]) -> None:
    out = Path(configuration(made[0]).out)
    assert set(reasons(out, DATES[0]).values()) == {"first run"}
    for before, as_of in pairwise(DATES):
        found = reasons(out, as_of)
        assert found
        assert not {change: reason for change, reason in found.items() if reason == "cause unknown"}
        opened = [reason for (_, segment, _), reason in found.items() if segment == "opened"]
        assert any(reason.startswith("event_count('email_open', 5) >= 1: ") for reason in opened)
        sizes = diff_dates(out, before, as_of).segments
        counted = read(out, "membership_changes", as_of).group_by("segment", "change").len().sort("segment", "change")
        assert {tuple(row[:2]): row[2] for row in counted.rows()} == {
            (row["segment"], change): row[column]
            for row in sizes.to_dicts()
            for change, column in (("enter", "entries"), ("exit", "exits"))
            if row[column]
        }
        size = read(out, "memberships", as_of).group_by("segment").len()
        known = {row["segment"]: row["users_after"] for row in sizes.to_dicts() if row["users_after"]}
        assert dict(size.rows()) == known


def test_primary_segments_are_those_of_the_partitions(made: tuple[Path, Path]) -> None:
    out = Path(configuration(made[0]).out)
    for as_of in DATES:
        members = read(out, "memberships", as_of).filter(pl.col("group") == "primary").select("user_id", "segment")
        folder = table_folder(out, "segments", as_of)
        parts = [
            pl.read_parquet(file, columns=["user_id", "segment"], hive_partitioning=True)
            for file in folder.rglob("*.parquet")
        ]
        assert members.equals(pl.concat(parts).select("user_id", pl.col("segment").cast(pl.String)).sort("user_id"))
