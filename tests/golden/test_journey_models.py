from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from engine.bundle import load_bundle
from engine.config import Config
from engine.config_file import load_config
from engine.execution.local import LocalExecutor
from engine.pipeline import run
from engine.validation import validate_run
from jobs.demo import demo_config, unpack

LOCAL = LocalExecutor(threads=2)
DATES = (date(2017, 11, 1), date(2017, 12, 1))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("journey")
    unpack(folder / "data")
    text = demo_config().read_text(encoding="utf-8").replace("../demo-out/", "")
    (folder / "demo.toml").write_text(text, encoding="utf-8")
    return load_config(folder / "demo.toml").config


@pytest.fixture(scope="module", autouse=True)
def published(config: Config) -> None:
    for day in DATES:
        run(config, day, executor=LOCAL)


def test_coupon_and_large_basket_are_promoted_with_an_interval_of_the_lift(config: Config) -> None:
    bundle = load_bundle(Path(str(run(config, date(2018, 1, 1), executor=LOCAL).bundle)))
    for model, least in zip(bundle.models, (3.0, 1.8), strict=True):
        assert model.spec.verdict.promoted, model.spec.verdict.reasons
        lift = dict(model.spec.intervals)["lift"]
        assert least <= lift.low <= model.spec.metrics.lift_by_decile[0] <= lift.high
        assert len(model.spec.test_anchors) == 1


@pytest.mark.parametrize("day", DATES)
def test_what_came_true_of_two_past_dates(config: Config, day: date) -> None:
    found = {matured.target.name: matured for matured in validate_run(config, day, executor=LOCAL).matured}
    assert found.keys() == {"coupon", "big_basket"}
    coupon, basket = (found[name].realised.metrics for name in ("coupon", "big_basket"))
    assert coupon is not None
    assert basket is not None
    assert coupon.auc is not None
    assert basket.auc is not None
    assert coupon.auc > 0.85
    assert basket.auc > 0.83
    assert coupon.lift_by_decile[0] > 4.5
