from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.config import Model, Target
from engine.errors import ConfigError, IntegrityError
from engine.propensity.classes import score_cuts
from engine.propensity.predict import load_scorer, predict
from engine.propensity.train import Frames, TrainedModel, train
from engine.stages.propensities import probabilities, propensity_columns, propensity_schema
from tests.propensity.conftest import FEATURES, labelled_rows


@pytest.fixture(scope="module")
def users() -> pl.DataFrame:
    return labelled_rows(4, [date(2024, 4, 30)], 300).drop("label", "anchor")


@pytest.fixture(scope="module")
def model(users: pl.DataFrame) -> TrainedModel:
    frames = Frames(
        labelled_rows(1, [date(2024, 1, 1)], 600),
        labelled_rows(2, [date(2024, 1, 31)], 600),
        labelled_rows(3, [date(2024, 3, 1)], 600, first_user=1000),
    )
    target = Target(name="buys", event="purchase", horizon_days=30)
    settings = Model(trees=8, leaves=7, min_rows_per_leaf=20)
    trained = train(frames, FEATURES, ["city"], target, settings, seed=7, threads=1)
    scores = predict(users, load_scorer(trained.text, trained.spec), threads=1)
    return replace(trained, spec=replace(trained.spec, cuts=score_cuts(scores)))


def of(model: TrainedModel, name: str, population: str | None) -> TrainedModel:
    target = model.spec.target.model_copy(update={"name": name, "population": population})
    return replace(model, spec=replace(model.spec, target=target))


def table(users: pl.DataFrame, *models: TrainedModel) -> pl.DataFrame:
    return pl.DataFrame(propensity_columns(users, models, threads=1))


def test_everyone_has_the_probability_that_the_model_gives(users: pl.DataFrame, model: TrainedModel) -> None:
    expected = predict(users, load_scorer(model.text, model.spec), threads=1)
    found = table(users, model)
    assert found["propensity_buys"].to_list() == expected.tolist()
    assert found.null_count().sum_horizontal().item() == 0
    assert found["propensity_buys_percentile"].n_unique() > 20
    top = found.filter(pl.col("propensity_buys") == pl.col("propensity_buys").max())
    assert top["propensity_buys_decile"].unique().to_list() == [1]


@pytest.mark.parametrize(
    ("population", "inside"),
    [
        ("orders_count_90d >= 2", pl.col("orders_count_90d") >= 2),
        ("city = 'Paris'", pl.col("city") == "Paris"),
        ("open_rate_30d > 0.5 OR is_new", (pl.col("open_rate_30d") > 0.5) | pl.col("is_new")),
        ("orders_count_90d >= 0", pl.lit(value=True)),
        ("orders_count_90d < 0", pl.lit(value=False)),
        ("city IS NULL", pl.col("city").is_null()),
    ],
)
def test_users_outside_the_population_have_nothing(
    population: str, inside: pl.Expr, users: pl.DataFrame, model: TrainedModel
) -> None:
    everyone = table(users, model)
    found = table(users, of(model, "buys", population))
    kept = users.select(pl.repeat(value=True, n=pl.len()) & inside.fill_null(value=False)).to_series()
    expected = everyone.select(pl.when(kept).then(pl.col(name)).alias(name) for name in everyone.columns)
    assert_frame_equal(found, expected, check_exact=True)


def test_several_models_each_with_its_population(users: pl.DataFrame, model: TrainedModel) -> None:
    paris, everyone = of(model, "paris", "city = 'Paris'"), of(model, "all", None)
    found = table(users, paris, everyone, of(model, "few", "orders_count_90d > 3"))
    schema = propensity_schema("paris") | propensity_schema("all") | propensity_schema("few")
    assert list(found.schema.items()) == list(schema.items())
    counts = found.select(pl.col("propensity_paris", "propensity_all", "propensity_few").count()).row(0)
    assert counts == (
        users.filter(pl.col("city") == "Paris").height,
        users.height,
        users.filter(pl.col("orders_count_90d") > 3).height,
    )


@pytest.mark.parametrize("population", [None, "city = 'Paris'", "orders_count_90d < 0"])
@pytest.mark.parametrize("rows", [0, 1, 300])
def test_any_bucket_has_the_same_columns(
    rows: int, population: str | None, users: pl.DataFrame, model: TrainedModel
) -> None:
    found = table(users.head(rows), of(model, "buys", population))
    assert list(found.schema.items()) == list(propensity_schema("buys").items())
    assert found.height == rows
    assert_frame_equal(found, table(users, of(model, "buys", population)).head(rows), check_exact=True)


def test_no_models_no_columns(users: pl.DataFrame) -> None:
    assert propensity_columns(users, [], threads=1) == []


def test_who_is_outside_is_not_scored(users: pl.DataFrame, model: TrainedModel) -> None:
    inside = pl.Series(np.arange(users.height) % 3 == 0)
    found = probabilities(users, model, inside, threads=1)
    assert found.name == "propensity_buys"
    assert found.is_not_null().to_list() == inside.to_list()
    alone = probabilities(users.filter(inside), model, None, threads=1)
    assert found.drop_nulls().to_list() == alone.to_list()


def test_a_population_of_a_column_that_is_not_there(users: pl.DataFrame, model: TrainedModel) -> None:
    with pytest.raises(ConfigError) as caught:
        table(users, of(model, "buys", "region = 'sud'"))
    assert caught.value.code == "target-population"


def test_features_that_do_not_fit_are_refused(users: pl.DataFrame, model: TrainedModel) -> None:
    with pytest.raises(IntegrityError) as caught:
        table(users.drop("is_new"), of(model, "buys", "orders_count_90d > 1"))
    assert caught.value.code == "model-columns"
