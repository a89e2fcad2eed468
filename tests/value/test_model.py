from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.config import CustomerValue
from engine.errors import ConfigError, DataError, IntegrityError
from engine.value.bgnbd import p_alive
from engine.value.counts import merge
from engine.value.expected import purchases_if_alive
from engine.value.gamma_gamma import expected_order
from engine.value.model import VALUE_SCHEMA, ValueFit, ValueModel, check_purchases, fit_value, value_columns
from tests.value.customers import CDNOW, CDNOW_SPEND, btyd, counted, simulated

FIT = ValueFit(2357, 946, 0, 1016, -9582.429, -4055.918, 0.11, (1411, 946), (1400.5, 956.5), ())
MODEL = ValueModel(CDNOW, CDNOW_SPEND, 365, 0.1, 2, FIT)


def columns(frame: pl.DataFrame, model: ValueModel = MODEL) -> pl.DataFrame:
    return pl.DataFrame(value_columns(frame, model))


@pytest.fixture(scope="module")
def fitted() -> ValueModel:
    return fit_value(counted(simulated()), CustomerValue(), 2)


def test_the_columns_are_the_products_of_their_parts() -> None:
    frame = simulated()[:2000]
    found = columns(frame, replace(MODEL, discount_rate=0.0))
    x, recency, age = frame.select("btyd_frequency", "btyd_recency_days", "btyd_t_days").to_numpy().T
    alive = p_alive(CDNOW, x, recency, age)
    purchases = alive * purchases_if_alive(CDNOW, x, age, np.array([365]))[:, 0]
    spend = np.rint(frame["btyd_mean_repeat_spend"].to_numpy() * x * 100).astype(np.int64)
    order = expected_order(CDNOW_SPEND, x, spend, 2)
    expected = pl.DataFrame(dict(zip(VALUE_SCHEMA, (purchases, alive, order, purchases * order), strict=True)))
    assert_frame_equal(found, expected, rel_tol=0, abs_tol=5.1e-7)
    assert found.schema == VALUE_SCHEMA


def test_values_are_rounded_to_six_decimals() -> None:
    for column in value_columns(simulated()[:500], MODEL):
        assert (column * 1e6).round(0).to_list() == pytest.approx((column * 1e6).to_list(), abs=1e-3)


def test_users_without_a_purchase_have_no_value() -> None:
    frame = btyd([(None, None, None, None), (0, 0, 5, 0.0), (None, None, None, None)])
    found = columns(frame)
    assert [row.count(None) for row in found.rows()] == [4, 0, 4]
    assert columns(frame[:1]).rows() == [(None,) * 4]
    assert columns(frame.clear()).schema == VALUE_SCHEMA


@pytest.mark.parametrize(
    "row",
    [
        (0, 0, 0, 0.0),
        (1, 1, 1, 0.0),
        (2, 9, 9, -3.5),
        (5000, 5000, 5000, 12.0),
        (5000, 5000, 9000, 1e9),
        (3, 3, 9000, 1.0),
    ],
)
def test_extreme_customers_have_finite_values(row: tuple[int, int, int, float]) -> None:
    for horizon in (1, 3650):
        purchases, alive, order, clv = columns(btyd([row]), replace(MODEL, horizon_days=horizon)).row(0)
        assert np.isfinite([purchases, alive, order, clv]).all()
        assert 0 <= alive <= 1
        assert purchases >= 0
        assert order > 0
        assert 0 <= clv <= purchases * order * (1 + 1e-9) + 1e-6


def test_discounting_takes_away_and_a_rate_of_nothing_takes_nothing() -> None:
    frame = simulated()[:500]
    now = columns(frame, replace(MODEL, discount_rate=0.0))
    later = columns(frame, replace(MODEL, discount_rate=0.5))
    product = now["value_expected_purchases"] * now["value_expected_order"]
    assert now["value_clv"].to_list() == pytest.approx(product.to_list(), abs=1e-4, rel=1e-6)
    assert (later["value_clv"] < now["value_clv"]).all()
    assert_frame_equal(now.drop("value_clv"), later.drop("value_clv"), check_exact=True)


@pytest.mark.parametrize("parts", [2, 7])
def test_a_row_has_the_same_value_however_the_rows_are_cut(parts: int) -> None:
    frame = pl.concat([simulated().drop("later")[:3000], btyd([(None, None, None, None)] * 20)])
    whole = columns(frame)
    for start in range(parts):
        assert_frame_equal(columns(frame[start::parts]), whole[start::parts], check_exact=True)


@pytest.mark.parametrize("parts", [2, 5])
def test_any_split_of_the_customers_gives_the_same_bytes(fitted: ValueModel, parts: int) -> None:
    shuffled = simulated().sample(fraction=1.0, shuffle=True, seed=parts)
    counts = merge([counted(shuffled[start::parts]) for start in range(parts)])
    assert fit_value(counts, CustomerValue(), 2).to_json() == fitted.to_json()


