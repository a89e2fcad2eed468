from __future__ import annotations

from datetime import date
from importlib.metadata import version
from typing import Any

import pytest

from engine import identity
from engine.config import Config
from engine.identity import learning_hashes, run_identity, run_mark

BASE: dict[str, Any] = {
    "sources": [
        {"name": "shop", "path": "a", "columns": {"user_id": "u", "event_type": {"value": "buy"}, "event_time": "t"}},
    ],
    "contacts": {"path": "c", "user_id": "u"},
    "targets": [{"name": "buys", "event": "buy"}],
}


def config(**changes: Any) -> Config:
    return Config.model_validate({**BASE, **changes})


def differing(**changes: Any) -> set[str]:
    before, after = learning_hashes(config()), learning_hashes(config(**changes))
    assert before.keys() == after.keys()
    return {section for section in before if before[section] != after[section]}


@pytest.mark.parametrize(
    ("changes", "sections"),
    [
        ({}, set()),
        ({"seed": 2}, {"seed"}),
        ({"timezone": "Europe/Paris"}, {"timezone"}),
        ({"currency_digits": 0}, {"currency_digits"}),
        ({"sources": [{**BASE["sources"][0], "path": ["b", "c/*.parquet"]}]}, set()),
        ({"sources": [{**BASE["sources"][0], "where": "x > 1"}]}, {"sources"}),
        ({"sources": [{**BASE["sources"][0], "same_id": "duplicate"}]}, set()),
        ({"sources": [*BASE["sources"], {**BASE["sources"][0], "name": "mail"}]}, {"sources"}),
        ({"contacts": {"path": "elsewhere", "user_id": "u"}}, set()),
        ({"contacts": {"path": "c", "user_id": "id"}}, {"contacts"}),
        ({"contacts": None}, {"contacts"}),
        ({"contacts": {**BASE["contacts"], "valid_from": "t"}}, {"contacts"}),
        ({"contacts": {**BASE["contacts"], "cleaning": {"email": "e"}}}, {"contacts"}),
        ({"contacts": {**BASE["contacts"], "cleaning": {"phone_region": "FR"}}}, set()),
        ({"contacts": {**BASE["contacts"], "rules": [{"name": "r", "holds": "x > 1"}]}}, set()),
        (
            {"contacts": {**BASE["contacts"], "rules": [{"name": "r", "holds": "x > 1", "action": "flag"}]}},
            {"contacts"},
        ),
        ({"contacts": {**BASE["contacts"], "enrich": [{"name": "e", "path": "p", "key": "k"}]}}, {"contacts"}),
        ({"contacts": {**BASE["contacts"], "duplicates": {"exact": ["e"]}}}, set()),
        ({"accounts": {"column": "company"}}, {"accounts"}),
        ({"identity": {"path": "i", "anonymous_id": "from", "user_id": "to"}}, {"identity"}),
        ({"exclude": {"user_ids": [7]}}, {"exclude"}),
        ({"machines": {"open_within_seconds": 2}}, {"machines"}),
        ({"targets": []}, {"targets"}),
        ({"model": {"trees": 7}}, {"model"}),
        ({"model": {"tune": 7, "gate": "warn"}, "drift": {"warn_at": 0.5}}, set()),
        ({"value": {}}, {"value"}),
        ({"clusters": {"k_max": 9}}, {"clusters"}),
        ({"clusters": {"names": {"0": "a"}, "max_moved": 1, "refit_psi": 1, "refit_far": 1}}, set()),
        ({"targets": [{"name": "buys", "event": "buy", "horizon_days": 31}]}, {"targets"}),
        ({"features": {"windows": [7]}, "events": {"purchase": "buy"}}, {"features", "events"}),
        ({"segments": [{"name": "a", "where": "b > 1"}], "segment_fallback": "rest"}, set()),
        ({"out": "there", "execution": {"executor": "ray", "rows_per_task": 1}}, set()),
        ({"checks": {"max_reject_share": 1.0}, "refit_after_days": 1}, set()),
        ({"report": {"min_cell": 3, "language": "fr", "currency": "EUR"}}, set()),
    ],
)
def test_what_a_bundle_depends_on(changes: dict[str, Any], sections: set[str]) -> None:
    assert differing(**changes) == sections


def test_where_supplied_files_lie_does_not_matter() -> None:
    def hashed(folder: str) -> str:
        cleaning = {"email": "e", "role_names": f"{folder}/r"}
        enrich = [{"name": "e", "path": f"{folder}/p", "key": "k"}]
        return learning_hashes(config(contacts={**BASE["contacts"], "cleaning": cleaning, "enrich": enrich}))[
            "contacts"
        ]

    assert hashed("a") == hashed("b")


def test_bundles_of_before_stay_what_they_were() -> None:
    # As it was when contacts had no other keys.
    assert learning_hashes(config())["contacts"] == "befd70a06d"


def test_every_section_is_learnt_from_or_is_known_not_to_be() -> None:
    applied_later = {"out", "refit_after_days", "segment_fallback", "checks", "segments", "drift", "execution"}
    applied_later |= {"points", "lifecycle", "experiments", "guards", "kpis", "publish", "exports", "report"}
    applied_later |= {"schedule", "watch", "consent", "privacy", "retention", "quality"}
    assert learning_hashes(config()).keys() | applied_later == Config.model_fields.keys()


def test_the_order_of_keys_does_not_matter() -> None:
    turned = {key: BASE[key] for key in reversed(BASE)}
    assert learning_hashes(Config.model_validate(turned)) == learning_hashes(config())


def test_runs_are_told_apart_by_all_they_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    base = ("score", date(2026, 1, 31), {"config": "1", "input": "2"})
    ids = [
        run_identity(*base),
        run_identity("fit", *base[1:]),
        run_identity("score", date(2026, 2, 1), base[2]),
        run_identity(*base[:2], {"config": "1", "input": "3"}),
        run_identity(*base[:2], {"config": "2", "input": "1"}),
        run_identity(*base[:2], {"config": "1", "input": "2", "bundle": "b"}),
    ]
    assert run_identity(*base[:2], {"input": "2", "config": "1"}) == ids[0]
    for package in ("tamis", "polars", "polars-hash", "numpy", "scipy", "lightgbm", "scikit-learn"):
        newer = {package: "99.0"}
        with monkeypatch.context() as patched:
            patched.setattr(identity, "version", lambda name, newer=newer: newer.get(name) or version(name))
            ids.append(run_identity(*base))
    assert run_identity(*base) == ids[0]
    # What a caller names is not mistaken for a package.
    ids.append(run_identity(*base[:2], {**base[2], "polars": "99.0"}))
    assert len(set(ids)) == len(ids)
    assert ids[0].startswith("score-2026-01-31-")
    # Of the marks in file names, those of one date must differ.
    assert len({run_mark(ids[index]) for index in (0, *range(3, len(ids)))}) == len(ids) - 2
    assert run_mark(ids[0]) == ids[0].removeprefix("score-2026-01-31-")


@pytest.mark.parametrize(
    ("inputs", "learnt"),
    [
        ({}, False),
        ({"inputs": {"open_tracking": ["open"]}}, True),
        ({"inputs": {"open_tracking": ["open"]}, "without_inputs": "leave_out"}, False),
        ({"inputs": {"open_tracking": []}, "process": ["open_tracking"]}, False),
    ],
)
def test_a_bundle_depends_on_the_inputs_that_ask_for_purposes(inputs: dict[str, Any], learnt: bool) -> None:
    assert ("consent.inputs" in learning_hashes(config(consent={"path": "c.csv", **inputs}))) == learnt
