from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from engine.config import Model, Target
from engine.propensity.calibration import Bin, Calibration
from engine.propensity.card import model_card
from engine.propensity.codes import CodeTable
from engine.propensity.gates import Verdict
from engine.propensity.intervals import Difference, Interval
from engine.propensity.metrics import Metrics
from engine.propensity.spec import ModelSpec

GOLDEN = Path(__file__).with_name("card.md")
VERSIONS = {"tamis": "1.2.3", "polars": "2.1.0", "lightgbm": "4.7.0", "polars-hash": "0.9.3"}


def metrics(**changes: object) -> Metrics:
    given: dict[str, object] = {
        "rows": 2000,
        "positives": 12,
        "base_rate": 0.006,
        "auc": 0.81234,
        "average_precision": 0.05,
        "log_loss": 0.031,
        "brier": 0.0058,
        "base_log_loss": 0.0367,
        "base_brier": 0.005964,
        "lift_by_decile": (5.0, 2.5, 0.8333, 0.8333, 0.8333, 0.0, 0.0, 0.0, 0.0, 0.0),
        "ece": 0.0012,
        "gain_by_decile": (0.5, 0.75, 0.8333, 0.9167, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        "precision_at": ((0.01, 0.1), (0.05, 0.05), (0.1, 0.03), (0.2, 0.0225)),
    }
    return Metrics(**{**given, **changes})  # type: ignore[arg-type]


def card_spec(**changes: object) -> ModelSpec:
    made = ModelSpec(
        target=Target(
            name="leaves",
            preset="churn",
            event="purchase|web",
            where="amount >= 20\n  AND `kind` = 'x'",
            absent=True,
            population="days_since_purchase < 90",
            horizon_days=30,
        ),
        settings=Model(trees=500, leaves=15, classes={"likely": 3.0, "sure": 10.0}),
        seed=7,
        features=("spend", "city", "visits"),
        dtypes=("Float64", "String", "Int64"),
        codes=(CodeTable("city", ("Lyon", "Paris")),),
        train_anchors=(date(2025, 10, 3), date(2025, 11, 2)),
        valid_anchors=(date(2025, 12, 2),),
        test_anchors=(date(2026, 1, 1),),
        apart="dates",
        trees=120,
        sampled=(("training", 1_234_567, 500_000),),
        train_metrics=metrics(rows=500_000, positives=3500, base_rate=0.007, auc=0.9),
        metrics=metrics(),
        intervals=(
            ("auc", Interval(0.7, 0.9)),
            ("average_precision", Interval(0.01, 0.12)),
            ("lift", Interval(2.5, 7.5)),
        ),
        baseline=metrics(auc=0.75, average_precision=0.03, brier=0.0059, lift_by_decile=(4.0,) * 10),
        reliability=(Bin(1000, 0.001, 0.0), Bin(1000, 0.011, 0.012)),
        learned=(("training", 500_000, 3500), ("validation", 100_000, 760)),
        base_rate=0.0071,
        calibration=Calibration("platt", (), (), 1.1, -0.2),
        importance=(("spend", 75.0), ("city", 25.0), ("visits", 0.0)),
        permutation=(("city", 0.2), ("spend", 0.1), ("visits", -0.001)),
        cuts=(),
        verdict=Verdict(
            promoted=False,
            reasons=("no: worse than\nthe model in use",),
            baseline=Difference(0.06, 0.01, 0.11),
            incumbent=Difference(-0.02, -0.03, -0.01),
        ),
        alarms=("the feature 'spend' alone tells the label",),
        notes=(),
        tuned=(),
        lightgbm_version="4.7.0",
        sha256="ab" * 32,
        check_rows=((1.0, 0.0, None),),
        check_scores=(0.5,),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_card_of_a_model() -> None:
    assert model_card(card_spec(), ["city", "name"], VERSIONS) == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"target": Target(name="buys", event="purchase", horizon_days=1)},
            "has an event `purchase` in the 1 day from",
        ),
        ({"target": Target(name="buys", event="purchase")}, "Every user with an event before the day."),
        ({"settings": Model(test_users=0)}, "Test rows are of later dates, and of the same users."),
        ({"apart": "users"}, "validation rows are of the dates of training rows, but of other users."),
        ({"sampled": ()}, "of whom no row was learnt from.\n\n## Quality"),
        ({"metrics": metrics(auc=None)}, "| AUC | – | 0.7000 to 0.9000 | 0.5000 | 0.7500 |"),
        ({"metrics": metrics(lift_by_decile=(), gain_by_decile=())}, "No test row is positive."),
        ({"intervals": ()}, "| AUC | 0.8123 | – | 0.5000 | 0.7500 |"),
        ({"verdict": Verdict(True, (), None, None)}, "## Gate\n\n**Passed.**\n\n## Alarms"),
        ({"importance": (("a|b", 1.0),)}, "| `a\\|b` | 100.0 % | – |"),
        ({"target": Target(name="buys", event="a``|")}, "``` a``| ```"),
        ({"alarms": ()}, "## Alarms\n\nNone.\n"),
        ({"notes": ("nobody has a city",)}, "## Notes\n\n- nobody has a city\n"),
        ({"importance": (("spend", 0.0), ("city", 0.0), ("visits", 0.0))}, "| `spend` | – | 0.1000 |"),
        ({"calibration": Calibration("none", (), (), 1.0, 0.0)}, "None: the scores are those of the trees."),
        ({"metrics": metrics(positives=100)}, "other seasons may differ.\n- Contact attributes"),
    ],
)
def test_what_a_card_says(changes: dict[str, object], says: str) -> None:
    assert says in model_card(card_spec(**changes), ["city"], VERSIONS)


def test_a_card_has_only_what_is_known() -> None:
    text = model_card(card_spec(), [], VERSIONS)
    assert "Contact attributes" not in text
    # Values of users, such as the known cities, are in no card.
    assert "Paris" not in text
    assert re.findall(r"\b20\d\d-\d\d-\d\d\b", text) == [
        *("2025-10-03", "2025-11-02", "2025-12-02", "2026-01-01"),
        "2026-01-01",
    ]
    lines = text.splitlines()
    assert max(map(len, re.findall(r"\n\n+", text))) == 2
    for above, line in pairwise(lines):
        if line.startswith("| ") and above.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", above))
