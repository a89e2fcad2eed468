from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.config import Model, Target
from engine.errors import DataError
from engine.propensity.matrix import feature_matrix
from engine.propensity.metrics import measure
from engine.propensity.predict import load_scorer, predict
from engine.propensity.spec import ModelSpec
from engine.propensity.train import Frames, TrainedModel, train

ANCHORS = (date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 5))


def each(frames: Frames, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Frames:
    return Frames(change(frames.train), change(frames.valid), change(frames.test))


def world(
    rows: tuple[int, int, int], features: int, log_odds: Callable[[np.ndarray], np.ndarray], seed: int = 1
) -> Frames:
    """Rows whose label has the given log odds of its features."""
    generator = np.random.default_rng(seed)
    parts = []
    first = 0
    for count, anchor in zip(rows, ANCHORS, strict=True):
        matrix = generator.normal(size=(count, features)).round(3)
        label = generator.random(count) < 1 / (1 + np.exp(-log_odds(matrix)))
        columns = {f"x{number}": matrix[:, number] for number in range(features)}
        users = np.arange(first, first + count)
        parts.append(pl.DataFrame({"user_id": users, "anchor": [anchor] * count, "label": label, **columns}))
        first += count
    return Frames(*parts)


def names(features: int) -> list[str]:
    return [f"x{number}" for number in range(features)]


def test_the_model_finds_what_the_labels_depend_on(model: TrainedModel, features: tuple[str, ...]) -> None:
    spec = model.spec
    assert spec.metrics.auc is not None
    assert spec.metrics.auc > 0.7
    assert spec.metrics.log_loss < spec.metrics.base_log_loss
    assert spec.metrics.brier < spec.metrics.base_brier
    assert spec.metrics.lift_by_decile[0] > 1.5
    assert spec.metrics.lift_by_decile[-1] < 0.7
    for found in (spec.importance, spec.permutation):
        assert sorted(name for name, _ in found) == sorted(features)
        assert {name for name, _ in found[:3]} == {"orders_count_90d", "city", "open_rate_30d"}
        assert dict(found)["nothing"] == dict(found)["constant"] == 0


def test_the_spec_says_what_the_model_was_made_of(
    model: TrainedModel, frames: Frames, target: Target, settings: Model
) -> None:
    spec = model.spec
    assert (spec.target, spec.settings, spec.seed) == (target, settings, 7)
    assert spec.dtypes == ("Int64", "Int64", "Float64", "Boolean", "Int64", "Float64", "String")
    assert spec.train_anchors == (date(2024, 1, 1), date(2024, 1, 31))
    assert spec.valid_anchors == (date(2024, 3, 1),)
    assert spec.test_anchors == (date(2024, 3, 31),)
    assert (spec.train_metrics.rows, spec.metrics.rows) == (frames.train.height, frames.test.height)
    assert spec.baseline.rows == sum(part.rows for part in spec.reliability) == frames.test.height
    assert spec.metrics.positives == frames.test.get_column("label").sum()
    labels = pl.concat([frames.train, frames.valid]).get_column("label")
    assert spec.base_rate == labels.sum() / labels.len()
    assert spec.learned == (
        ("training", frames.train.height, frames.train.get_column("label").sum()),
        ("validation", frames.valid.height, frames.valid.get_column("label").sum()),
    )
    assert spec.codes[0].values == ("Angers", "Lyon", "Nîmes", "Paris", "Évry", "Île-de-France")
    assert 1 <= spec.trees <= settings.trees
    assert len(spec.check_rows) == 20
    assert (spec.cuts, spec.tuned, spec.sampled, spec.alarms) == ((), (), (), ())
    assert spec.notes == ("no training row has a value of: 'nothing'",)
    assert {"auc", "average_precision", "lift"} <= {name for name, _ in spec.intervals}


def test_what_was_measured_is_what_is_returned(model: TrainedModel, frames: Frames) -> None:
    spec = model.spec
    scores = predict(frames.test, load_scorer(model.text, spec), threads=1)
    assert measure(frames.test.get_column("label").to_numpy(), scores) == spec.metrics


@pytest.mark.parametrize("threads", [1, 2])
def test_the_order_of_rows_columns_chunks_and_threads_change_no_byte(
    model: TrainedModel, frames: Frames, target: Target, threads: int
) -> None:
    def shuffled(frame: pl.DataFrame) -> pl.DataFrame:
        rows = frame.sample(fraction=1, shuffle=True, seed=3).select(reversed(frame.columns))
        parts = pl.concat([rows.head(17), rows.slice(17)], rechunk=False)
        return parts.with_columns(pl.col("label").cast(pl.Int8))

    spec = model.spec
    again = train(each(frames, shuffled), spec.features, ["city"], target, spec.settings, seed=7, threads=threads)
    assert again.text == model.text
    assert again.spec.to_json() == spec.to_json()


def test_the_text_names_neither_threads_nor_columns(model: TrainedModel) -> None:
    assert model.text.endswith("\n\nend of trees\n")
    assert "num_threads" not in model.text
    assert "city" not in model.text


def test_names_that_lightgbm_refuses_are_fine(model: TrainedModel, frames: Frames, target: Target) -> None:
    odd = {name: f'{name} ["é":{{,]' for name in model.spec.features}
    renamed = each(frames, lambda frame: frame.rename(odd))
    again = train(renamed, list(odd.values()), [odd["city"]], target, model.spec.settings, seed=7, threads=1)
    assert again.text == model.text


def test_a_model_that_learns_nothing_predicts_the_base_rate_and_is_not_promoted(
    frames: Frames, target: Target, settings: Model
) -> None:
    spec = train(frames, ["nothing", "constant"], [], target, settings, seed=1, threads=1).spec
    assert spec.trees == 1
    assert spec.metrics.auc == spec.baseline.auc == 0.5
    assert spec.check_scores == pytest.approx([spec.train_metrics.base_rate] * 20)
    assert not spec.verdict.promoted
    assert any("get the score" in alarm for alarm in spec.alarms)
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_in_a_linear_world_the_baseline_wins(target: Target) -> None:
    frames = world((800, 400, 4000), 8, lambda x: (x * np.linspace(1, 2, 8)).sum(axis=1))
    spec = train(frames, names(8), [], target, Model(trees=100, learning_rate=0.1), seed=1, threads=1).spec
    assert spec.verdict.baseline is not None
    assert spec.verdict.baseline.high < 0
    assert not spec.verdict.promoted
    assert any(reason.startswith("no") and "baseline" in reason for reason in spec.verdict.reasons)


def test_in_a_world_of_steps_the_trees_win(target: Target) -> None:
    frames = world((3000, 1000, 2000), 4, lambda x: np.where(x[:, 0] * x[:, 1] > 0, 1.5, -1.5))
    spec = train(frames, names(4), [], target, Model(), seed=1, threads=1).spec
    assert spec.verdict.baseline is not None
    assert spec.verdict.baseline.low > 0.1
    assert spec.verdict.promoted
    assert spec.metrics.auc is not None
    assert spec.metrics.auc > 0.75


def test_a_rare_event_keeps_its_probability(target: Target) -> None:
    frames = world((40_000, 10_000, 10_000), 3, lambda x: -6.2 + 1.3 * x[:, 0] + np.where(x[:, 1] > 1, 1.0, 0.0))
    assert 0.003 < frames.train.get_column("label").mean() < 0.007
    params = Model(trees=100, learning_rate=0.1)
    spec = train(frames, names(3), [], target, params, seed=1, threads=1).spec
    assert spec.verdict.promoted
    assert spec.metrics.auc is not None
    assert spec.metrics.auc > 0.75
    assert spec.metrics.lift_by_decile[0] > 3
    mean = sum(part.mean_score * part.rows for part in spec.reliability) / spec.metrics.rows
    assert mean == pytest.approx(spec.metrics.base_rate, rel=0.3)
    assert spec.metrics.log_loss < spec.metrics.base_log_loss


@pytest.mark.parametrize("direction", ["increasing", "decreasing"])
def test_a_monotone_constraint_holds_for_the_published_score(
    frames: Frames, features: tuple[str, ...], target: Target, direction: str
) -> None:
    params = Model.model_validate({"trees": 40, "monotone": {"open_rate_30d": direction}})
    model = train(frames, features, ["city"], target, params, seed=7, threads=1)
    assert ModelSpec.from_json(model.spec.to_json()) == model.spec
    sign = 1 if direction == "increasing" else -1
    scorer = load_scorer(model.text, model.spec)
    rates = [float(rate) for rate in np.linspace(0, 1, 21)]
    users = frames.test.head(50)
    scores = [predict(users.with_columns(open_rate_30d=pl.lit(rate)), scorer, 1) for rate in rates]
    assert (sign * np.diff(np.array(scores), axis=0)).min() >= 0


def test_a_feature_that_tells_the_label_raises_the_alarm(frames: Frames, target: Target, settings: Model) -> None:
    leaky = each(frames, lambda frame: frame.with_columns(after=pl.col("label").cast(pl.Int64) * 3))
    spec = train(leaky, ["orders_count_90d", "after"], [], target, settings, seed=1, threads=1).spec
    assert [alarm for alarm in spec.alarms if "'after'" in alarm and "tells the label" in alarm]
    coded = each(frames, lambda frame: frame.with_columns(after=pl.when("label").then(pl.lit("é")).otherwise(None)))
    spec = train(coded, ["orders_count_90d", "after"], ["after"], target, settings, seed=1, threads=1).spec
    assert [alarm for alarm in spec.alarms if "'after'" in alarm]


def test_a_category_of_ten_thousand_levels_is_cut_and_said(frames: Frames, target: Target, settings: Model) -> None:
    def with_levels(frame: pl.DataFrame) -> pl.DataFrame:
        # Half of the rows in 5 levels, the others in up to 10,000.
        row = pl.int_range(pl.len())
        rare = ((row * 7919) % 10_000 + 1000).cast(pl.String)
        return frame.with_columns(shop=pl.when(row % 2 == 0).then((row % 5).cast(pl.String)).otherwise(rare))

    shops = each(frames, with_levels)
    spec = train(shops, ["orders_count_90d", "shop"], ["shop"], target, settings, seed=1, threads=1).spec
    assert len(spec.codes[0].values) == 255
    assert {"0", "1", "2", "3", "4"} <= set(spec.codes[0].values)
    [note] = spec.notes
    assert note.startswith("'shop' has 1,005 values; the 255 most frequent are kept, the others (37.5 % of its ")


def test_a_category_without_any_value_does_no_harm(frames: Frames, target: Target, settings: Model) -> None:
    empty = each(frames, lambda frame: frame.with_columns(shop=pl.lit(None, pl.String)))
    spec = train(empty, ["orders_count_90d", "shop"], ["shop"], target, settings, seed=1, threads=1).spec
    assert spec.codes[0].values == ()
    assert spec.notes == ("no training row has a value of: 'shop'",)
    assert dict(spec.importance)["shop"] == 0
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_infinite_values_are_refused_wherever_they_are(frames: Frames, target: Target, settings: Model) -> None:
    wrong = dataclasses.replace(frames, test=frames.test.with_columns(constant=pl.lit(float("inf"))))
    with pytest.raises(DataError, match="'constant': 1000 of 1000 test rows"):
        train(wrong, ["orders_count_90d", "constant"], [], target, settings, seed=1, threads=1)


def test_ten_rows_are_too_few(frames: Frames, target: Target) -> None:
    few = each(frames, lambda frame: frame.head(10))
    with pytest.raises(DataError, match="training: 10 rows"):
        train(few, ["orders_count_90d"], [], target, Model(), seed=1, threads=1)


def test_the_model_in_use_is_compared_with_on_the_same_rows(
    model: TrainedModel, frames: Frames, target: Target, settings: Model
) -> None:
    features = model.spec.features
    again = train(frames, features, ["city"], target, settings, seed=7, threads=1, incumbent=model).spec
    assert again.verdict.incumbent is not None
    assert (again.verdict.incumbent.value, again.verdict.incumbent.low, again.verdict.incumbent.high) == (0, 0, 0)
    without = each(frames, lambda frame: frame.drop("city"))
    worse = train(without, ["is_new"], [], target, settings, seed=7, threads=1, incumbent=model).spec
    assert worse.verdict.incumbent is None
    assert any("needs other features" in note and "'city'" in note for note in worse.notes)
    fewer = dataclasses.replace(frames, train=frames.train.with_columns(city=pl.lit(None, pl.String)))
    held = train(fewer, features, ["city"], target, settings, seed=7, threads=1, incumbent=model).spec
    assert held.verdict.incumbent is not None
    assert held.verdict.incumbent.high < 0
    assert not held.verdict.promoted
    other = target.model_copy(update={"where": "amount > 5"})
    redefined = train(frames, features, ["city"], other, settings, seed=7, threads=1, incumbent=model).spec
    assert redefined.verdict.incumbent is None
    assert any("another definition" in note for note in redefined.notes)


def test_a_short_log_keeps_its_parts_apart_by_users(frames: Frames, target: Target, settings: Model) -> None:
    other = frames.valid.with_columns(anchor=pl.lit(date(2024, 1, 31)), user_id=pl.col("user_id") + 5000)
    short = dataclasses.replace(frames, valid=other)
    sampled = [("training", 5000, 2000)]
    spec = train(
        short, ["orders_count_90d"], [], target, settings, seed=1, threads=1, apart="users", sampled=sampled
    ).spec
    assert spec.apart == "users"
    assert spec.valid_anchors == (date(2024, 1, 31),)
    assert spec.sampled == (("training", 5000, 2000),)
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_codes_are_learned_from_training_rows_alone(frames: Frames, target: Target, settings: Model) -> None:
    new = dataclasses.replace(frames, valid=frames.valid.with_columns(city=pl.lit("Atlantis")))
    model = train(new, ["orders_count_90d", "city"], ["city"], target, settings, seed=1, threads=1)
    assert "Atlantis" not in model.spec.codes[0].values
    assert np.isnan(feature_matrix(new.valid, model.spec.features, model.spec.codes)[:, 1]).all()


def test_bank_marketing_out_of_time(reference_data: Path, target: Target) -> None:
    rows = pl.read_parquet(reference_data / "bank_additional.parquet").drop("duration").with_row_index("user_id")
    frame = rows.with_columns(label=pl.col("y") == "yes").drop("y")
    cuts = [0, frame.height * 7 // 10, frame.height * 8 // 10, frame.height]
    parts = [
        frame.slice(start, end - start).with_columns(anchor=pl.lit(anchor))
        for start, end, anchor in zip(cuts[:-1], cuts[1:], ANCHORS, strict=True)
    ]
    features = [name for name in frame.columns if name not in ("user_id", "label")]
    categorical = [name for name in features if frame.schema[name] == pl.String]
    params = Model(learning_rate=0.2)
    spec = train(Frames(*parts), features, categorical, target, params, seed=1, threads=1).spec
    assert spec.base_rate == pytest.approx(0.064, abs=5e-4)
    assert spec.metrics.base_rate == pytest.approx(0.308, abs=5e-4)
    assert spec.metrics.auc == pytest.approx(0.687, abs=0.01)
    assert spec.metrics.log_loss > spec.metrics.base_log_loss
    assert any("base rate has shifted" in alarm for alarm in spec.alarms)
    assert spec.verdict.promoted
