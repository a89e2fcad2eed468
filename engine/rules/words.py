"""The words of the language: keywords, functions, and words of other languages that people write instead."""

from __future__ import annotations

from typing import Final


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


FUNCTIONS: Final = _words("""
    ABS CEIL CEILING COALESCE DAY DAYS_UNTIL_ANNIVERSARY ENDS_WITH FLOOR GREATEST IF IFNULL LEAST LEFT LENGTH LOWER
    MONTH NULLIF RIGHT ROUND STARTS_WITH TRIM TRY_CAST UPPER YEAR
""")
"""Functions of one user's values that give a value or NULL for any input."""

EVENT_FUNCTIONS: Final = _words("""
    EVENT_COUNT EVENT_AMOUNT EVENT_DAYS DAYS_SINCE DAYS_SINCE_FIRST FIRST_TIME STOPPED RESTARTED REGULARLY FOLLOWED_BY
    NOT_FOLLOWED_BY HELD_FOR
""")
"""Functions of one user's events."""

IN_SEGMENT: Final = "IN_SEGMENT"
ALL_FUNCTIONS: Final = FUNCTIONS | EVENT_FUNCTIONS | {IN_SEGMENT}

KEYWORDS: Final = _words("""
    AND AS BETWEEN CASE DISTINCT ELSE END FALSE FROM ILIKE IN IS LIKE NOT NULL OR THEN TRUE WHEN
""")
OPERATOR_WORDS: Final = _words("AND BETWEEN DISTINCT ELSE FROM ILIKE IN IS LIKE NOT OR THEN WHEN CASE AS")
"""Keywords after which a value is still to come."""
ARGUMENT_NAMES: Final = _words("DAYS UNTIL WITHIN FIRST SECOND")
"""Names of arguments, before =>."""
TYPED_TEXT: Final = _words("DATE INTERVAL")
UNITS: Final = _words("AN ANS ANNÉE ANNÉES EUR EURO EUROS FOIS JOUR JOURS MOIS POINT POINTS SEMAINE SEMAINES TIMES")
"""Units that people write behind a number; a rule has plain numbers."""
TIME_UNITS: Final = _words(
    "DAY DAYS WEEK WEEKS MONTH MONTHS QUARTER YEAR YEARS HOUR HOURS MINUTE MINUTES SECOND SECONDS"
)

NOT_SPOKEN: Final = {
    "XOR": "write (a AND NOT b) OR (b AND NOT a)",
    "ISNULL": "write IS NULL",
    "NOTNULL": "write IS NOT NULL",
    "ESCAPE": "LIKE knows % and _ alone; STARTS_WITH and ENDS_WITH take the text as it is",
    "SIMILAR": "use LIKE, with % for any text and _ for one character",
    "GLOB": "use LIKE, with % for any text and _ for one character",
    "REGEXP": "use LIKE, with % for any text and _ for one character",
    "RLIKE": "use LIKE, with % for any text and _ for one character",
}
"""Operators of other dialects, and what to write here."""

FRENCH: Final = {
    "ET": "write AND",
    "OU": "write OR",
    "NON": "write NOT",
    "PAS": "write NOT",
    "ENTRE": "write BETWEEN",
    "DANS": "write IN",
    "PARMI": "write IN",
    "COMME": "write LIKE",
    "EST": "write IS",
    "NUL": "write NULL",
    "VRAI": "write TRUE",
    "FAUX": "write FALSE",
    "SI": "leave it out, a rule is the condition itself",
    "ALORS": "leave it out, a rule is the condition itself",
    "SINON": "write OR, or ELSE within CASE",
}

QUERY: Final = _words("""
    ALL ANY ALTER ATTACH COPY CREATE CROSS DELETE DROP EXCEPT EXISTS FILTER GROUP HAVING INSERT INTERSECT INTO JOIN
    LATERAL LIMIT OFFSET ORDER OVER PARTITION PIVOT PRAGMA QUALIFY SELECT SOME TABLE UNION UNPIVOT UPDATE USING VALUES
    WHERE WINDOW WITH
""")
"""Words of queries and statements."""

AGGREGATES: Final = _words("""
    ARG_MAX ARG_MIN ARRAY_AGG AVG COUNT CORR COVAR_POP COVAR_SAMP DENSE_RANK FIRST FIRST_VALUE GROUP_CONCAT LAG LAST
    LAST_VALUE LEAD LIST LISTAGG MAX MEAN MEDIAN MIN MODE NTILE PERCENT_RANK QUANTILE QUANTILE_CONT QUANTILE_DISC RANK
    ROW_NUMBER STDDEV STDDEV_POP STDDEV_SAMP STRING_AGG SUM UNNEST VARIANCE VAR_POP VAR_SAMP
""")
CLOCK: Final = _words(
    "CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP GETDATE LOCALTIME LOCALTIMESTAMP NOW RANDOM RAND SYSDATE TODAY UUID"
)

INSTEAD: Final = {
    "CAST": "CAST() fails on values that do not fit; TRY_CAST() gives NULL for them",
    "EXTRACT": "the parts of a date are YEAR(x), MONTH(x) and DAY(x)",
    "DATE_PART": "the parts of a date are YEAR(x), MONTH(x) and DAY(x)",
    "DATE": "a day is written DATE '2025-01-31'",
    "DATEDIFF": "days_since(x) counts the days from a date to as_of; two dates are subtracted with -",
    "DATE_DIFF": "days_since(x) counts the days from a date to as_of; two dates are subtracted with -",
    "CONCAT": "text is put together with ||",
    "CONTAINS": "write x LIKE '%text%'",
    "SUBSTRING": "LEFT(x, n) and RIGHT(x, n) give parts of a text",
    "SUBSTR": "LEFT(x, n) and RIGHT(x, n) give parts of a text",
    "MOD": "the remainder is written a % 7",
}
"""Functions of other dialects, and what to write here."""
