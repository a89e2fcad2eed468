from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.config import Model, Target
from engine.errors import DataError, IntegrityError
from engine.propensity import train as module
from engine.propensity.train import TrainedModel, train


def test_the_model_finds_what_the_labels_depend_on(model: TrainedModel, features: tuple[str, ...]) -> None:
    spec = model.spec
    assert spec.metrics.auc is not None
    assert spec.metrics.auc > 0.7
    assert spec.metrics.log_loss < spec.metrics.base_log_loss
    assert spec.metrics.brier < spec.metrics.base_brier
    assert spec.metrics.lift_by_decile[0] > 1.5
    assert spec.metrics.lift_by_decile[-1] < 0.7
    names = [name for name, _ in spec.importance]
    assert sorted(names) == sorted(features)
    assert set(names[:3]) == {"orders_count_90d", "city", "open_rate_30d"}
    assert dict(spec.importance)["nothing"] == dict(spec.importance)["constant"] == 0


def test_the_spec_says_what_the_model_was_made_of(
    model: TrainedModel, rows_train: pl.DataFrame, rows_valid: pl.DataFrame, target: Target, settings: Model
) -> None:
    spec = model.spec
    assert (spec.target, spec.settings, spec.seed) == (target, settings, 7)
    assert spec.dtypes == ("Int64", "Int64", "Float64", "Boolean", "Int64", "Float64", "String")
    assert spec.train_anchors == (date(2024, 1, 1), date(2024, 1, 31))
    assert spec.valid_anchors == (date(2024, 3, 1),)
    assert (spec.train_metrics.rows, spec.metrics.rows) == (rows_train.height, rows_valid.height)
    assert spec.metrics.positives == rows_valid.get_column("label").sum()
    assert spec.codes[0].values == ("Angers", "Lyon", "Nîmes", "Paris", "Évry", "Île-de-France")
    assert len(spec.check_rows) == 20


@pytest.mark.parametrize("threads", [1, 2])
def test_the_order_of_rows_columns_chunks_and_threads_change_no_byte(
    model: TrainedModel, rows_train: pl.DataFrame, rows_valid: pl.DataFrame, target: Target, threads: int
) -> None:
    shuffled = rows_train.sample(fraction=1, shuffle=True, seed=3).select(reversed(rows_train.columns))
    parts = pl.concat([shuffled.head(17), shuffled.slice(17)], rechunk=False)
    again = train(
        parts.with_columns(pl.col("label").cast(pl.Int8)),
        rows_valid.reverse(),
        model.spec.features,
        ["city"],
        target,
        model.spec.settings,
        seed=7,
        threads=threads,
    )
    assert again.text == model.text
    assert again.spec.to_json() == model.spec.to_json()


def test_two_threads_sum_many_rows_of_uneven_weight_as_one_does() -> None:
    generator = np.random.default_rng(5)
    shape = (60_000, 6)
    matrix = generator.lognormal(size=shape) * (generator.random(shape) < 0.3)
    labels = (generator.random(shape[0]) < 1 / (1 + np.exp(6 - 3 * matrix[:, 0]))).astype(np.int8)
    settings = Model(trees=15, leaves=31, learning_rate=0.3)
    one, two = (module._fit(matrix, labels, [False] * 6, settings, 1, threads) for threads in (1, 2))
    assert one == two


@pytest.mark.parametrize(("rows", "expected"), [(0, 1), (19_999, 1), (20_000, 2), (40_000, 4), (10**6, 4)])
def test_small_data_is_learned_on_fewer_threads(rows: int, expected: int) -> None:
    matrix = np.broadcast_to(np.float64(0), (rows, 100))
    assert module._useful_threads(matrix, threads=4) == expected


def test_the_text_names_neither_threads_nor_columns(model: TrainedModel) -> None:
    assert model.text.endswith("\n\nend of trees\n")
    assert "num_threads" not in model.text
    assert "city" not in model.text


def test_names_that_lightgbm_refuses_are_fine(
    model: TrainedModel, rows_train: pl.DataFrame, rows_valid: pl.DataFrame, target: Target
) -> None:
    names = {name: f'{name} ["é":{{,]' for name in model.spec.features}
    again = train(
        rows_train.rename(names),
        rows_valid.rename(names),
        list(names.values()),
        [names["city"]],
        target,
        model.spec.settings,
        seed=7,
        threads=1,
    )
    assert again.text == model.text


def test_a_model_that_learns_nothing_predicts_the_base_rate(
    rows_train: pl.DataFrame, rows_valid: pl.DataFrame, target: Target, settings: Model
) -> None:
    model = train(rows_train, rows_valid, ["nothing", "constant"], [], target, settings, seed=1, threads=1)
    assert model.spec.metrics.auc == 0.5
    assert model.spec.check_scores == pytest.approx([model.spec.train_metrics.base_rate] * 20)


