from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.config import Model, Target
from engine.propensity.train import Frames, TrainedModel, train

CITIES = ["Angers", "Évry", "Île-de-France", "Lyon", "Nîmes", "Paris"]
FEATURES = ("orders_count_90d", "spend_amount_90d", "open_rate_30d", "is_new", "nothing", "constant", "city")


def labelled_rows(seed: int, anchors: list[date], users: int, first_user: int = 0) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    rows = users * len(anchors)
    orders = generator.poisson(2, rows)
    spend = (orders * generator.lognormal(8, 1, rows)).astype(np.int64)
    rate = np.where(generator.random(rows) < 0.2, np.nan, generator.random(rows))
    city = generator.integers(-1, len(CITIES), rows)
    log_odds = -2.5 + 0.5 * orders + 1.5 * np.nan_to_num(rate, nan=0.3) + np.where(city % 3 == 0, 1.0, 0.0)
    label = generator.random(rows) < 1 / (1 + np.exp(-log_odds))
    return pl.DataFrame(
        {
            "user_id": np.tile(np.arange(first_user, first_user + users), len(anchors)),
            "anchor": np.repeat(np.array(anchors, dtype="datetime64[D]"), users),
            "label": label,
            "orders_count_90d": orders,
            "spend_amount_90d": spend,
            "open_rate_30d": pl.Series(rate).fill_nan(None),
            "is_new": generator.random(rows) < 0.1,
            "nothing": pl.Series([None] * rows, dtype=pl.Int64),
            "constant": np.ones(rows),
            "city": pl.Series([None if code < 0 else CITIES[code] for code in city], dtype=pl.String),
        }
    )


@pytest.fixture(scope="session")
def rows_train() -> pl.DataFrame:
    return labelled_rows(1, [date(2024, 1, 1), date(2024, 1, 31)], 1000)


@pytest.fixture(scope="session")
def rows_valid() -> pl.DataFrame:
    return labelled_rows(2, [date(2024, 3, 1)], 1000)


@pytest.fixture(scope="session")
def rows_test() -> pl.DataFrame:
    return labelled_rows(3, [date(2024, 3, 31)], 1000, first_user=1000)


@pytest.fixture(scope="session")
def frames(rows_train: pl.DataFrame, rows_valid: pl.DataFrame, rows_test: pl.DataFrame) -> Frames:
    return Frames(rows_train, rows_valid, rows_test)


@pytest.fixture(scope="session")
def target() -> Target:
    return Target(name="buys", event="purchase", horizon_days=30)


@pytest.fixture(scope="session")
def settings() -> Model:
    return Model(trees=30, leaves=7, min_rows_per_leaf=20)


@pytest.fixture(scope="session")
def features() -> tuple[str, ...]:
    return FEATURES


@pytest.fixture(scope="session")
def model(frames: Frames, target: Target, settings: Model) -> TrainedModel:
    return train(frames, FEATURES, ["city"], target, settings, seed=7, threads=1)
