from __future__ import annotations

import pytest

from tests.rules.schema import messages

ROW = "a rule sees one user's row only, without queries, subqueries and window functions"
CLOCK = "depends on the clock or on chance; the day of the run is as_of, as in days_since(born)"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("open_rate_90d > 50 %", ["50 %: a share is written as a number: 0.5 is 50 %"]),
        ("open_rate_90d > 50% AND a > 1", ["50 %: a share is written as a number: 0.5 is 50 %"]),
        ("(open_rate_90d > 12.5 %)", ["12.5 %: a share is written as a number: 0.125 is 12.5 %"]),
        ("open_rate_90d > 0,5", ["0,5: decimals have a point: 0.5"]),
        ("open_rate_90d BETWEEN 0,1 AND 0,5", ["0,1: decimals have a point: 0.1", "0,5: decimals have a point: 0.5"]),
        (
            "COALESCE(open_rate_90d, 0,5) > 0.2",
            ["0,5: decimals have a point: 0.5; two values stand with a blank: 0, 5"],
        ),
        ("a > 1, b > 2", ["a comma stands between values of a function or of IN (…) alone"]),
        (
            "a > 1 ET b < 2 ou non optin",
            [
                "ET: the words of rules are English: write AND",
                "ou: the words of rules are English: write OR",
                "non: the words of rules are English: write NOT",
            ],
        ),
        ("SI (a > 1)", ["SI: the words of rules are English: leave it out, a rule is the condition itself"]),
        (
            "region = «Île-de-France»",
            ["«: text is written in straight single quotes, as in region = 'Île-de-France'"],
        ),
        (
            "region = ‘x’",
            ["‘: text is written in straight single quotes, as in region = 'Île-de-France'"],
        ),
        ("a == 1", ["==: two values are compared with one ="]),
        ("a => 1", ["=>: 'at least' is written >="]),
        ("a =< 1", ["=< is not part of the language: 'at most' is written <="]),
        ("a ≥ 1", ["≥ is not part of the language: 'at least' is written >="]),
        ("spend_total > 50 €", ["€ is not part of the language: amounts are plain numbers, in major units"]),
        ("a && b", ["&& is not part of the language: 'and' is written AND"]),
        ("a <=> 1", ["<=> is not part of the language"]),
        ("a > 1 b", ["two values side by side, 1 and b: is an operator, AND or OR missing?"]),
        ("a = b c", ["two values side by side, b and c: is an operator, AND or OR missing?"]),
        ("region = 'a' 'b'", ["two values side by side, 'a' and 'b': is an operator, AND or OR missing?"]),
        (
            "region = 'Val d'Oise'",
            [
                (
                    "two values side by side, 'Val d' and Oise: an apostrophe within a text is written twice: "
                    "'Val d''Oise'"
                ),
                "the quote ' is not closed; an apostrophe within a text is written twice: 'Val d''Oise'",
            ],
        ),
        ("optin IS TRUE", ["IS TRUE: IS goes with [NOT] NULL or [NOT] DISTINCT FROM; a column x that is true or"]),
        ("optin IS NOT TRUE", ["IS TRUE: IS goes with [NOT] NULL or [NOT] DISTINCT FROM; a column x that is true or"]),
        ("optin XOR a > 1", ["XOR is not part of the language: write (a AND NOT b) OR (b AND NOT a)"]),
        ("region ISNULL", ["ISNULL is not part of the language: write IS NULL"]),
        ("region LIKE 'x' ESCAPE '!'", ["ESCAPE is not part of the language: LIKE knows % and _ alone"]),
        ("now() > born", [f"now {CLOCK}"]),
        ("born = CURRENT_DATE", [f"CURRENT_DATE {CLOCK}"]),
        ("spend_total > AVG(spend_total)", ["AVG() looks at many users; a rule sees one user's row only"]),
        ("CAST(region AS INT) = 1", ["CAST() fails on values that do not fit; TRY_CAST() gives NULL for them"]),
        ("DATE_PART('year', born) = 1990", ["no function DATE_PART(): the parts of a date are YEAR(x), MONTH(x)"]),
        ("SQRT(a) > 1", ["no function SQRT(); there are ABS, CEIL,"]),
        ("TRYCAST(a) > 1", ["no function TRYCAST() (did you mean 'TRY_CAST'?); there are ABS,"]),
        ("event_cuont('open') > 1", ["no function EVENT_CUONT() (did you mean 'event_count'"]),
        ("(a > 1", ["this ( is not closed"]),
        ("a > 1)", ["this ) closes nothing"]),
        ("a > 12abc", ["12abc is neither a number nor a name"]),
        ("a > 0x1F", ["0x1F is neither a number nor a name"]),
        ("region = E'x'", ["E stands directly before a quote; text is written between single quotes alone"]),
        ("event_count('open', since => 3) > 1", ["since => …: functions of events know days, first, second, until,"]),
        ("", ["nothing is asked; a rule is a condition such as region = 'Bretagne'"]),
        ("  -- nothing", ["nothing is asked; a rule is a condition such as region = 'Bretagne'"]),
        ("a >", ["something is missing beside >"]),
        ("a > 1 AND", ["something is missing beside AND"]),
        ("a = 1 AND AND b = 2", ["something is missing beside AND"]),
        ("a > 7 jours", ["a number stands without its unit: 7, not 7 jours"]),
        ("a > 7 days", ["a number of days stands without its unit: 7"]),
        ("event_count('open', 7 days) > 1", ["a number of days stands without its unit: 7"]),
        ("a >= 18 AND <= 30", ["something is missing before <=: each comparison names what it compares"]),
        ("NULLIF(a) = 1", ["a function is given too few or too many values"]),
        ("YEAR(born, born) = 1", ["a function is given too few or too many values"]),
        ("CASE WHEN optin THEN 1", ["Expected END after CASE near 1"]),
        ("a IN b", ["IN takes a list of values in parentheses: region IN ('Bretagne', 'Occitanie')"]),
        ("a IN ()", ["IN (…) lists at least one value"]),
    ],
)
def test_slips_are_explained(where: str, expected: list[str]) -> None:
    found = messages(where)
    assert len(found) == len(expected)
    assert all(message.startswith(start) for message, start in zip(found, expected, strict=True)), found


