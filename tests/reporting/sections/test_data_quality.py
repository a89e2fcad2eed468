from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from engine.config_quality import Metric
from engine.quality.table import Measured, frame
from engine.reporting.facts import Facts
from engine.reporting.sections.data_quality import section
from engine.reporting.words import LANGUAGES, Voice, texts
from tests.reporting.learnt_facts import check, facts_of, figure, side, told


def facts(measured: Sequence[Measured]) -> Facts:
    return facts_of(side(tables={"quality": frame(measured)}), before=side(tables={"quality": frame(BEFORE)}))


def of(metric: str, column: str | None, numerator: int, denominator: int | None = None, **more: object) -> Measured:
    return Measured("source", "shop", metric, column, numerator, denominator, **more)  # type: ignore[arg-type]


MEASURED = [
    of("rows", None, 200),
    of("freshness_days", None, 1),
    of("completeness", "amount", 150, 200, status="warn"),
    of("completeness", "user_id", 200, 200, status="ok"),
    of("late_share", None, 20, 200),
    of("rule_share", "priced", 3, 200),
    of("duplicate_share", None, 0, 200),
    of("rows_kept", None, 7, day=20_000),
]


BEFORE = [of("completeness", "amount", 90, 100)]


def test_what_lacks_values_is_late_or_breaks_rules() -> None:
    given = facts(MEASURED)
    made = section(given)
    check(given, made)
    said = told(given, made)
    assert "amount of shop has a value in 75.0% of its rows, the least of all." in said
    assert "The last event of shop is 1 day old." in said
    assert "10.0% of the rows of shop came late." in said
    assert "3 rows of shop break the rule priced: 1.5%." in said
    assert figure(made, "quality_completeness").table.select("what", "value", "previous").rows() == [
        ("shop: amount", 0.75, 0.9),
        ("shop: user_id", 1.0, None),
    ]
    shares = figure(made, "quality_shares").table
    assert shares["what"].to_list() == ["shop · late_share", "shop: priced · rule_share"]


def test_a_broken_limit_is_an_alarm() -> None:
    given = facts(MEASURED)
    [alarm] = section(given).alarms
    assert Voice("en", names=given.names("en")).put(alarm) == "A limit is broken: completeness of shop amount is 75.0%."
    assert "limits" not in told(given, section(given)).replace("limits_kept", "")


def test_all_is_well() -> None:
    given = facts([of("completeness", "amount", 5, 5, status="ok")])
    made = section(given)
    check(given, made)
    assert made.figures == ()
    assert "Every column" in told(given, made)
    assert "All limits of the configuration are kept." in told(given, made)
    assert "sets no limits" in told(given, section(facts([of("rows", None, 5)])))


def test_a_date_of_a_version_before_has_none() -> None:
    made = section(facts_of())
    assert made.missing is not None
    check(facts_of(), made)


def test_every_metric_has_words() -> None:
    for language in LANGUAGES:
        named = {key.partition(".")[2] for key in texts(language) if key.startswith("quality_metric.")}
        assert named == set(get_args(Metric))
