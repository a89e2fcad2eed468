from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.execution.local import LocalExecutor
from engine.pipeline import run
from engine.planning import audience
from engine.planning.audience import find_audience, scaled
from tests.samples import AS_OF, configuration, write_sample


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000), st.floats(0.001, 1))
def test_the_interval_holds_the_estimate(count: int, entering: int, leaving: int, share: float) -> None:
    for before in (None, 10_000_000):
        after, low, high = scaled(count, before, entering, leaving, share)
        assert 0 <= low <= after <= high


def test_everybody_is_no_estimate() -> None:
    assert scaled(70, None, 0, 0, 1.0) == (70, 70, 70)
    assert scaled(70, 60, 15, 5, 1.0) == (70, 70, 70)


def test_only_the_change_is_scaled_up() -> None:
    after, low, high = scaled(1_000, 100_000, 8, 2, 0.01)
    assert after == 100_600
    assert 99_900 < low < 100_100
    assert 101_100 < high < 101_300


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    found = ((path, path.lstat()) for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (stat.st_size, stat.st_mtime_ns) for path, stat in found}


@pytest.mark.slow
def test_whom_a_run_moves_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(write_sample(tmp_path, users=60))
    executor = LocalExecutor(threads=1)
    with pytest.raises(ConfigError) as caught:
        find_audience(config, AS_OF, executor=executor, share=0.01)
    assert caught.value.code == "plan-audience"
    run(config, AS_OF, executor=executor)
    day = AS_OF + timedelta(days=1)
    before = tree(Path(config.out))
    found = find_audience(config, day, executor=executor, share=0.01)
    assert tree(Path(config.out)) == before
    # The base is so small that everybody is taken, so that the run itself tells what is right.
    assert found.share == 1.0
    record = run(config, day, executor=executor)
    assert found.compared == AS_OF
    sizes = {one.segment: one.after for one in found.segments if one.group == "primary" and one.after}
    assert sizes == {name: size["users"] for name, size in record.counts["segments"].items() if size["users"]}
    changes = (
        pl.read_parquet(record.tables["membership_changes"].path) if "membership_changes" in record.tables else None
    )
    entries = 0 if changes is None else changes.filter(pl.col("change") == "enter").height
    assert sum(one.entering for one in found.segments) == entries
    assert all(one.low == one.after == one.high for one in found.segments)
    monkeypatch.setattr(audience, "LEAST_USERS", 20)
    part = find_audience(config, day + timedelta(days=1), executor=executor, share=0.01)
    assert 0 < part.users < found.users
