from __future__ import annotations

import numpy as np

from engine.propensity.check_rows import CHECK_ROWS, candidate_rows, choose_rows
from engine.propensity.model_text import canonical_text, parse_model_text
from engine.propensity.predict import load_scorer
from engine.propensity.train import TrainedModel


def test_candidates_stand_on_both_sides_of_the_splits(model: TrainedModel) -> None:
    trees = parse_model_text(model.text, model.spec.categorical)
    levels = [len(model.spec.codes[0].values) if coded else None for coded in model.spec.categorical]
    rows = candidate_rows(trees, levels, seed=1)
    for feature, count in enumerate(levels):
        values = rows[:, feature]
        if count is not None:
            assert set(values[~np.isnan(values)]) == set(range(count))
            continue
        thresholds = {t for tree in trees for t in tree.threshold[tree.split_feature == feature] if np.isfinite(t)}
        expected = thresholds | {np.nextafter(t, np.inf) for t in thresholds} or {0.0}
        found = set(values[~np.isnan(values)])
        assert found <= expected
        # Every threshold when they are few beside the number of rows.
        assert found == expected or len(expected) > 20
        assert np.isnan(values).any()


def test_a_split_of_missing_values_from_all_others_has_a_row_on_both_sides() -> None:
    import lightgbm

    value = np.where(np.arange(400) % 2 == 0, np.nan, np.arange(400) % 3)
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 2}
    data = lightgbm.Dataset(value[:, np.newaxis], label=np.isnan(value), feature_name=["f0"])
    text = canonical_text(lightgbm.train(settings, data, num_boost_round=1).model_to_string())
    [tree] = parse_model_text(text, [False])
    assert np.isinf(tree.threshold).all()
    rows = candidate_rows([tree], [None], seed=1)
    assert set(rows[~np.isnan(rows)]) == {0.0}
    assert np.isnan(rows).any()
    leaves = np.asarray(lightgbm.Booster(model_str=text).predict(rows, pred_leaf=True, num_threads=1))
    assert set(leaves.ravel()) == {0, 1}


def test_the_chosen_rows_visit_most_leaves(model: TrainedModel) -> None:
    booster = load_scorer(model.text, model.spec).booster
    leaves = np.asarray(booster.predict(np.array(model.spec.check_rows, dtype=float), pred_leaf=True, num_threads=1))
    visited = sum(np.unique(leaves[:, tree]).size for tree in range(leaves.shape[1]))
    assert visited > 0.85 * sum(tree.leaf_value.size for tree in parse_model_text(model.text, model.spec.categorical))


def test_each_chosen_row_adds_the_most_leaves() -> None:
    leaves = np.array([[0, 0], [0, 0], [0, 1], [1, 2]])
    assert choose_rows(leaves).tolist() == [0, 1, 2, 3]
    many = np.vstack([np.repeat(leaves[:1], CHECK_ROWS, axis=0), leaves[3:]])
    assert len(choose_rows(many)) == CHECK_ROWS
    assert CHECK_ROWS in choose_rows(many)
