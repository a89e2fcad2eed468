from __future__ import annotations

import pytest

from engine.sql_text import read_rule

COLUMNS = [
    "spend_total",
    "engagement_score",
    "region",
    "group",
    "user",
    "date",
    "état",
    "a b",
    'q"x',
    "re\u0301gime",
    "avg",
]


@pytest.mark.parametrize(
    ("text", "sql", "columns"),
    [
        ("region = 'Île-de-France'", "\"region\" = 'Île-de-France'", {"region"}),
        ("region = 'I\u0302le'", "\"region\" = 'Île'", {"region"}),
        ("region='it''s -- no /* comment'", "\"region\" = 'it''s -- no /* comment'", {"region"}),
        (
            "spend_total>1 -- big\n AND /* or\n not */ état>.5e3",
            '"spend_total" > 1 AND "état" > .5e3',
            {"spend_total", "état"},
        ),
        ("group > 1 AND user > 2", '"group" > 1 AND "user" > 2', {"group", "user"}),
        ('`a b` > 1 OR "a b" < 0', '"a b" > 1 OR "a b" < 0', {"a b"}),
        ('"q""x" > 1', '"q""x" > 1', {'q"x'}),
        ("régime > 1", '"re\u0301gime" > 1', {"re\u0301gime"}),
        ("date > DATE '2020-01-01'", "\"date\" > DATE '2020-01-01'", {"date"}),
        ("avg > 3", '"avg" > 3', {"avg"}),
        ("TRY_CAST(region AS VARCHAR(3)) = 'x'", "TRY_CAST ( \"region\" AS VARCHAR ( 3 ) ) = 'x'", {"region"}),
        ("spend_total / NULLIF(user, 0) > 1", '"spend_total" / NULLIF ( "user" , 0 ) > 1', {"spend_total", "user"}),
        ("region IN (" + ",".join(f"'{n}'" for n in range(5000)) + ")", None, {"region"}),
    ],
)
def test_text_is_read(text: str, sql: str | None, columns: set[str]) -> None:
    rule = read_rule(text, COLUMNS)
    assert rule.problems == ()
    assert rule.columns == columns
    assert sql is None or rule.sql == sql


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("spend_totl > 1", "no column 'spend_totl' (did you mean 'spend_total'?)"),
        ('region = "Bretagne"', "no column 'Bretagne'; double quotes name columns, single quotes mark text"),
        ("region = «Bretagne»", "« at character 10: text is written in straight single quotes"),
        ("region = ’Bretagne’", "’ at character 10: text is written in straight single quotes"),
        ("region = 'Bretagne", "the quote ' at character 10 is not closed"),
        ("region = 'a'; DROP TABLE x", "';' at character 13 is not part of the rule language"),
        ("t.region = 'a'", "'.' at character 2 is not part of the rule language"),
        ("user::int > 1", "':' at character 5 is not part of the rule language"),
        ("spend_total > AVG(spend_total)", "AVG() looks at many users; a rule sees one user's row only"),
        ("spend_total > 1 OR COUNT(*) > 3", "COUNT() looks at many users"),
        ("spend_total > max (user)", "MAX() looks at many users"),
        ("ROW_NUMBER() OVER (ORDER BY user) = 1", "OVER: a rule sees one user's row only"),
        ("spend_total > (SELECT user)", "SELECT: a rule sees one user's row only"),
        ("EXISTS (SELECT 1)", "EXISTS: a rule sees one user's row only"),
        ("date > NOW()", "NOW() depends on the clock"),
        ("date > current_date", "CURRENT_DATE depends on the clock"),
        ("CAST(region AS INT) > 1", "CAST() fails on values that do not fit"),
        ("ROUN(user) > 1", "no function ROUN() (did you mean 'ROUND'?)"),
        ("RANDOM() > user", "no function RANDOM()"),
        ("COLUMNS('.*') > 1", "no function COLUMNS()"),
        ("user > 1 IS TRUE", "IS TRUE: IS goes with [NOT] NULL or [NOT] DISTINCT FROM"),
        ("user IS NOT FALSE", "IS FALSE: IS goes with"),
        ("user IS", "IS …: IS goes with"),
        (
            "spend_total / user > 1",
            "/ user: a division by zero would count as endlessly large; write / NULLIF(user, 0)",
        ),
        ("spend_total % 0.0 > 1", "% 0.0: a division by zero"),
        ("1 = 1", "names no column"),
        ("'region' = 'Bretagne'", "names no column"),
        ("", "names no column"),
        (" AND ".join(["user > 1"] * 400), "more than 1,000 words and operators"),
    ],
)
def test_what_is_not_understood_is_explained(text: str, problem: str) -> None:
    problems = read_rule(text, COLUMNS).problems
    assert [found for found in problems if found.startswith(problem)], problems


def test_every_problem_is_told_once() -> None:
    rule = read_rule("reigon = 'a' OR reigon = 'b' OR SUM(user) > spend_total / group", COLUMNS)
    assert [problem.split(" ")[0] for problem in rule.problems] == ["no", "SUM()", "/"]
