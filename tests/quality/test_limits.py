from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from engine.config import Config
from engine.config_quality import Limit
from engine.config_sources import _REJECT_RULES, Source
from engine.errors import ConfigError, DataError
from engine.events.schema import REJECT_RULES
from engine.quality.limits import METRICS, check_limits, judge, measurable
from engine.quality.table import Measured, frame, with_previous
from tests.rollups.stores import config_of, source_of

ROWS = Measured("source", "log", "rows", None, 100)
AMOUNT = Measured("source", "log", "completeness", "amount", 90, 100)
USER = Measured("source", "log", "completeness", "user_id", 100, 100)
NOTHING = Measured("source", "log", "late_share", None, 0, 0)
ON_A_DAY = Measured("source", "log", "rows", None, 1, day=3)


def limit(metric: str = "rows", **fields: Any) -> Limit:
    return Limit(metric=metric, **fields)  # type: ignore[arg-type]


def statuses(*limits: Limit, before: dict[str, float] | None = None) -> list[str]:
    known = {one.key: (before or {})[one.metric] for one in (ROWS, AMOUNT) if one.metric in (before or {})}
    measured = with_previous([ROWS, AMOUNT, USER, NOTHING, ON_A_DAY], known)
    return [one.status for one in judge(measured, limits).measured]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((), ["none", "none", "none"]),
        ((limit(at_least=100),), ["ok", "none", "none"]),
        ((limit(at_least=101),), ["warn", "none", "none"]),
        ((limit(at_most=99.5),), ["warn", "none", "none"]),
        ((limit("completeness", at_least=0.95),), ["none", "warn", "ok"]),
        ((limit("completeness", column="user_id", at_least=0.95),), ["none", "none", "ok"]),
        ((limit("completeness", of="shop", at_least=0.95),), ["none", "none", "none"]),
        ((limit("completeness", at_least=0.95), limit("completeness", at_least=0.1)), ["none", "warn", "ok"]),
        # Of the first date there is nothing to compare with.
        ((limit(change=0.1),), ["ok", "none", "none"]),
        ((limit("late_share", at_most=0),), ["none", "none", "none"]),
    ],
)
def test_limits(limits: tuple[Limit, ...], expected: list[str]) -> None:
    assert statuses(*limits) == [*expected, "none", "none"]


@pytest.mark.parametrize(
    ("change", "before", "expected"),
    [(0.1, 91.0, "ok"), (0.1, 90.0, "warn"), (0.5, 200.0, "ok"), (0.49, 200.0, "warn"), (5, 0.0, "warn")],
)
def test_dq09_changes_against_the_date_before(change: float, before: float, expected: str) -> None:
    assert statuses(limit(change=change), before={"rows": before})[0] == expected


def test_a_rule_that_rejected_nothing_had_a_share_of_zero() -> None:
    rejected = Measured("source", "log", "reject_share", "user_id_missing", 60, 100)
    strict = [limit("reject_share", change=0.5, action="stop")]
    assert judge(with_previous([rejected], {}), strict).warnings == ()
    nothing_rejected = {("source", "log", "invalid_share", None): 0.0}
    with pytest.raises(DataError) as caught:
        judge(with_previous([rejected], nothing_rejected), strict)
    assert "reject_share of log user_id_missing is 0.6 and was 0" in caught.value.message


def test_all_limits_that_stop_are_told_at_once() -> None:
    limits = [
        limit(at_least=101, action="stop"),
        limit("completeness", at_least=0.95, action="stop"),
        limit("completeness", at_least=0.99),
    ]
    with pytest.raises(DataError) as caught:
        judge([ROWS, AMOUNT, USER], limits)
    assert caught.value.code == "quality-stop"
    assert caught.value.message.splitlines()[1:] == [
        "  rows of log is 100, expected at least 101",
        "  completeness of log amount is 0.9, expected at least 0.95",
    ]
    assert judge([ROWS, AMOUNT], limits[2:]).warnings == (
        "quality: completeness of log amount is 0.9, expected at least 0.99",
    )


