from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.bundle import load_bundle
from engine.config import Config
from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run
from engine.record import RunRecord
from engine.stages.watching import watched_reference
from tests.bundles import bundle
from tests.samples import AS_OF, TOML, configuration, shop, write_sample

LOCAL = LocalExecutor(threads=1)
FITTED = AS_OF - timedelta(days=20)
QUICK = TOML[: TOML.index("[[targets]]")] + "[model]\n" + TOML[TOML.index("[clusters]") : TOML.index("[[segments]]")]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample"), users=300, toml=QUICK)


def configured(sample: Path, out: Path, **overrides: object) -> Config:
    return configuration(sample, out=str(out), clusters__resamples=0, execution__rows_per_task=2000, **overrides)


def asked(config: Config, day: date) -> RunRecord:
    return fit_run(config, day, executor=LOCAL, if_drifted=True)


def bundles(out: Path) -> set[str]:
    return {path.name for path in (out / "_bundles").iterdir() if path.is_dir()}


@pytest.fixture(scope="module")
def out(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One fit, which no test of it follows by another."""
    folder = tmp_path_factory.mktemp("out") / "out"
    fit_run(configured(sample, folder), FITTED, executor=LOCAL)
    return folder


def test_a_day_later_no_fit_is_due_and_nothing_is_learnt(sample: Path, out: Path) -> None:
    before = bundles(out)
    record = asked(configured(sample, out), FITTED + timedelta(days=1))
    refit = record.counts["refit"]
    assert (refit["due"], refit["triggers"], refit["age_days"]) == (False, [], 1)
    assert refit["bundle"] == Path(str(record.bundle)).name
    assert bundles(out) == before == {refit["bundle"]}
    clustering = load_bundle(Path(str(record.bundle))).clustering
    assert clustering is not None
    # What grows by a day every day is not compared.
    assert set(refit["psi"]) == set(clustering.preparation.features) - {"tenure_days"}
    assert max(refit["psi"].values()) < 0.25
    assert refit["far_share"] < 0.05
    assert refit["reasons"][0] == f"the last fit, as of {FITTED}, is 1 days old (limit 7)"
    assert len(refit["reasons"]) == 3
    assert record.counts["users"] > 200
    assert "models" not in record.counts


def test_the_first_fit_is_due(sample: Path, tmp_path: Path) -> None:
    record = asked(configured(sample, tmp_path / "out"), AS_OF)
    assert record.counts["refit"]["triggers"] == ["no-bundle"]
    assert bundles(tmp_path / "out") == {Path(str(record.bundle)).name}


@pytest.mark.parametrize(
    ("overrides", "days", "trigger", "line"),
    [
        ({"refit_after_days": 5}, 5, "age", "is 5 days old (limit 5)"),
        ({"refit_after_days": 5, "clusters__refit_far": 0.0001}, 4, "far", "users are farther from every cluster"),
        ({"clusters__k_max": 4}, 1, "no-bundle", "was fitted with this configuration"),
        ({"refit_after_days": 90, "clusters__refit_far": 1}, 20, "psi", "greatest PSI of a clustering feature: "),
    ],
)
def test_what_makes_a_fit_due(
    overrides: dict[str, object], days: int, trigger: str, line: str, sample: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    fit_run(configured(sample, folder), FITTED, executor=LOCAL)
    if trigger == "psi":
        # From the day of the fit on, everybody buys every day.
        late = shop(300, days=1).select(pl.col("customer").unique()).join(pl.DataFrame({"day": range(20)}), how="cross")
        moment = pl.lit(FITTED).cast(pl.Datetime("us", "UTC")) + pl.duration(days=pl.col("day"), hours=1)
        rows = late.select("customer", order=pl.format("n{}-{}", "customer", "day"), at=moment, total=pl.lit(9.0))
        source = tmp_path / "more"
        source.mkdir()
        for file in (sample.parent / "shop").iterdir():
            (source / file.name).write_bytes(file.read_bytes())
        rows.write_parquet(source / "late.parquet")
        overrides = {**overrides, "sources__shop__path": str(source)}
    record = asked(configured(sample, folder, **overrides), FITTED + timedelta(days=days))
    refit = record.counts["refit"]
    assert refit["triggers"] == [trigger]
    assert line in refit["reasons"][0]
    assert len(refit["reasons"]) == 1
    assert "clusters" in record.counts
    assert len(bundles(folder)) == 2


def test_without_clusters_the_schedule_alone_counts(sample: Path, tmp_path: Path) -> None:
    config = configured(sample, tmp_path / "out", clusters__enabled=False)
    fit_run(config, FITTED, executor=LOCAL)
    refit = asked(config, FITTED + timedelta(days=3)).counts["refit"]
    assert (refit["due"], refit["psi"], refit["far_share"]) == (False, None, None)
    assert "no clusters" in refit["reasons"][1]


def test_other_event_types_make_other_features(sample: Path, tmp_path: Path) -> None:
    config = configured(sample, tmp_path / "out")
    fit_run(config, FITTED, executor=LOCAL)
    more = pl.DataFrame(
        {"customer": [1], "kind": ["email_bounce"], "at": [FITTED], "message": ["b1"]},
        {"customer": pl.Int64, "kind": pl.String, "at": pl.Datetime("us", "UTC"), "message": pl.String},
    )
    source = tmp_path / "mail"
    source.mkdir()
    for file in (sample.parent / "mail").iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    more.write_parquet(source / "more.parquet")
    changed = configured(sample, tmp_path / "out", sources__mail__path=str(source))
    refit = asked(changed, FITTED + timedelta(days=2)).counts["refit"]
    assert refit["triggers"] == ["features"]


def test_a_bundle_without_clusters_has_nothing_to_watch() -> None:
    assert watched_reference(bundle()).columns == ()