@pytest.mark.parametrize("which", ["training", "validation"])
@pytest.mark.parametrize("kept", [0, 19])
@pytest.mark.parametrize("rare", [True, False])
def test_too_few_of_one_class_stop_the_fit(
    rows_train: pl.DataFrame, rows_valid: pl.DataFrame, target: Target, which: str, kept: int, rare: bool
) -> None:
    def thin(frame: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([frame.filter(pl.col("label") == rare).head(kept), frame.filter(pl.col("label") != rare)])

    frames = {"training": rows_train, "validation": rows_valid}
    frames[which] = thin(frames[which])
    with pytest.raises(DataError) as caught:
        train(*frames.values(), ["orders_count_90d"], [], target, Model(min_positives=20), seed=1, threads=1)
    assert caught.value.code == "model-too-few-positives"
    assert "'buys'" in str(caught.value)
    for name, frame in frames.items():
        positives = frame.get_column("label").sum()
        line = f"{name}: {frame.height} rows, {positives} positive, {frame.height - positives} negative"
        assert line in str(caught.value)


def test_no_rows_at_all_stop_the_fit(rows_valid: pl.DataFrame, target: Target, settings: Model) -> None:
    with pytest.raises(DataError, match="training: 0 rows"):
        train(rows_valid.clear(), rows_valid, ["orders_count_90d"], [], target, settings, seed=1, threads=1)


def test_features_no_model_can_learn_from_are_all_named(
    rows_train: pl.DataFrame, rows_valid: pl.DataFrame, target: Target, settings: Model
) -> None:
    features = ["anchor", "city", "gone", "orders_count_90d", "orders_count_90d"]
    with pytest.raises(DataError) as caught:
        train(rows_train, rows_valid, features, ["label"], target, settings, seed=1, threads=1)
    for name in ("'anchor'", "'city'", "'gone'", "'orders_count_90d'", "'label'"):
        assert name in str(caught.value)


def test_validation_rows_of_another_type_are_refused(
    rows_train: pl.DataFrame, rows_valid: pl.DataFrame, target: Target, settings: Model
) -> None:
    wrong = rows_valid.with_columns(pl.col("orders_count_90d").cast(pl.Float64))
    with pytest.raises(DataError, match="expected Int64, got Float64"):
        train(rows_train, wrong, ["orders_count_90d"], [], target, settings, seed=1, threads=1)


def test_infinite_values_are_refused(
    rows_train: pl.DataFrame, rows_valid: pl.DataFrame, target: Target, settings: Model
) -> None:
    wrong = rows_train.with_columns(constant=pl.lit(float("inf")))
    with pytest.raises(DataError, match="infinite values in the features 'constant'"):
        train(wrong, rows_valid, ["orders_count_90d", "constant"], [], target, settings, seed=1, threads=1)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (pl.lit(2).alias("label"), "training: a label is not 0 or 1"),
        (pl.lit(None, pl.Boolean).alias("label"), "training: a label is not 0 or 1"),
        (pl.lit(1, pl.Int64).alias("user_id"), "training: a user has two rows at one anchor"),
        (pl.lit(date(2024, 2, 1)).alias("anchor"), "training: a user has two rows at one anchor"),
        (pl.col("anchor") + timedelta(days=1), "labels reach to 2024-03-02, past the validation anchor 2024-03-01"),
    ],
)
def test_rows_that_would_teach_something_false_are_refused(
    rows_train: pl.DataFrame, rows_valid: pl.DataFrame, target: Target, settings: Model, change: pl.Expr, problem: str
) -> None:
    with pytest.raises(IntegrityError, match=re.escape(problem)):
        train(
            rows_train.with_columns(change), rows_valid, ["orders_count_90d"], [], target, settings, seed=1, threads=1
        )


def test_bank_marketing_out_of_time(reference_data: Path, target: Target) -> None:
    rows = pl.read_parquet(reference_data / "bank_additional.parquet").drop("duration").with_row_index("user_id")
    frame = rows.with_columns(label=pl.col("y") == "yes", anchor=pl.lit(date(2010, 1, 1))).drop("y")
    cut = frame.height * 4 // 5
    features = [name for name in frame.columns if name not in ("user_id", "label", "anchor")]
    model = train(
        frame.head(cut),
        frame.slice(cut).with_columns(anchor=date(2010, 2, 1)),
        features,
        [name for name in features if frame.schema[name] == pl.String],
        target,
        Model(trees=200, leaves=15),
        seed=1,
        threads=1,
    )
    assert model.spec.train_metrics.base_rate == pytest.approx(0.064, abs=5e-4)
    assert model.spec.metrics.base_rate == pytest.approx(0.308, abs=5e-4)
    assert model.spec.metrics.auc == pytest.approx(0.666, abs=0.005)
    assert model.spec.metrics.log_loss > model.spec.metrics.base_log_loss
