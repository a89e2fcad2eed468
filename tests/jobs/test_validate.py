from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import Result

from engine.config import Target
from engine.errors import DataError
from engine.propensity.intervals import Interval
from engine.propensity.metrics import measure
from engine.record import RunRecord, TableSummary
from engine.stages.maturing import UNITS, Realised, TargetCounts
from engine.validation import Validation
from engine.validation_groups import Group
from engine.validation_table import Matured

Tamis = Callable[..., Result]


GROUPS = (
    Group(
        "big\x1b spenders",
        TargetCounts(rows=1_300, positives=325, predicted=1_300 * UNITS // 10),
        Realised(
            measure([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.5]),
            (("auc", Interval(0.5, 1.0)), ("base_rate", Interval(0.2, 0.3))),
        ),
    ),
    Group(None, TargetCounts(rows=20, positives=5, predicted=2 * UNITS), None),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """An engine that finds the same figures for every date up to the 15th, and refuses later ones."""
    state = SimpleNamespace(calls=[])

    def validate_run(config: object, as_of: date, *, by: Sequence[str], **others: object) -> Validation:
        del config, others
        state.calls.append(as_of)
        if as_of.day > 15:
            raise DataError("the horizon has not passed", code="not-matured")
        metrics = measure([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.5])
        entry = Matured(
            as_of=as_of,
            bundle="0123",
            target=Target(name="lapses", event="visit", where="amount > 2", absent=True, horizon_days=30),
            published=1_500,
            counts=TargetCounts(unscored=100, rows=1_400, positives=350, predicted=1_400 * UNITS // 10),
            realised=Realised(metrics, (("auc", Interval(0.5, 1.0)), ("base_rate", Interval(0.2, 0.3)))),
            trained=None,
            groups=tuple((column, GROUPS) for column in by),
        )
        counts = {"targets": {"lapses": {"auc": entry.row()["auc"]}}, "warnings": [f"look at {as_of}"]}
        tables = {"validation": TableSummary("out/validation", 1, 1, 10)}
        return Validation(RunRecord("r1", as_of, counts, {}, tables), (entry,))

    monkeypatch.setattr("engine.validation.validate_run", validate_run)
    return state


def test_dates_are_told_in_order_each_once(tamis: Tamis, folder: Path, asked: SimpleNamespace) -> None:
    dates = ("2026-01-15", "2026-01-01", "2026-01-15")
    result = tamis("validate", *(part for day in dates for part in ("--as-of", day)))
    assert result.exit_code == 0, result.stderr
    assert asked.calls == [date(2026, 1, 1), date(2026, 1, 15)]
    assert result.stdout.splitlines()[:12] == [
        "",
        "Scores of 2026-01-01, lapses: no visit with amount > 2 within 30 days",
        "  1,400 of 1,500 published users had a score, it came true for 350; 10.00% was predicted on average",
        "  measured on a sample of 4 users",
        "  measure                at training  realised  95 % interval",
        "  rate of the event                –     0.250  0.200 to 0.300",
        "  AUC                              –     0.750  0.500 to 1.000",
        "  average precision                –     0.833  –",
        "  log loss                         –     0.455  –",
        "  Brier score                      –     0.158  –",
        "  calibration error                –     0.325  –",
        "  lift of the top tenth            –     2.000  –",
    ]
    assert "validation: 1 row in out/validation" in result.stdout
    assert result.stderr.splitlines() == ["warning: look at 2026-01-01", "warning: look at 2026-01-15"]


def test_groups_are_told_below_their_target(tamis: Tamis, folder: Path, asked: SimpleNamespace) -> None:
    result = tamis("validate", "--as-of", "2026-01-01", "--by", "cluster", "--by", "segment")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    start = lines.index("  lift of the top tenth            –     2.000  –") + 1
    head = "users  came true   rate  95 % interval   predicted    AUC  95 % interval    lift  95 % interval"
    none = f"{'–':>13}"
    assert lines[start : start + 8] == [
        "",
        f"  by cluster    {head}",
        f"  big spenders  1,300        325  0.250  0.200 to 0.300      0.100  0.750  0.500 to 1.000  2.000  {none}",
        f"  –                20          5      –  –                       –      –  –                   –  {none}",
        "",
        f"  by segment    {head}",
        *lines[start + 2 : start + 4],
    ]


def test_json_is_one_object(tamis: Tamis, folder: Path, asked: SimpleNamespace) -> None:
    result = tamis("validate", "--as-of", "2026-01-01", "--as-of", "2026-01-15", "--json", "--quiet")
    told = json.loads(result.stdout)["validations"]
    assert [entry["as_of"] for entry in told] == ["2026-01-01", "2026-01-15"]
    assert told[0]["counts"]["targets"]["lapses"]["auc"] == 0.75
    assert result.stderr == ""


def test_what_is_refused_ends_with_its_code(tamis: Tamis, folder: Path, asked: SimpleNamespace) -> None:
    result = tamis("validate", "--as-of", "2026-01-01", "--as-of", "2026-01-20")
    assert result.exit_code == 3
    assert "error[not-matured]" in result.stderr
    assert "Scores of 2026-01-01" in result.stdout


@pytest.mark.parametrize("options", [(), ("--as-of", "tomorrow")])
def test_a_date_is_needed(tamis: Tamis, folder: Path, asked: SimpleNamespace, options: tuple[str, ...]) -> None:
    result = tamis("validate", *options)
    assert result.exit_code == 2
    assert asked.calls == []
