from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from engine.config import Model, Target
from engine.errors import ConfigError
from engine.propensity.spec import ModelSpec, Trial, best_trial
from engine.propensity.train import Frames, train
from engine.propensity.tune import ROUND, check_installed, evaluate, propose

pytest.importorskip("optuna")

BASE = Model(trees=40, leaves=15, classes={"hot": 2.0})


def valley(settings: Model) -> float:
    return abs(settings.leaves - 40) / 40 + abs(settings.learning_rate - 0.05) * 4 + abs(settings.feature_share - 0.6)


def history_of(trials: int, loss: Callable[[Model], float] = valley) -> tuple[Trial, ...]:
    history: list[Trial] = []
    while len(history) < trials:
        proposed = propose(BASE, history, min(ROUND, trials - len(history)), 1)
        history += [Trial(settings, loss(settings)) for settings in proposed]
    return tuple(history)


def test_the_settings_one_starts_from_are_tried_first() -> None:
    proposed = propose(BASE, [], ROUND, 1)
    assert proposed[0] == BASE
    assert len({settings.leaves for settings in proposed}) > 1


def test_the_same_history_gives_the_same_proposals_and_another_one_others() -> None:
    history = history_of(14)
    once, again = propose(BASE, history, ROUND, 1), propose(BASE, history, ROUND, 1)
    assert once == again
    assert len({settings.learning_rate for settings in once}) == ROUND
    assert propose(BASE, history, ROUND, 2) != once
    assert propose(BASE, history[:-1], ROUND, 1) != once


def test_only_what_is_searched_changes_and_stays_valid() -> None:
    for trial in history_of(24)[1:]:
        searched = {"leaves", "min_rows_per_leaf", "learning_rate", "feature_share", "l2"}
        assert trial.settings.model_dump(exclude=searched) == BASE.model_dump(exclude=searched)
        assert Model.model_validate(trial.settings.model_dump()) == trial.settings
        assert 4 <= trial.settings.leaves <= 64
        assert 0.4 <= trial.settings.feature_share <= 1
        assert len(str(trial.settings.learning_rate)) <= 8


def test_the_search_goes_where_the_loss_is_low() -> None:
    losses = [trial.loss for trial in history_of(40)]
    assert sum(losses[-12:]) < 0.6 * sum(losses[:12])
    assert min(losses) < 0.3


def test_settings_outside_the_ranges_may_be_where_one_starts() -> None:
    base = Model(leaves=500, learning_rate=0.9, min_rows_per_leaf=1, l2=0.0)
    history = [Trial(base, 1.0)]
    assert len(propose(base, history, 3, 1)) == 3


def test_a_trial_is_judged_on_the_validation_rows(frames: Frames, target: Target, features: tuple[str, ...]) -> None:
    loss = evaluate(frames, features, ["city"], BASE, 7, threads=1)
    shuffled = Frames(
        frames.train.sample(fraction=1, shuffle=True, seed=1), frames.valid.reverse(), frames.test.clear()
    )
    assert evaluate(shuffled, features, ["city"], BASE, 7, threads=2) == loss
    assert 0.4 < loss < 0.66
    assert evaluate(frames, features, ["city"], BASE.model_copy(update={"trees": 1}), 7, threads=1) > loss


def test_the_trials_go_into_the_spec(frames: Frames, target: Target, features: tuple[str, ...]) -> None:
    trials = history_of(5, lambda settings: evaluate(frames, features, ["city"], settings, 7, threads=1))
    won = best_trial(trials).settings
    spec = train(frames, features, ["city"], target, won, seed=7, threads=1, tuned=trials).spec
    assert spec.tuned == trials
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_without_optuna_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed()
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        check_installed()
    assert "pip install 'tamis[tune]'" in caught.value.hint
    assert caught.value.code == "tune-not-installed"
