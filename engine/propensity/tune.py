"""The search for better settings of a model: what to try next, and one trial, judged on the validation rows.

The optimiser is Optuna's tree-structured Parzen estimator (Bergstra et al. 2011; Akiba et al. 2019). It is asked anew
in every round, with nothing but the trials so far, so a search can be cut, repeated and spread over workers: rounds
have a fixed size, whatever the number of workers, and the same history gives the same proposals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from engine.errors import ConfigError
from engine.propensity.boosting import Rows, boost
from engine.propensity.codes import fit_codes
from engine.propensity.matrix import feature_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.config import Model
    from engine.propensity.spec import Trial
    from engine.propensity.train import Frames

ROUND: Final = 4
"""Trials that are proposed together and may run side by side."""
_STARTUP: Final = 8
"""Trials that are drawn at random before the optimiser learns from them."""
_SIGNIFICANT: Final = 4

_RANGES: Final[dict[str, tuple[float, float]]] = {
    "leaves": (4, 64),
    "min_rows_per_leaf": (10, 1000),
    "learning_rate": (0.02, 0.2),
    "feature_share": (0.4, 1.0),
    "l2": (0.001, 100.0),
}
_WHOLE: Final = ("leaves", "min_rows_per_leaf")
_LINEAR: Final = ("feature_share",)


def propose(base: Model, history: Sequence[Trial], count: int, seed: int) -> list[Model]:
    """The next settings to try; the same arguments give the same settings.

    Leaves, rows per leaf, learning rate, share of the features and penalty are searched, each in a fixed range; the
    number of trees follows from early stopping. Leaves stay within 64, for which prediction is fast.

    Args:
        base: The settings to start from, and the first proposal of all.
        history: The trials so far, in the order in which they were proposed.
        count: Number of proposals.
        seed: Seed of the optimiser.

    Raises:
        ConfigError: Optuna is not installed.
    """
    optuna = _optuna()
    space = {name: _distribution(optuna, name) for name in _RANGES}
    draw = int(np.random.SeedSequence([seed, len(history)]).generate_state(1)[0])
    # Proposals of one round are kept from each other by a made-up poor result for those that still run.
    sampler = optuna.samplers.TPESampler(n_startup_trials=_STARTUP, constant_liar=True, seed=draw)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    for trial in history:
        values = {name: _within(name, getattr(trial.settings, name)) for name in _RANGES}
        study.add_trial(optuna.trial.create_trial(params=values, distributions=space, value=trial.loss))
    first = [base] if not history else []
    asked = [study.ask(space).params for _ in range(count - len(first))]
    return [*first, *(_settings(base, values) for values in asked)]


def evaluate(
    frames: Frames, features: Sequence[str], categorical: Sequence[str], params: Model, seed: int, threads: int
) -> float:
    """The log loss (nats) on the validation rows of a model with these settings, before calibration; one trial.

    The test rows are not looked at. The rows are as `engine.propensity.train.train` takes and checks them.
    """
    train, valid = (frame.sort("anchor", "user_id") for frame in (frames.train, frames.valid))
    codes = fit_codes(train, [name for name in features if name in categorical])
    rows = [
        Rows(feature_matrix(frame, features, codes), frame.get_column("label").cast(pl.Int8).to_numpy())
        for frame in (train, valid)
    ]
    by_category = [name in categorical for name in features]
    return boost(rows[0], rows[1], features, by_category, params, seed, threads).loss


def check_installed() -> None:
    """Stop before any work when settings are to be tuned and cannot be.

    Raises:
        ConfigError: Optuna is not installed.
    """
    _optuna()


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "model.tune and --tune need Optuna, which is not installed",
            code="tune-not-installed",
            hint="Run `pip install 'tamis[tune]'`, or leave the settings as they are: model.tune = 0.",
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _distribution(optuna: Any, name: str) -> Any:
    low, high = _RANGES[name]
    if name in _WHOLE:
        return optuna.distributions.IntDistribution(int(low), int(high), log=True)
    return optuna.distributions.FloatDistribution(low, high, log=name not in _LINEAR)


def _within(name: str, value: float) -> float:
    low, high = _RANGES[name]
    inside = min(max(value, low), high)
    return int(inside) if name in _WHOLE else inside


def _settings(base: Model, values: dict[str, float]) -> Model:
    rounded = {
        name: value if name in _WHOLE else _within(name, float(f"{value:.{_SIGNIFICANT}g}"))
        for name, value in values.items()
    }
    return base.model_copy(update=rounded)
