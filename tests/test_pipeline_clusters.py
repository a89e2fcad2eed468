from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.bundle import load_bundle
from engine.bundle_store import promote_bundle
from engine.cluster_history import fitted_clusters, history
from engine.config import Config
from engine.errors import ConfigError, HeldError
from engine.execution.local import LocalExecutor
from engine.execution.protocol import Executor
from engine.pipeline import fit_run, run, score_run
from tests.golden.runs import published
from tests.samples import AS_OF, TOML, configuration, files, write_sample

LOCAL = LocalExecutor(threads=1)
ROOT = Path(__file__).parents[1]
EARLIER = AS_OF - timedelta(days=14)
QUICK = TOML[: TOML.index("[[targets]]")] + "[model]\n" + TOML[TOML.index("[clusters]") : TOML.index("[[segments]]")]
RULES = [{"name": "first", "where": "cluster = 0"}, {"name": "named", "where": "cluster_name = 'Best'"}]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample"), toml=QUICK)


def configured(sample: Path, out: Path, **overrides: object) -> Config:
    given: dict[str, object] = {"segments": RULES, "execution__rows_per_task": 230, "clusters__resamples": 3}
    return configuration(sample, out=str(out), **{**given, **overrides})


def two_fits(config: Config, executor: Executor) -> dict[str, bytes]:
    for day in (EARLIER, AS_OF):
        fit_run(config, day, executor=executor)
    score_run(config, AS_OF, executor=executor)
    return files(Path(config.out))


KINDS: dict[str, dict[str, object]] = {
    "kmeans": {"clusters__outliers": "apart", "clusters__outlier_limit": 4},
    "mixture": {"clusters__algorithm": "mixture"},
}


@pytest.mark.parametrize(
    "executor", ["local", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])], indirect=True
)
@pytest.mark.parametrize(
    "settings",
    [pytest.param(kind, id=name, marks=pytest.mark.slow) for name, kind in KINDS.items()],
)
def test_clusters_have_the_same_bytes_on_any_executor(
    settings: dict[str, object], sample: Path, executor: Executor, tmp_path: Path
) -> None:
    found = two_fits(configured(sample, tmp_path / "out", **settings), executor)
    assert found == two_fits(configured(sample, tmp_path / "local", **settings), LOCAL)


WORKERS = """
import hashlib, sys
from pathlib import Path
import ray
from engine.config import Execution
from engine.execution.on_ray import ray_executor
from tests.test_pipeline_clusters import configured, digest, two_fits

ray.init(num_cpus=int(sys.argv[1]), include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
with ray_executor(Execution(executor="ray")) as executor:
    print(digest(two_fits(configured(Path(sys.argv[2]), Path(sys.argv[3])), executor)))
"""


