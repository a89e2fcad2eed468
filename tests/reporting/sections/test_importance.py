from __future__ import annotations

from dataclasses import replace

import pytest

from engine.reporting.sections.importance import section
from tests.bundles import full_bundle
from tests.reporting.learnt_facts import check, facts_of, figure, learnt, told


def test_gain_is_a_share_and_permutation_a_loss() -> None:
    facts = learnt()
    made = section(facts)
    check(facts, made)
    assert facts.bundle is not None
    spec = facts.bundle.models[0].spec
    gain = figure(made, "importance_gain_buys").table
    total = sum(value for _, value in spec.importance)
    assert dict(gain.select("feature", "gain").rows()) == pytest.approx(
        {name: value / total for name, value in spec.importance if value > 0}
    )
    loss = figure(made, "importance_permutation_buys").table
    assert list(loss.select("feature", "permutation").rows()) == list(spec.permutation)


def test_features_are_told_in_words_of_the_language() -> None:
    facts = learnt()
    assert "“view events in the last 30 days”".casefold() in told(facts, section(facts)).casefold()
    assert "derniers jours" in told(facts, section(facts), "fr")


def test_a_model_without_splits_is_told() -> None:
    bundle = full_bundle()
    model = bundle.models[0]
    spec = replace(model.spec, importance=tuple((name, 0.0) for name, _ in model.spec.importance))
    facts = facts_of(bundle=replace(bundle, models=(replace(model, spec=spec),)))
    made = section(facts)
    check(facts, made)
    assert "uses none of its 5 features" in told(facts, made)


def test_without_a_bundle_nothing_is_known() -> None:
    assert section(facts_of()).missing is not None