def test_the_fit_tells_what_it_was_made_from(fitted: ValueModel) -> None:
    fit, customers = fitted.fit, simulated()
    repeating = int((customers["btyd_frequency"] > 0).sum())
    assert (fit.customers, fit.repeat_customers, fit.without_spend) == (20_000, repeating, 0)
    assert fit.histories == customers.select("btyd_frequency", "btyd_recency_days", "btyd_t_days").n_unique()
    assert sum(fit.actual) == 20_000
    assert sum(fit.expected) == pytest.approx(20_000, abs=0.01)
    assert list(fit.expected) == pytest.approx(list(fit.actual), rel=0.1)
    assert abs(fit.correlation) < 0.05
    assert fit.warnings == ()
    assert (fitted.horizon_days, fitted.discount_rate, fitted.currency_digits) == (365, 0.1, 2)


def test_json_gives_the_same_model_and_the_same_bytes(fitted: ValueModel) -> None:
    text = fitted.to_json()
    assert ValueModel.from_json(text) == fitted
    assert ValueModel.from_json(text.encode()).to_json() == text
    assert hash(fitted) == hash(ValueModel.from_json(text))


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("purchases", "r"), -1.0, "r: -1.0 is not positive"),
        (("purchases", "alpha"), "4", "purchases.alpha"),
        (("spend", "q"), 1.0, "q - 1: 0.0 is not positive"),
        (("spend", "v"), None, "spend.v"),
        (("spend", "p"), float("nan"), "spend.p"),
        (("horizon_days",), 0, "horizon_days"),
        (("discount_rate",), -0.1, "discount_rate"),
        (("fit", "actual"), [1.5], "fit.actual"),
        (("more",), 1, "more"),
    ],
)
def test_a_changed_model_is_refused(path: tuple[str, ...], value: Any, told: str) -> None:
    document = json.loads(MODEL.to_json())
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(IntegrityError, match=told) as caught:
        ValueModel.from_json(json.dumps(document))
    assert caught.value.code == "bundle-value"


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(IntegrityError):
        ValueModel.from_json("{")


def test_too_few_customers_are_refused_with_their_numbers() -> None:
    frame = btyd([(0, 0, 9, 0.0)] * 50 + [(1, 3, 9, 5.0)] * 3 + [(2, 3, 9, 0.0)] * 2)
    with pytest.raises(DataError) as caught:
        fit_value(counted(frame), CustomerValue(min_customers=6), 2)
    assert caught.value.code == "value-customers"
    assert "needs 6 (value.min_customers)" in caught.value.message
    assert "5 of 55 customers have a repeat purchase" in caught.value.message
    assert "3 of 5 repeat customers spent something" in caught.value.message


def test_customers_who_are_all_alike_are_refused_with_the_parameters() -> None:
    frame = btyd([(2, 20, 40, 10.0)] * 100 + [(3, 20, 40, 10.0)] * 100)
    with pytest.raises(DataError) as caught:
        fit_value(counted(frame), CustomerValue(), 2)
    assert caught.value.code == "value-fit"
    assert "BG/NBD (200 customers, 2 different histories)" in caught.value.message
    assert "Gamma-Gamma (200 customers)" in caught.value.message
    assert "alpha = " in caught.value.message


def test_repeat_customers_without_spend_are_left_out_and_counted() -> None:
    free = pl.col("btyd_recency_days") % 10 == 0
    frame = simulated().with_columns(
        pl.when(free & (pl.col("btyd_frequency") > 0))
        .then(0.0)
        .otherwise("btyd_mean_repeat_spend")
        .alias("btyd_mean_repeat_spend")
    )
    left_out = frame.filter((pl.col("btyd_frequency") > 0) & (pl.col("btyd_mean_repeat_spend") == 0)).height
    found = fit_value(counted(frame), CustomerValue(), 2)
    assert found.fit.without_spend == left_out > 100
    assert found.spend.mean == pytest.approx(CDNOW_SPEND.mean, rel=0.05)


def test_spend_that_grows_with_frequency_is_warned_of() -> None:
    grows = pl.col("btyd_mean_repeat_spend") * (1 + pl.col("btyd_frequency"))
    found = fit_value(counted(simulated().with_columns(btyd_mean_repeat_spend=grows)), CustomerValue(), 2)
    assert found.fit.correlation > 0.3
    assert any("correlated" in warning for warning in found.fit.warnings)


def test_an_event_type_must_be_a_purchase() -> None:
    check_purchases("order")
    with pytest.raises(ConfigError) as caught:
        check_purchases(None)
    assert caught.value.code == "value-purchase"