def digest(found: dict[str, bytes]) -> str:
    total = hashlib.sha256()
    for name, data in sorted(found.items()):
        total.update(name.encode() + b"\0" + data)
    return total.hexdigest()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_bytes(workers: int, sample: Path, tmp_path: Path) -> None:
    arguments = [str(workers), str(sample), str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", WORKERS, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == digest(two_fits(configured(sample, tmp_path / "local"), LOCAL))


def test_rules_and_tables_know_the_clusters(sample: Path, tmp_path: Path) -> None:
    config = configured(sample, tmp_path / "out")
    run(config, AS_OF, executor=LOCAL)
    # A name that is given later needs no fit.
    named = configured(sample, tmp_path / "out", clusters__names={"1": "Best", "9": "Nobody"})
    record = run(named, AS_OF, executor=LOCAL)
    assert "clusters.names: there is no cluster 9" in record.counts["warnings"]
    scores, segments = published(tmp_path / "out", "scores"), published(tmp_path / "out", "segments")
    assert set(segments.filter(pl.col("cluster") == 1)["cluster_name"]) == {"Best"}
    assert set(segments.filter(pl.col("segment") == "first")["cluster"]) == {0}
    assert set(segments.filter(pl.col("segment") == "named")["cluster"]) == {1}
    assert {"cluster", "cluster_name"} <= set(segments.columns)
    assert not {"cluster_distance", "cluster_margin"} & set(segments.columns)
    assert scores.select("cluster", "cluster_name", "cluster_distance", "cluster_margin").null_count().row(0) == (
        (0,) * 4
    )


@pytest.mark.slow
def test_fits_follow_each_other_in_one_table(sample: Path, tmp_path: Path) -> None:
    config = configured(sample, tmp_path / "out", model__gate="warn")
    days = [AS_OF - timedelta(days=days) for days in (14, 7, 0)]
    for day in reversed(days):
        fit_run(config, day, executor=LOCAL)
    # In whatever order they were fitted, each is compared with what was in use before its day.
    for day in days:
        fit_run(config, day, executor=LOCAL)
    table = history(fitted_clusters(tmp_path / "out", {}))
    assert sorted(set(table["as_of"])) == days
    last = table.filter(pl.col("as_of") == AS_OF)
    assert last["ari"].null_count() == 0
    told: dict[date, set[int]] = {
        day: set(rows["cluster"]) for (day,), rows in table.partition_by("as_of", as_dict=True).items()
    }
    assert all(told[day] for day in days)


@pytest.mark.slow
def test_clusters_that_move_too_many_are_held_until_a_person_takes_them(sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fit_run(configured(sample, out), EARLIER, executor=LOCAL)
    other = configured(
        sample,
        out,
        clusters__max_moved=0.01,
        clusters__k_min=5,
        clusters__k_max=5,
        clusters__features=["days_since_last_event", "email_open_count_30d"],
    )
    with pytest.raises(HeldError, match="clusters did not pass their gate") as caught:
        fit_run(other, AS_OF, executor=LOCAL)
    assert caught.value.code == "clusters-held"
    assert "clusters.max_moved allows 1%" in caught.value.message
    held = next(word for word in caught.value.message.split() if (out / "_bundles" / word).is_dir())
    with pytest.raises(ConfigError):
        score_run(other, AS_OF, executor=LOCAL)
    promote_bundle(out, held)
    assert score_run(other, AS_OF, executor=LOCAL).bundle == str(out / "_bundles" / held)


def test_clusters_in_use_stay_and_it_is_told(sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = fit_run(configured(sample, out), EARLIER, executor=LOCAL)
    few = configured(sample, out, clusters__max_moved=0.01, clusters__k_min=5, clusters__k_max=5)
    record = fit_run(few, AS_OF, executor=LOCAL)
    name = Path(str(first.bundle)).name
    assert record.counts["clusters"]["kept"] == name
    assert any(line.startswith(f"the clusters of bundle {name} stay") for line in record.counts["warnings"])
    old, new = (load_bundle(Path(str(fitted.bundle))).clustering for fitted in (first, record))
    assert old is not None
    assert new is not None
    assert (new.centroids, new.ids, new.names, new.far) == (old.centroids, old.ids, old.names, old.far)


@pytest.mark.parametrize(
    ("features", "named"),
    [
        (["purchase_counts_30d"], "clusters.features: no feature 'purchase_counts_30d'"),
        (["region"], "clusters.features: no feature 'region'"),
        (["first_event_date"], "clusters.features: "),
    ],
)
def test_what_is_no_number_is_refused_before_the_log_is_learnt_from(
    features: list[str], named: str, sample: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        fit_run(configured(sample, tmp_path / "out", clusters__features=features), AS_OF, executor=LOCAL)
    assert caught.value.code == "feature-names"
    assert named in caught.value.message


@pytest.mark.parametrize("settings", [{"clusters__k_min": 1}, {"clusters__k_max": 1}, {"clusters__names": {"x": "a"}}])
def test_settings_that_make_no_clusters(settings: dict[str, object], sample: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(sample, tmp_path / "out", **settings)
    assert caught.value.code == "config-invalid"
