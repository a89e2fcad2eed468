from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from engine.rules.rule import segment_column, tenure_column
from tests.rules.schema import AS_OF, COLUMNS, SCOPE, held, messages, read


@pytest.mark.parametrize(
    ("where", "values", "expected"),
    [
        ("a > 1", {"a": 2}, True),
        ("a > 1", {}, False),
        ("NOT a > 1", {}, True),
        ("a <> 1", {}, True),
        ("a <> 1", {"a": 1}, False),
        ("a != 1", {"a": 2}, True),
        ("NOT a <> 1", {}, False),
        ("a = b", {}, False),
        ("a <> b", {}, True),
        ("a IS NULL", {}, True),
        ("a IS NOT NULL", {}, False),
        ("a IS DISTINCT FROM 1", {}, True),
        ("a IS NOT DISTINCT FROM b", {}, True),
        ("a IS DISTINCT FROM NULL", {"a": 1}, True),
        ("a > 1 OR a IS NULL", {}, True),
        ("NOT (a > 1 AND b > 1)", {"b": 0}, True),
        ("NOT (a > 1 AND b > 1)", {"b": 2}, True),
        ("NOT (a > 1 AND b > 1)", {"a": 2, "b": 2}, False),
        ("a NOT IN (1, 2)", {}, True),
        ("a NOT IN (1, 2)", {"a": 2}, False),
        ("a IN (1, 2.5)", {"a": 1}, True),
        ("a IN (b, 3)", {"a": 2, "b": 2}, True),
        ("a IN (-1, -2)", {"a": -2}, True),
        ("score IN (1, 2)", {"score": 2.0}, True),
        ("score NOT IN (1, 2)", {"score": math.nan}, True),
        ("big IN (1, 18446744073709551615)", {"big": 1}, True),
        ("big > 3", {"big": 2**64 - 1}, True),
        ("born IN (DATE '1990-01-01', DATE '1991-01-01')", {"born": date(1991, 1, 1)}, True),
        ("optin IN (TRUE)", {"optin": True}, True),
        ("a NOT BETWEEN 1 AND 3", {"a": 3}, False),
        ("a NOT BETWEEN 1 AND 3", {}, True),
        ("a BETWEEN b AND 3", {"a": 2}, False),
        ("optin", {"optin": True}, True),
        ("NOT optin", {}, True),
        ("optin = FALSE", {}, False),
        ("NOT COALESCE(optin, TRUE)", {}, False),
        ("region = 'Île-de-France'", {"region": "Île-de-France"}, True),
        ("region = 'I\u0302le-de-France'", {"region": "Île-de-France"}, True),
        ("\"re\u0301 gion\" = 'x'", {"ré gion": "x"}, True),
        ("region = 'île-de-france'", {"region": "Île-de-France"}, False),
        ("region = 'Ile-de-France'", {"region": "Île-de-France"}, False),
        ("region = 'a '", {"region": "a"}, False),
        ("region = 'it''s'", {"region": "it's"}, True),
        ("LOWER(region) = 'île-de-france'", {"region": "ÎLE-DE-FRANCE"}, True),
        ("UPPER(TRIM(region)) = 'X'", {"region": " x\t"}, True),
        ("LENGTH(region) = 2", {"region": "éà"}, True),
        ("LEFT(region, 1) = 'é' AND RIGHT(region, 2) = 'té'", {"region": "été"}, True),
        ("LEFT(region, 1e300) = 'été' AND RIGHT(region, 9223372036854775807) = 'été'", {"region": "été"}, True),
        ("STARTS_WITH(region, 'ét')", {"region": "été"}, True),
        ("NOT ENDS_WITH(region, 'x')", {}, True),
        ("region || '!' = 'x!'", {"region": "x"}, True),
        ("region LIKE 'a.%'", {"region": "abc"}, False),
        ("region LIKE 'a_c'", {"region": "aéc"}, True),
        ("region LIKE '%b%'", {"region": "abc"}, True),
        ("region LIKE '%bc'", {"region": "abc"}, True),
        ("region LIKE 'ab%'", {"region": "a\nb"}, False),
        ("region LIKE '%a%b'", {"region": "xa\nb"}, True),
        ("region LIKE '%'", {}, False),
        ("region LIKE 'a c-#&~'", {"region": "a c-#&~"}, True),
        ("region LIKE '_ c-#&~ %!'", {"region": "a c-#&~ \n!"}, True),
        ("region ILIKE 'É%'", {"region": "été"}, True),
        ("region NOT LIKE 'b%'", {}, True),
        ("region NOT ILIKE 'B%'", {"region": "bx"}, False),
        ("score > 0.5", {"score": math.nan}, False),
        ("NOT score > 0.5", {"score": math.nan}, True),
        ("score IS NULL", {"score": math.nan}, True),
        ("score - score = 0", {"score": math.inf}, False),
        ("score - score IS NULL", {"score": math.inf}, True),
        ("COALESCE(score, 7) = 7", {"score": math.nan}, True),
        ("GREATEST(score, a) = 3", {"score": math.nan, "a": 3}, True),
        ("a / NULLIF(b, 0) > 0.5", {"a": 1, "b": 0}, False),
        ("a / NULLIF(b, 0) >= 0.5", {"a": 1, "b": 2}, True),
        ("a * 2 - 1 = 3 AND a / 2 = 1", {"a": 2}, True),
        ("a % 3 = 1 AND a // 3 = 2 AND -a = -7", {"a": 7}, True),
        ("a + b IS NULL", {"a": 7}, True),
        ("r_score * 100 = 500", {"r_score": 5}, True),
        ("r_score = 300", {"r_score": 5}, False),
        ("kind = 'x'", {"kind": "x"}, True),
        ("ABS(a) = 2 AND CEIL(score) = 2 AND FLOOR(score) = 1", {"a": -2, "score": 1.5}, True),
        ("ROUND(score) = 3 AND ROUND(score, 1) = 2.5", {"score": 2.5}, True),
        ("NULLIF(a, 2) IS NULL", {"a": 2}, True),
        ("LEAST(a, b) = 4", {"b": 4}, True),
        ("IFNULL(a, 0) = 0", {}, True),
        ("TRY_CAST(region AS INT) > 1", {"region": "x"}, False),
        ("TRY_CAST(region AS INT) > 1", {"region": "7"}, True),
        ("TRY_CAST(region AS DOUBLE) > 1", {"region": "inf"}, False),
        ("TRY_CAST(region AS DATE) = DATE '2020-02-29'", {"region": "2020-02-29"}, True),
        ("TRY_CAST(region AS DATE) IS NULL", {"region": "2021-02-29"}, True),
        ("TRY_CAST(a AS VARCHAR) = '7'", {"a": 7}, True),
        ("IF(a > 1, 'x', 'y') = 'y'", {}, True),
        ("CASE WHEN a > 1 THEN region = 'x' ELSE b > 1 END", {"a": 1, "b": 2}, True),
        ("CASE WHEN a > 1 THEN TRUE END", {"a": 1}, False),
        ("CASE region WHEN 'x' THEN 1 WHEN 'y' THEN 2.5 END = 2.5", {"region": "y"}, True),
        ("born >= DATE '1990-01-01'", {"born": date(1990, 1, 1)}, True),
        ("born = DATE '1990-01-01' + INTERVAL '1' DAY", {"born": date(1990, 1, 2)}, True),
        ("born + INTERVAL '2 weeks' = as_of - INTERVAL 1 DAY", {"born": date(2025, 2, 14)}, True),
        ("as_of - born = 28", {"born": date(2025, 2, 1)}, True),
        ("seen < DATE '2020-01-02'", {"seen": datetime(2020, 1, 1, 22, 59, tzinfo=UTC)}, True),
        ("seen < DATE '2020-01-02'", {"seen": datetime(2020, 1, 1, 23, 1, tzinfo=UTC)}, False),
        ("days_since(born) = 28", {"born": date(2025, 2, 1)}, True),
        ("days_since(seen) = 0", {"seen": datetime(2025, 3, 1, 12, tzinfo=UTC)}, True),
        ("YEAR(born) = 1990 AND MONTH(born) = 5 AND DAY(born) = 1", {"born": date(1990, 5, 1)}, True),
        ("days_until_anniversary(born) = 0", {"born": date(1990, 3, 1)}, True),
        ("days_until_anniversary(born) = 364", {"born": date(1990, 2, 28)}, True),
        ("days_until_anniversary(born) = 364", {"born": date(1992, 2, 29)}, True),
        ("days_until_anniversary(born) IS NULL", {}, True),
        ("-- who?\n a > 1 /* many */ AND\tb > 1", {"a": 2, "b": 2}, True),
        ("a\u00a0> 1", {"a": 2}, True),
        ("a > .5 AND a > 1e-3", {"a": 1}, True),
    ],
)
def test_a_rule_holds_when_it_is_true(where: str, values: dict[str, Any], expected: bool) -> None:
    assert held(where, **values) is expected
    assert held(f"NOT ({where})", **values) is not expected


