from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.config import Config
from engine.events.untrusted import Quarantined
from engine.features.windows import day_number
from engine.propensity.alarms import feature_alarms
from engine.propensity.psi import PSI_SCHEMA
from engine.stages.notices import (
    drift_warnings,
    fit_warnings,
    missing_types,
    quarantined_files,
    score_warnings,
    stale_log,
    weak_models,
)

SOURCE = {"name": "log", "path": "log.parquet", "columns": {"user_id": "u", "event_type": "t", "event_time": "at"}}


def config(**values: Any) -> Config:
    return Config.model_validate({"sources": [SOURCE], "features": {"windows": [7, 30]}, **values})


@pytest.mark.parametrize(
    ("last", "warns"),
    [(date(2026, 1, 31), False), (date(2026, 1, 25), False), (date(2026, 1, 24), True), (None, False)],
)
def test_a_log_that_ends_before_the_shortest_window(last: date | None, warns: bool) -> None:
    lines = stale_log(config(), None if last is None else day_number(last), date(2026, 2, 1))
    assert bool(lines) is warns
    if warns:
        assert lines == [
            "the last event is of 2026-01-24, 8 days before as_of; the log would be complete as of 2026-01-25"
        ]


def test_files_that_were_left_out() -> None:
    bad = [Quarantined("log", f"{name}.parquet", "cut") for name in "abcdef"]
    assert quarantined_files([]) == []
    assert quarantined_files(bad[:1]) == ["1 file of the log cannot be read and was left out: a.parquet (cut)"]
    [several] = quarantined_files(bad)
    assert several.startswith("6 files of the log cannot be read and were left out: a.parquet (cut); ")
    assert several.endswith("e.parquet (cut) and 1 more")


def model_spec(*reasons: str, alarms: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> Any:
    verdict = SimpleNamespace(promoted=not any(reason.startswith("no: ") for reason in reasons), reasons=reasons)
    return SimpleNamespace(target=SimpleNamespace(name="click"), verdict=verdict, alarms=alarms, notes=notes)


def test_a_model_in_use_that_did_not_pass_its_gate() -> None:
    assert weak_models([model_spec("yes: AUC 0.712 against 0.5 of chance")]) == []
    held = model_spec("yes: a", "no: AUC 0.6 against 0.7 of the model in use", "no: b")
    assert weak_models([held]) == [
        "model 'click' did not pass its gate: AUC 0.6 against 0.7 of the model in use; b; do not rely on its scores"
    ]


def test_a_fit_tells_every_alarm_and_note_with_its_target() -> None:
    spec = model_spec("no: b", alarms=("feature 'x' is odd", "target 'click': the base rate has shifted"), notes=("c",))
    assert fit_warnings(iter([spec])) == [
        "model 'click' did not pass its gate: b; do not rely on its scores",
        "model 'click': feature 'x' is odd",
        "target 'click': the base rate has shifted",
        "model 'click': c",
    ]


def test_a_score_run_repeats_leaks_and_no_other_alarm() -> None:
    leaks = feature_alarms(np.arange(8.0)[:, None], np.arange(8) >= 4, ["after"], 0.98)
    assert leaks
    spec = model_spec(alarms=("all 9 rows get the score 0.1", *leaks))
    bundle: Any = SimpleNamespace(models=[SimpleNamespace(spec=spec)], reduced=(), as_of=FIT)
    prepared: Any = SimpleNamespace(ingested=SimpleNamespace(last_day=None, quarantined=()), damaged=())
    found = score_warnings(config(), FIT, bundle, {}, prepared)
    assert found == [f"model 'click': {leaks[0]}"]
    moved = drift_table(("age", "numeric", 0.3, 0.1, 0.0, 0.0, None))
    with_drift = score_warnings(config(), FIT, bundle, {}, prepared, moved)
    assert with_drift[1:] == ["since the fit of 2026-01-31 features are distributed otherwise (PSI): age 0.30"]
    calm = config(drift={"warn_at": 0.31})
    assert score_warnings(calm, FIT, bundle, {}, prepared, moved) == found


FIT = date(2026, 1, 31)
Row = tuple[str, str, float | None, float, float, float, float | None]


def drift_table(*rows: Row) -> pl.DataFrame:
    full = [(*row[:6], None if row[6] is None else 7, row[6], None if row[6] is None else 0.02, 1000) for row in rows]
    return pl.DataFrame(full, PSI_SCHEMA, orient="row").sort("psi", descending=True, nulls_last=True)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("age", "numeric", 0.249, 0.0, 0.0, 0.0, None), None),
        (("age", "numeric", 0.25, 0.0, 0.0, 0.0, None), "features are distributed otherwise (PSI): age 0.25"),
        (("age", "numeric", 0.25, 0.25, 0.0, 0.0, None), None),
        (
            ("propensity_a", "score", 0.5, 0.1, 0.0, 0.9, None),
            "scores are distributed otherwise (PSI): propensity_a 0.50",
        ),
        (
            ("age", "numeric", 0.1, 0.0, 0.02, 0.125, None),
            "features lack values for another share of users: age 2 % → 12.5 %",
        ),
        (("age", "numeric", 0.1, 0.0, 0.02, 0.11, None), None),
        (
            ("city", "categorical", 0.1, 0.0, 0.0, 0.0, 0.045),
            "features have values that no model knows: city 4.5 % of users",
        ),
        (("city", "categorical", 0.1, 0.0, 0.0, 0.0, 0.029), None),
        (("city", "categorical", None, 0.0, 0.0, 0.0, None), None),
    ],
)
def test_what_has_moved_since_the_fit(row: Row, said: str | None) -> None:
    lines = drift_warnings(drift_table(row), 0.25, FIT)
    assert lines == ([] if said is None else [f"since the fit of 2026-01-31 {said}"])


def test_the_worst_five_are_named() -> None:
    rows: list[Row] = [(f"f{number}", "numeric", number / 2, 0.0, 0.0, number / 10, None) for number in range(8)]
    psi, nulls = drift_warnings(drift_table(*rows), 0.25, FIT)
    assert psi.endswith("f7 3.50, f6 3.00, f5 2.50, f4 2.00, f3 1.50 and 2 more")
    assert nulls.endswith("f3 0 % → 30 % and 2 more")


def test_event_types_that_the_log_has_no_more() -> None:
    assert missing_types(["view"]) == ["the log has no event of type 'view'; the features over it are 0 or null"]
