from __future__ import annotations

from dataclasses import replace

import pytest

from engine.bundle import Bundle
from engine.propensity.calibration import Bin
from engine.reporting.sections.models import _wilson, section
from engine.reporting.words import Voice
from tests.bundles import full_bundle
from tests.reporting.learnt_facts import check, facts_of, figure, learnt, side, told


def changed(bundle: Bundle, **changes: object) -> Bundle:
    model = bundle.models[0]
    return replace(bundle, models=(replace(model, spec=replace(model.spec, **changes)),))


def test_every_model_has_its_verdict_and_its_figures() -> None:
    facts = learnt("buys", "again")
    made = section(facts)
    check(facts, made)
    text = told(facts, made)
    for model in facts.bundle.models if facts.bundle else ():
        assert f"{model.spec.target.name} passed its gate: AUC {model.spec.metrics.auc:.3f}" in text
        assert {f"{kind}_{model.spec.target.name}" for kind in ("lift", "gain", "calibration")} <= {
            figure.key for figure in made.figures
        }
    assert figure(made, "models_quality").table.height == 12


def test_lift_and_gain_are_those_of_the_model() -> None:
    facts = learnt()
    metrics = facts.bundle.models[0].spec.metrics if facts.bundle else None
    assert metrics is not None
    made = section(facts)
    lift = figure(made, "lift_buys").table
    assert lift["lift"].to_list() == list(metrics.lift_by_decile)
    gain = figure(made, "gain_buys").table
    model = gain.filter(gain["line"] == "model")
    assert model["gain"].to_list() == [0.0, *metrics.gain_by_decile]
    assert f"{metrics.gain_by_decile[0]:.1%}" in Voice("en").put(figure(made, "lift_buys").title)


@pytest.mark.parametrize(
    ("alarm", "says"),
    [
        ("feature 'cheat' alone tells the label: AUC 0.999 (alarm from 0.98 on); check", "the feature cheat alone"),
        ("target 'buys': the base rate has shifted: 1 % in the rows learned from", "Probabilities may be off"),
        ("all 10 rows get the score 0.5", "as the fit put it: all 10 rows get the score 0.5"),
    ],
)
def test_alarms_of_the_fit_are_told(alarm: str, says: str) -> None:
    facts = facts_of(bundle=changed(full_bundle(), alarms=(alarm,)))
    made = section(facts)
    check(facts, made)
    assert [says in Voice("en").put(alarm) for alarm in made.alarms] == [True]


def test_a_model_that_failed_its_gate_is_an_alarm() -> None:
    bundle = full_bundle()
    verdict = replace(bundle.models[0].spec.verdict, promoted=False)
    made = section(facts_of(bundle=changed(bundle, verdict=verdict)))
    assert "did not pass" in Voice("en").put(made.alarms[0])
    assert Voice("en").put(figure(made, "models_quality").title).startswith("0 of 1 model passed")


def test_groups_of_a_few_people_are_left_out() -> None:
    bundle = full_bundle()
    rows = bundle.models[0].spec.metrics.rows
    groups = (Bin(rows - 9, 0.2, 0.2), Bin(9, 0.9, 1.0))
    facts = facts_of(bundle=changed(bundle, reliability=groups))
    assert figure(section(facts), "calibration_buys").table["users"].to_list() == [rows - 9]
    few = section(replace(facts, min_cell=rows // 10 + 1))
    assert not {"lift_buys", "gain_buys"} & {figure.key for figure in few.figures}


def test_one_class_cannot_be_judged() -> None:
    bundle = full_bundle()
    metrics = replace(
        bundle.models[0].spec.metrics,
        auc=None,
        average_precision=None,
        lift_by_decile=(),
        gain_by_decile=(),
        positives=3,
    )
    facts = facts_of(bundle=changed(bundle, metrics=metrics, intervals=()))
    made = section(facts)
    check(facts, made)
    assert "fewer than 10 came true" in told(facts, made)


@pytest.mark.parametrize(
    ("bundle_id", "says"), [(None, "Nothing was learnt"), ("0123456789ab", "The bundle 0123456789ab")]
)
def test_without_its_bundle_the_section_says_why(bundle_id: str | None, says: str) -> None:
    facts = facts_of(side(bundle=bundle_id))
    made = section(facts)
    check(facts, made)
    assert made.missing is not None
    assert says in told(facts, made)


def test_without_a_target_the_section_says_so() -> None:
    facts = facts_of(bundle=replace(full_bundle(), models=()))
    assert "names no target" in told(facts, section(facts))


@pytest.mark.parametrize(
    ("rate", "rows", "low", "high"),
    # As proportion_confint of statsmodels gives them.
    [(0.5, 10, 0.236593, 0.763407), (0.0, 20, 0.0, 0.161125), (0.02, 100, 0.005502, 0.070012)],
)
def test_intervals_are_wilsons(rate: float, rows: int, low: float, high: float) -> None:
    assert _wilson(rate, rows) == pytest.approx((low, high), abs=5e-5)