@pytest.mark.parametrize("born", [date(1992, 2, 29), date(2000, 12, 31), date(1999, 3, 2), date(2024, 2, 28)])
@pytest.mark.parametrize("as_of", [date(2024, 2, 29), date(2025, 2, 28), date(2023, 12, 31), date(1999, 3, 1)])
def test_the_next_anniversary(born: date, as_of: date) -> None:
    def on(year: int) -> date:
        return date(year, 2, 28) if (born.month, born.day, year % 4) == (2, 29, year % 4 or 4) else _same(born, year)

    following = min((on(year) - as_of).days for year in (as_of.year, as_of.year + 1) if on(year) >= as_of)
    scope = type(SCOPE)(COLUMNS, as_of=as_of)
    rule = read(f"days_until_anniversary(born) = {following}", scope)
    assert pl.DataFrame({"born": [born]}).select(rule.expr()).item()


def _same(born: date, year: int) -> date:
    return born.replace(year=year)


def test_members_of_segments() -> None:
    frame = pl.DataFrame(
        {segment_column("VIP"): [True, True, False], tenure_column("VIP"): [29, 30, None], "region": ["x", "y", "z"]}
    )
    for text, expected in {
        "in_segment('VIP')": [True, True, False],
        "segment = 'VIP'": [True, True, False],
        "'VIP' = segment": [True, True, False],
        "segment <> 'VIP'": [False, False, True],
        "segment IN ('VIP')": [True, True, False],
        "segment NOT IN ('VIP')": [False, False, True],
        "in_segment('VIP', 30)": [False, True, False],
        "NOT in_segment('VIP', 30)": [True, False, True],
    }.items():
        rule = read(text)
        assert rule.segments == {"VIP"}
        assert frame.select(rule.expr()).to_series().to_list() == expected, text
    assert read("in_segment('VIP', 30)").tenures == {"VIP"}
    assert read("in_segment('e\u0301')").segments == {"é"}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "region > 70",
            (
                "region is text (String), 70 is a number: values of different kinds cannot be compared; "
                "text stands in single quotes: '70'"
            ),
        ),
        (
            "a = '3'",
            (
                "a is a number (Int64), '3' is text: values of different kinds cannot be compared; "
                "numbers stand without quotes: 3"
            ),
        ),
        (
            "born > '1990-01-01'",
            (
                "born is a date (Date), '1990-01-01' is text: values of different kinds cannot be compared; "
                "a day is written DATE '1990-01-01'"
            ),
        ),
        (
            "born = 19900101",
            (
                "born is a date (Date), 19900101 is a number: values of different kinds cannot be compared; "
                "days_since(born) is a number of days"
            ),
        ),
        (
            "optin = 1",
            (
                "optin is true or false (Boolean), 1 is a number: values of different kinds cannot be compared; "
                "write optin or NOT optin"
            ),
        ),
        ("region IN ('x', 2)", "region is text (String), 2 is a number: values of different kinds cannot be compared"),
        ("region = optin", "region is text (String), optin is true or false (Boolean): values of different kinds"),
        ("optin > FALSE", "optin is true or false (Boolean): there is no order; write optin or NOT optin"),
        ("tags = 'x'", "column 'tags' is a List(String), not a single value"),
        ("NOT region", "region is text (String); a condition is true or false: compare it with a value"),
        ("a AND optin", "a is a number (Int64); a condition is true or false: compare it with a value"),
        ("a + b", "a + b is a number; a condition is true or false: compare it with a value"),
        ("LOWER(a) = 'x'", "a is a number (Int64); LOWER() takes text"),
        ("a = NULL", "NULL is never equal to anything, so this is the same for every user; write a IS NULL or"),
        ("a <> NULL", "NULL is never equal to anything, so this is the same for every user; write a IS NULL or"),
        ("a IN (1, NULL)", "NULL is never equal to anything, also not in a list; write a IS NULL beside it"),
        ("a + NULL > 1", "a + NULL is always NULL"),
        ("NULL", "NULL is never true, so this holds for nobody"),
        ("a BETWEEN 5 AND 1", "nothing lies between 5 and 1; the smaller number stands first"),
        ("a / b > 1", "/ b: a division by zero would be endlessly large; write / NULLIF(b, 0)"),
        ("a % 0 > 1", "% 0: a division by zero would be endlessly large; write % NULLIF(…, 0)"),
        (
            "open_rate_90d > 50",
            "open_rate_90d is a rate, and a rate is a share: 0.5 is 50 %; for 50 % write 0.5",
        ),
        ("open_rate_90d BETWEEN 0.1 AND 20", "open_rate_90d is a rate, and a rate is a share: 0.5 is 50 %; for 20 %"),
        ("open_rate_90d IN (0.1, 20)", "open_rate_90d is a rate, and a rate is a share: 0.5 is 50 %; for 20 %"),
        ("region LIKE region", "LIKE takes a pattern in single quotes, of 1,000 characters at most"),
        ("a LIKE '1%'", "a is a number (Int64); LIKE looks at text"),
        ("born > DATE '1990-13-01'", "DATE '1990-13-01': a day is written DATE '2025-01-31'"),
        ("born > as_of - INTERVAL '1' MONTH", "an interval is a whole number of days or weeks: INTERVAL '30' DAY"),
        (
            "born > as_of - 30",
            "as_of is a date, 30 is a number: arithmetic takes numbers; days are added with INTERVAL",
        ),
        ("COALESCE(a, region) = 1", "a is a number (Int64), region is text (String): COALESCE() takes values of one"),
        ("CASE WHEN a > 1 THEN 1 ELSE 'x' END = 1", "1 is a number, 'x' is text: CASE takes values of one kind"),
        ("TRY_CAST(score AS INT) = 1", "score is a number (Float64); whole numbers are made with ROUND(), FLOOR()"),
        ("TRY_CAST(region AS JSON) = 1", "TRY_CAST(x AS type) takes a column or value, and INT, DOUBLE, VARCHAR"),
        ("1 = 1", "names no column, so it holds for every user or for none"),
        ("TRUE", "names no column, so it holds for every user or for none"),
        ("region = 'x' OR 1 = 1 --", "names no column, so it holds for every user or for none"),
        ("as_of > DATE '2020-01-01' AND 1 = 1", "names no column, so it holds for every user or for none"),
        ("a > 1" + "0" * 400, "1" + "0" * 19 + "… is too large a number"),
        ("segment IS NULL", "segment is asked for by segment = 'name', segment IN ('a', 'b') or in_segment('name')"),
        ("segment = 'VIPs'", "no segment 'VIPs' (did you mean 'VIP'?); `tamis segments list` shows all"),
        ("segment = 'x'", "no segment 'x'; there are Prospects chauds, VIP, é"),
        ("1 < a < 3", "1 < a is true or false, 3 is a number: values of different kinds cannot be compared; two comp"),
        ("event_count('purchase', '30') = 1", "numbers stand without quotes: 30; it is written event_count("),
        ("followed_by('open', 'purchase', 3)", "numbers are given by name here; it is written followed_by("),
        ('in_segment("VIP")', "write in_segment('name') or in_segment('name', days), with the name in single"),
        (
            f"in_segment('VIP', {'9' * 5000})",
            "write in_segment('name') or in_segment('name', days), with a whole number",
        ),
        ("in_segment('VIP', 1.5)", "write in_segment('name') or in_segment('name', days), with a whole number"),
        ("regoin = 'x'", "no column 'regoin' (did you mean 'region' or 'ré gion'?)"),
        ("region = Bretagne", "no column 'Bretagne'; text stands in single quotes: 'Bretagne'"),
        ("\"foo\" = 'x'", "no column 'foo'; double quotes name columns, single quotes mark text"),
        ("A > 1", "no column 'A' (did you mean 'a'?)"),
        ("open > 1", "no column 'open'; it is an event type: write event_count('open', 30) or days_since('open')"),
        ("VIP", "no column 'VIP'; it is a segment: write in_segment('VIP')"),
        ("a < b < 3", "a < b is true or false, 3 is a number: values of different kinds cannot be compared"),
        ("(a, b) = 1", "a comma stands between values of a function or of IN (…) alone"),
    ],
)
def test_what_cannot_be_asked_is_explained(where: str, message: str) -> None:
    found = messages(where)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_segments_and_events_that_cannot_be_asked_for() -> None:
    bare = type(SCOPE)(COLUMNS)
    assert messages("in_segment('VIP')", bare) == [
        "segments cannot be asked for here: they are not known before all users are scored"
    ]
    assert messages("event_count('purchase') > 1", bare) == [
        "event_count(): events cannot be asked for here, only features and contact attributes"
    ]


def test_the_day_of_the_run_may_decide_alone() -> None:
    rule = read("as_of >= DATE '2025-03-01' AND a > 1")
    assert pl.DataFrame({"a": [2, None]}).select(rule.expr()).to_series().to_list() == [True, False]
    assert date(2025, 3, 1) == AS_OF
