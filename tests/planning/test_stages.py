from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.execution.local import LocalExecutor
from engine.pipeline import run
from engine.planning.census import take_census
from engine.planning.generated import END, Shape, write_log
from engine.planning.inputs import due_jobs
from engine.planning.recording import Recording
from tests.samples import AS_OF, FIRST_DAY, TOML, configuration, write_sample

# How many segments are not empty, and how often k-means goes over the users, is in the data alone.
BY_THE_DATA = {"SampleTask", "CompactTask", "CheckTask", "Visit sums_of"}


def planned(config: Config, day: date) -> Counter[str]:
    tasks: Counter[str] = Counter()
    for job in due_jobs(config, take_census(config, day), day).jobs:
        tasks.update(job.kinds())
    return tasks


def real(config: Config, day: date) -> Counter[str]:
    recording = Recording(LocalExecutor(threads=1))
    run(config, day, executor=recording)
    return Counter(task.kind for task in recording.tasks)


def without_data(tasks: Counter[str]) -> dict[str, int]:
    return {kind: number for kind, number in sorted(tasks.items()) if kind not in BY_THE_DATA}


def assert_as_planned(config: Config, day: date) -> None:
    plan, found = planned(config, day), real(config, day)
    assert without_data(plan) == without_data(found)
    assert plan.keys() == found.keys()
    for kind in ("CompactTask", "CheckTask"):
        assert found[kind] / 3 <= plan[kind] <= found[kind] * 3


@pytest.mark.slow
def test_the_tasks_are_those_of_real_runs(tmp_path: Path) -> None:
    asking = '[consent]\npath = "consents.parquet"\n\n[execution]'
    file = write_sample(tmp_path, users=60, toml=TOML.replace("[execution]", asking))
    at = pl.lit(FIRST_DAY).alias("at")
    said = {"purpose": "profiling", "status": "granted", "form_version": "1", "source": "shop"}
    rows = pl.DataFrame({"user_id": range(1, 61)}).with_columns(
        at, **{name: pl.lit(text) for name, text in said.items()}
    )
    rows.write_parquet(tmp_path / "consents.parquet")
    config = configuration(file)
    assert planned(config, AS_OF)["PermitsTask"] == 2
    assert take_census(config, AS_OF).consents == 60
    assert_as_planned(config, AS_OF)
    # The bundle is there, and everything is rolled up.
    assert_as_planned(config, AS_OF + timedelta(days=1))
    # Both of them have a ledger that is made from the date before.
    assert_as_planned(config, AS_OF - timedelta(days=1))


@pytest.mark.slow
def test_the_tasks_of_a_log_in_days(tmp_path: Path) -> None:
    shape = Shape(1_500, 12_000, 12, 3_000, 8)
    config = write_log(tmp_path, shape, hold_back=1)
    assert_as_planned(config, END - timedelta(days=1))
    config = write_log(tmp_path, shape)
    assert_as_planned(config, END)


@pytest.mark.slow
def test_the_tasks_of_units_that_are_cut_up(tmp_path: Path) -> None:
    config = write_log(tmp_path, Shape(1_500, 12_000, 8, 700, 8))
    assert planned(config, END)["PartTask"] > 8
    assert_as_planned(config, END)
