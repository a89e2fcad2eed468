from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.errors import IntegrityError
from engine.features.page import full_spec
from engine.propensity.explain import TOLERANCE, contributions, reasons
from engine.propensity.matrix import feature_matrix
from engine.propensity.predict import load_scorer
from engine.propensity.train import TrainedModel
from engine.propensity.wording import wording


class Leaky:
    """A booster whose contributions of row 1 miss the raw score."""

    def __init__(self, by: float) -> None:
        self.by = by

    def predict(self, matrix: np.ndarray, **options: object) -> np.ndarray:
        parts = np.hstack([matrix, np.full((len(matrix), 1), -1.0)])
        if options.get("pred_contrib"):
            parts[1, 0] += self.by
            return parts
        total: np.ndarray = parts.sum(axis=1)
        return total


def test_contributions_and_base_add_up_to_the_log_odds(model: TrainedModel, rows_valid: pl.DataFrame) -> None:
    booster = load_scorer(model.text, model.spec).booster
    matrix = feature_matrix(rows_valid, model.spec.features, model.spec.codes)
    parts, base = contributions(booster, matrix, 1)
    assert parts.shape == matrix.shape
    assert np.abs(parts.sum(axis=1) + base - booster.predict(matrix, raw_score=True)).max() < TOLERANCE
    unused = [place for place, gain in enumerate(booster.feature_importance("gain")) if gain == 0]
    assert unused
    assert not parts[:, unused].any()
    assert contributions(booster, matrix, 2)[0].tobytes() == parts.tobytes()


def test_a_feature_that_sets_two_rows_apart_explains_their_difference(
    model: TrainedModel, rows_valid: pl.DataFrame
) -> None:
    # The oracle: with one feature changed, Shapley values of the rows differ by what the scores differ by, in sum.
    booster = load_scorer(model.text, model.spec).booster
    row = rows_valid.head(1)
    pair = pl.concat([row, row.with_columns(orders_count_90d=pl.lit(9, pl.Int64))])
    matrix = feature_matrix(pair, model.spec.features, model.spec.codes)
    parts, _ = contributions(booster, matrix, 1)
    raw = booster.predict(matrix, raw_score=True)
    assert raw[1] - raw[0] == pytest.approx((parts[1] - parts[0]).sum(), abs=TOLERANCE)
    place = model.spec.features.index("orders_count_90d")
    assert parts[1, place] - parts[0, place] > 0


@pytest.mark.parametrize(("by", "fails"), [(0.0, False), (5e-10, False), (2e-9, True), (float("nan"), True)])
def test_contributions_that_do_not_add_up_are_refused(by: float, fails: bool) -> None:
    matrix = np.ones((3, 2))
    if not fails:
        assert contributions(Leaky(by), matrix, 1)[1] == -1.0  # type: ignore[arg-type]
        return
    with pytest.raises(IntegrityError, match="1 of 3 rows") as caught:
        contributions(Leaky(by), matrix, 1)  # type: ignore[arg-type]
    assert caught.value.code == "explanation-sum"


def test_reasons_are_the_greatest_contributions_in_words(model: TrainedModel, rows_valid: pl.DataFrame) -> None:
    frame = rows_valid.slice(10, 40)
    found = reasons(frame, model, wording(full_spec(), "en"), top=3, threads=1)
    matrix = feature_matrix(frame, model.spec.features, model.spec.codes)
    parts, _ = contributions(load_scorer(model.text, model.spec).booster, matrix, 1)
    assert found["user_id"].unique(maintain_order=True).to_list() == frame["user_id"].to_list()
    for row, (user,) in enumerate(frame.select("user_id").iter_rows()):
        own = found.filter(pl.col("user_id") == user)
        greatest = sorted(range(parts.shape[1]), key=lambda place, row=row: -abs(parts[row, place]))[:3]  # type: ignore[misc]
        assert own["feature"].to_list() == [model.spec.features[place] for place in greatest]
        assert own["contribution"].to_list() == [parts[row, place] for place in greatest]
        assert own["rank"].to_list() == [1, 2, 3]
        assert own["target"].unique().to_list() == ["buys"]
        for name, value, direction, added, said in own.select(
            "feature", "value", "direction", "contribution", "sentence"
        ).iter_rows():
            given = frame[row, name]
            assert (value is None) == (given is None)
            assert direction == ("raises" if added > 0 else "lowers")
            assert f"{direction} the probability" in said
            if name == "city" and given is not None:
                assert value == given
                assert said.startswith(f"The value “{given}” of city ")


def test_reasons_do_not_depend_on_threads_and_portions(model: TrainedModel, rows_valid: pl.DataFrame) -> None:
    words = wording(full_spec(), "fr")
    frame = rows_valid.head(30)
    whole = reasons(frame, model, words, top=5, threads=1)
    assert whole.equals(reasons(frame, model, words, top=5, threads=2))
    assert whole.equals(pl.concat([reasons(part, model, words, top=5, threads=1) for part in frame.iter_slices(7)]))


def test_nothing_is_said_of_what_adds_nothing(model: TrainedModel, rows_valid: pl.DataFrame) -> None:
    found = reasons(rows_valid.head(5), model, wording(full_spec(), "en"), top=100, threads=1)
    assert not set(found["feature"]) & {"nothing", "constant"}
    assert (found["contribution"] != 0).all()


def test_no_users_no_reasons(model: TrainedModel, rows_valid: pl.DataFrame) -> None:
    found = reasons(rows_valid.clear(), model, wording(full_spec(), "en"), top=3, threads=1)
    assert found.schema == reasons(rows_valid.head(1), model, wording(full_spec(), "en"), top=3, threads=1).schema
    assert found.height == 0
