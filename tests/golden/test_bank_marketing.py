from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.bundle import load_bundle
from engine.config import Config, Model, Target
from engine.config_file import load_config
from engine.errors import HeldError
from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run
from engine.propensity.train import Frames, train
from tests.golden.bank import AS_OF, rows, write_bank


@pytest.fixture(scope="module")
def config(reference_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    return load_config(write_bank(reference_data, tmp_path_factory.mktemp("bank"))).config


@pytest.mark.slow
def test_out_of_time_through_the_ordinary_job(config: Config) -> None:
    warned = config.model_copy(update={"model": config.model.model_copy(update={"gate": "warn"})})
    record = fit_run(warned, AS_OF, executor=LocalExecutor(threads=2))
    [model] = load_bundle(Path(str(record.bundle))).models
    assert (model.spec.metrics.rows, model.spec.metrics.positives) == (8237, 2540)
    # A light LightGBM on the last fifth of the rows has .666; the base rate moves from 6.4 % to 30.8 %.
    assert model.spec.metrics.auc is not None
    assert model.spec.metrics.auc >= 0.66
    assert round(model.spec.base_rate, 3) == 0.064
    assert round(model.spec.metrics.base_rate, 3) == 0.308
    warnings = "\n".join(record.counts["warnings"])
    assert "the base rate has shifted: 6.37 %" in warnings
    # All that is known of a client is known as of today.
    assert "euribor3m" in warnings


@pytest.mark.slow
def test_a_logistic_regression_is_better_when_the_world_changes_so_the_gate_holds(config: Config) -> None:
    with pytest.raises(HeldError) as held:
        fit_run(config, AS_OF, executor=LocalExecutor(threads=2))
    assert held.value.code == "model-held"
    assert "of the logistic baseline" in held.value.message
    assert "the base rate has shifted" in held.value.message


@pytest.mark.slow
def test_five_random_folds(reference_data: Path) -> None:
    clients = rows(reference_data).with_columns(label=pl.col("y") == "yes").drop("y")
    features = [name for name in clients.columns if name not in {"user_id", "label"}]
    categorical = [name for name in features if clients.schema[name] == pl.String]
    target = Target(name="subscribes", event="subscription", horizon_days=30)
    folds = clients.sample(fraction=1, shuffle=True, seed=1).with_row_index("fold").with_columns(pl.col("fold") % 5)
    figures = []
    for fold in range(5):
        rest = folds.filter(pl.col("fold") != fold).drop("fold")
        cut = rest.height * 7 // 8
        frames = Frames(
            *(
                part.with_columns(anchor=pl.lit(anchor))
                for part, anchor in (
                    (rest.head(cut), date(2020, 1, 1)),
                    (rest.tail(rest.height - cut), date(2020, 2, 1)),
                    (folds.filter(pl.col("fold") == fold).drop("fold"), date(2020, 3, 2)),
                )
            )
        )
        spec = train(frames, features, categorical, target, Model(test_users=0), seed=1, threads=2).spec
        assert spec.metrics.auc is not None
        assert spec.baseline.auc is not None
        assert spec.verdict.promoted
        figures.append(spec.metrics.auc)
    assert sum(figures) / 5 >= 0.80
