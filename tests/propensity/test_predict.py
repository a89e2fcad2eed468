from __future__ import annotations

import dataclasses
import re

import numpy as np
import polars as pl
import pytest

from engine.errors import IntegrityError
from engine.propensity import backend
from engine.propensity import predict as module
from engine.propensity.calibration import calibrate
from engine.propensity.matrix import feature_matrix
from engine.propensity.predict import Scorer, load_scorer, predict, raw_scores
from engine.propensity.spec import text_sha256
from engine.propensity.train import TrainedModel


@pytest.fixture(scope="session")
def scorer(model: TrainedModel) -> Scorer:
    return load_scorer(model.text, model.spec)


@pytest.fixture(scope="session")
def scores(scorer: Scorer, rows_valid: pl.DataFrame) -> np.ndarray:
    return predict(rows_valid, scorer, threads=1)


def test_scores_are_those_of_lightgbm_itself(model: TrainedModel, rows_valid: pl.DataFrame, scores: np.ndarray) -> None:
    import lightgbm

    spec = model.spec
    booster = lightgbm.Booster(model_str=model.text)
    matrix = feature_matrix(rows_valid, spec.features, spec.codes)
    expected = calibrate(spec.calibration, np.asarray(booster.predict(matrix, num_threads=1)))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)
    assert scores.dtype == np.float64
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_the_order_of_columns_chunks_and_threads_change_no_score(
    scorer: Scorer, rows_valid: pl.DataFrame, scores: np.ndarray, threads: int
) -> None:
    reordered = rows_valid.select(reversed(rows_valid.columns)).with_columns(more=pl.lit("ignored"))
    chunked = pl.concat([reordered.head(3), reordered.slice(3, 500), reordered.slice(503)], rechunk=False)
    assert predict(chunked, scorer, threads).tobytes() == scores.tobytes()
    parts = [predict(part, scorer, threads) for part in reordered.iter_slices(123)]
    assert np.concatenate(parts).tobytes() == scores.tobytes()


def test_neither_the_backend_nor_the_slices_change_a_bit(
    model: TrainedModel, rows_valid: pl.DataFrame, scores: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_WORTH_LOADING", 0)
    monkeypatch.setattr(backend, "_WORTH_PREPARING", 0)
    monkeypatch.setattr(module, "_SLICE", 77)
    scorer = Scorer(spec=model.spec, model=backend.load_model(model.text, model.spec.categorical))
    assert predict(rows_valid, scorer, 2).tobytes() == scores.tobytes()
    assert (scorer.backend, scorer.note) == ("kernel", "")


def test_raw_scores_are_not_calibrated(scorer: Scorer, rows_valid: pl.DataFrame, scores: np.ndarray) -> None:
    spec = scorer.spec
    raw = raw_scores(scorer, feature_matrix(rows_valid, spec.features, spec.codes), 1)
    assert calibrate(spec.calibration, raw).tobytes() == scores.tobytes()
    assert raw.tobytes() != scores.tobytes()
    stored = raw_scores(scorer, np.array(spec.check_rows, dtype=np.float64), 1)
    np.testing.assert_allclose(stored, spec.check_scores, rtol=0, atol=1e-12)


def test_each_row_gets_its_own_score(scorer: Scorer, rows_valid: pl.DataFrame, scores: np.ndarray) -> None:
    assert predict(rows_valid.reverse(), scorer, 1).tobytes() == scores[::-1].tobytes()


def test_an_unknown_category_scores_as_a_missing_one(scorer: Scorer, rows_valid: pl.DataFrame) -> None:
    unknown = predict(rows_valid.with_columns(city=pl.lit("Atlantis")), scorer, 1)
    missing = predict(rows_valid.with_columns(city=pl.lit(None, pl.String)), scorer, 1)
    assert unknown.tobytes() == missing.tobytes()
    assert unknown.tobytes() != predict(rows_valid.with_columns(city=pl.lit("Paris")), scorer, 1).tobytes()


def test_no_rows_no_scores(scorer: Scorer, rows_valid: pl.DataFrame) -> None:
    assert predict(rows_valid.clear(), scorer, 1).shape == (0,)


def test_missing_and_mistyped_columns_are_all_named(scorer: Scorer, rows_valid: pl.DataFrame) -> None:
    wrong = rows_valid.drop("city", "is_new").with_columns(pl.col("orders_count_90d").cast(pl.String))
    with pytest.raises(IntegrityError) as caught:
        predict(wrong, scorer, 1)
    assert caught.value.code == "model-columns"
    assert str(caught.value).splitlines()[1:] == [
        "  - 'orders_count_90d': expected Int64, got String",
        "  - 'is_new': expected Boolean, the column is missing",
        "  - 'city': expected String, the column is missing",
    ]


def test_what_is_no_probability_is_refused(
    scorer: Scorer, rows_valid: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "calibrate", lambda _, scores: np.where(np.arange(scores.size) < 2, np.nan, scores))
    with pytest.raises(IntegrityError, match="2 scores that are not between 0 and 1"):
        predict(rows_valid, scorer, 1)


def test_a_model_is_loaded_once_per_process(model: TrainedModel) -> None:
    copy = "".join(list(model.text))
    spec = type(model.spec).from_json(model.spec.to_json())
    assert load_scorer(copy, spec) is load_scorer(model.text, model.spec)


def test_lightgbm_never_sees_a_text_with_a_wrong_checksum(model: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(module, "load_model", lambda *given: seen.append(given))
    with pytest.raises(IntegrityError) as caught:
        load_scorer(model.text.replace("shrinkage=1", "shrinkage=2"), model.spec)
    assert caught.value.code == "model-sha256"
    assert seen == []


def test_other_leaf_values_are_caught_by_the_stored_scores(model: TrainedModel) -> None:
    start = model.text.index("leaf_value=") + len("leaf_value=")
    end = model.text.index("\n", start)
    # Only the first digit after each point, so that the length of the tree stays.
    text = model.text[:start] + re.sub(r"\.\d", ".7", model.text[start:end]) + model.text[end:]
    spec = dataclasses.replace(model.spec, sha256=text_sha256(text))
    with pytest.raises(IntegrityError) as caught:
        load_scorer(text, spec)
    assert caught.value.code == "model-scores"