@pytest.mark.parametrize(
    ("where", "start"),
    [
        ("a > 1; DROP TABLE users", "; is not part of the language: a rule is one condition"),
        ("a IN (SELECT a FROM users)", f"SELECT: {ROW}"),
        ("EXISTS(SELECT 1)", f"EXISTS: {ROW}"),
        ("SELECT * FROM users", f"SELECT: {ROW}"),
        ("COPY users TO '/etc/passwd'", f"COPY: {ROW}"),
        ("ATTACH 'x.db'", f"ATTACH: {ROW}"),
        ("read_csv('/etc/passwd') = 'x'", "no function READ_CSV()"),
        ("getenv('HOME') = 'x'", "no function GETENV()"),
        ("a > 1 UNION ALL SELECT 1", f"UNION: {ROW}"),
        ("a > SUM(a) OVER ()", "SUM() looks at many users"),
        ("users.a > 1", ". is not part of the language"),
        ("a::int > 1", ": is not part of the language"),
        ("tags[1] = 'x'", "[ is not part of the language"),
        ("{'a': 1} = a", "{ is not part of the language"),
        ("$1 = a", "$ is not part of the language"),
        ("? = a", "? is not part of the language"),
        ("@a > 1", "@ is not part of the language"),
        ("a -> b", "-> is not part of the language"),
        ("region = $$x$$", "$ is not part of the language"),
        ("__import__('os').system('ls')", "no function __IMPORT__()"),
        ("(lambda: 1)()", ": is not part of the language"),
        ("region = '../../etc' /* ", "the comment is not closed by */"),
        ("a > 1\x00", "'\\x00' is not part of the language"),
        ("\ufeffa > 1", "'\\ufeff' is not part of the language: remove the invisible mark"),
    ],
)
def test_nothing_but_a_condition_is_read(where: str, start: str) -> None:
    assert any(message.startswith(start) for message in messages(where)), messages(where)


def test_a_text_is_only_a_text() -> None:
    assert messages("region = 'x''; DROP TABLE users; --'") == []
    assert messages("region = '\\'") == []


def test_words_that_are_columns_are_no_slips() -> None:
    import polars as pl

    from engine.rules.scope import Scope

    names = ["et", "date", "segment", "first", "year", "left", "as_of", "today", "values"]
    scope = Scope(dict.fromkeys(names, pl.Int64()))
    assert messages(" AND ".join(f"{name} > 1" for name in names), scope) == []
    assert messages('"select" > 1 AND "a;b" = 2', Scope({"select": pl.Int64(), "a;b": pl.Int64()})) == []