# ------------------------------------------------------------------------------------------------- what can be measured


def config(*limits: Limit, **fields: Any) -> Config:
    rules = [{"name": "priced", "holds": "amount > 0"}]
    source = source_of("x", columns={"quantity": "n", "channel": {"value": "mail"}}, rules=rules)  # type: ignore[arg-type]
    return config_of(source, quality={"limits": limits}, **fields)


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (limit("late_share", at_most=0.1), "nothing has the metric 'late_share'"),
        (limit(of="lag", at_least=1), "of: 'lag' has no rows (did you mean 'log'?)"),
        (limit("completeness", column="amuont", at_least=1), "no completeness of 'amuont' is measured (did you mean"),
        (limit("completeness", column="channel", at_least=1), "no completeness of 'channel' is measured"),
        (limit("rule_share", column="pricey", at_most=0), "did you mean 'priced'?"),
        (limit("rows", column="amount", at_least=1), "these are: none"),
    ],
)
def test_a_limit_on_what_is_not_measured(one: Limit, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_limits(config(limit(at_least=1), one), ())
    assert caught.value.code == "quality-limit"
    assert "quality.limits[1]: " in caught.value.message
    assert says in caught.value.message


def test_what_is_measured_of_contacts() -> None:
    contacts = {
        "path": "c",
        "user_id": "id",
        "cleaning": {"email": "mail"},
        "rules": [{"name": "adult", "holds": "age > 17", "action": "flag"}],
        "enrich": [{"name": "towns", "path": "t", "key": "code", "on": "code"}],
    }
    made = config(contacts=contacts)
    found = set(measurable(made, ("mail", "age")))
    assert {
        ("completeness", "contacts", "age"),
        ("invalid_share", "contacts", "email"),
        ("rule_share", "contacts", "adult"),
        ("rows", "towns", None),
        ("completeness", "towns", None),
    } <= found
    assert ("invalid_share", "contacts", "phone") not in found
    assert {metric for metric, _, _ in found} <= set(METRICS)


# ---------------------------------------------------------------------------------------------------------- validation


def test_the_names_of_rules_that_every_source_has() -> None:
    assert {rule.name for rule in REJECT_RULES} == _REJECT_RULES


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([("a", "count"), ("a", "quarantine")], "'a' is the name of two rules"),
        ([("amount_not_finite", "quarantine")], "'amount_not_finite' is a rule that every source has"),
        ([("a", "flag")], "'a' flags, which only contacts can"),
        ([(f"r{number}", "count") for number in range(101)], "101 are given; a source has 100 at the most"),
    ],
)
def test_rules_that_a_source_cannot_have(rules: list[tuple[str, str]], says: str) -> None:
    listed = [{"name": name, "holds": "x > 0", "action": action} for name, action in rules]
    with pytest.raises(ValidationError, match=says):
        Source(name="log", path="x", columns={"user_id": "u", "event_type": "t", "event_time": "at"}, rules=listed)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------------------- table


def test_the_table_is_sorted_and_changes_are_shares_of_the_value_before() -> None:
    table = frame([ON_A_DAY, USER, AMOUNT, NOTHING, ROWS])
    assert table.select("metric", "column", "day", "value").rows() == [
        ("completeness", "amount", None, 0.9),
        ("completeness", "user_id", None, 1.0),
        ("late_share", None, None, None),
        ("rows", None, None, 100.0),
        ("rows", None, table["day"][4], 1.0),
    ]
    before = {ROWS.key: 80.0, AMOUNT.key: 0.0, USER.key: 1.0}
    compared = with_previous([ON_A_DAY, USER, AMOUNT, NOTHING, ROWS], before)
    assert [(one.previous, one.change) for one in compared] == [
        (None, None),
        (1.0, 0.0),
        (0.0, None),
        (None, None),
        (80.0, 0.25),
    ]
    assert table["day"][4].isoformat() == "1970-01-04"
