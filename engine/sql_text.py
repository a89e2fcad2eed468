"""The language of rules: a small part of SQL, word by word.

Polars' own SQL reads more than a rule may say, and its expressions do not tell aggregates from row-wise functions. So
the text is read here first: every word is a keyword or function of the lists below, a value, or a column; anything else
is explained. What comes out is the same condition with every column quoted as the schema spells it, and every text in
Unicode NFC.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from engine.suggest import did_you_mean


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


FUNCTIONS = _words("""
    ABS CEIL CEILING COALESCE DATE_PART ENDS_WITH FLOOR GREATEST IF IFNULL LEAST LEFT LENGTH LOWER NULLIF RIGHT ROUND
    STARTS_WITH TRIM TRY_CAST UPPER
""")
"""Functions of one user's values that give a value or NULL for any input."""

_KEYWORDS = _words("""
    AND AS BETWEEN CASE DISTINCT ELSE END FALSE FROM ILIKE IN IS LIKE NOT NULL OR THEN TRUE WHEN XOR
""")
_TYPED_TEXT = _words("DATE TIME TIMESTAMP INTERVAL")
_QUERY_WORDS = _words("ALL ANY EXISTS FILTER OVER PARTITION SELECT UNION WINDOW WITH")
_AGGREGATES = _words("""
    ARRAY_AGG AVG CORR COUNT COVAR COVAR_POP COVAR_SAMP DENSE_RANK FIRST FIRST_VALUE GROUP_CONCAT LAG LAST LAST_VALUE
    LEAD LISTAGG MAX MEDIAN MIN NTILE PERCENT_RANK QUANTILE_CONT QUANTILE_DISC RANK ROW_NUMBER STDDEV STDDEV_SAMP STDEV
    STDEV_SAMP STRING_AGG SUM UNNEST VAR VARIANCE VAR_SAMP
""")
_CLOCK = _words("CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP LOCALTIME LOCALTIMESTAMP NOW TODAY")

# Struct fields, casts and list positions: not for rules.
_SOURCE_SYMBOLS = frozenset(".:[]")

# Polars overflows its stack, and the process dies, on chains of some ten thousand operators.
_MAX_PARTS = 1_000

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*|/\*.*?\*/)
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<word>[^\W\d]\w*)
    | (?P<symbol><=|>=|<>|!=|==|\|\||//|[=<>+\-*/%(),])
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A part of the text: `text`, `quoted`, `number`, `word` or `symbol`, as it is written."""

    kind: str
    written: str

    @property
    def upper(self) -> str:
        return self.written.upper() if self.kind in {"word", "symbol"} else ""


@dataclass(frozen=True)
class RuleText:
    """A condition ready for Polars, or what is wrong with it."""

    sql: str
    columns: frozenset[str]
    problems: tuple[str, ...]


def read_rule(text: str, columns: Iterable[str]) -> RuleText:
    """The condition with its columns resolved; `problems` is empty when every word is understood.

    Args:
        text: SQL condition as the user wrote it.
        columns: The columns a rule may name. Names are compared after NFC normalisation, case counts.
    """
    known = {unicodedata.normalize("NFC", column): column for column in columns}
    tokens, problems = _tokens(text)
    if sum(token.kind not in {"text", "number"} and token.written != "," for token in tokens) > _MAX_PARTS:
        problems.append(f"more than {_MAX_PARTS:,} words and operators; write long lists of values with IN (…)")
    parts: list[str] = []
    used: set[str] = set()
    for before, token, after in _with_neighbours(tokens):
        problems += _problem_of(before, token, after, known)
        column = _column_of(before, token, after, known)
        if column is not None:
            used.add(column)
            escaped = column.replace('"', '""')
            parts.append(f'"{escaped}"')
        elif token.kind == "text":
            parts.append(unicodedata.normalize("NFC", token.written))
        else:
            parts.append(token.written)
    problems += _divisions(tokens)
    if not used and not problems:
        problems.append("names no column, so it holds for every user or for none")
    return RuleText(" ".join(parts), frozenset(used), tuple(dict.fromkeys(problems)))


def _tokens(text: str, more_symbols: frozenset[str] = frozenset()) -> tuple[list[Token], list[str]]:
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None and text[position] in more_symbols:
            tokens.append(Token("symbol", text[position]))
            position += 1
            continue
        if match is None:
            return tokens, [_unreadable(text, position)]
        if match.lastgroup not in {None, "space"}:
            tokens.append(Token(str(match.lastgroup), match.group()))
        position = match.end()
    return tokens, []


def _unreadable(text: str, position: int) -> str:
    sign, place = text[position], f"at character {position + 1}"
    if sign in "'\"`":
        return f"the quote {sign} {place} is not closed"
    if sign == "„" or unicodedata.category(sign) in {"Pi", "Pf"}:
        return f"{sign} {place}: text is written in straight single quotes, as in region = 'Île-de-France'"
    return f"{sign!r} {place} is not part of the rule language"


def _with_neighbours(tokens: list[Token]) -> Iterator[tuple[Token, Token, Token]]:
    padded = [Token("none", ""), *tokens, Token("none", "")]
    return zip(padded, tokens, padded[2:], strict=False)


def _is_plain_word(before: Token, token: Token, after: Token) -> bool:
    """Whether the word can only be a column: no keyword, function, type name or mark of a typed text."""
    return (
        token.kind == "word"
        and token.upper not in _KEYWORDS
        and after.written != "("
        and before.upper != "AS"
        and not (token.upper in _TYPED_TEXT and after.kind == "text")
    )


def _column_of(before: Token, token: Token, after: Token, known: dict[str, str]) -> str | None:
    if token.kind == "quoted":
        mark = token.written[0]
        return known.get(unicodedata.normalize("NFC", token.written[1:-1].replace(mark * 2, mark)))
    if _is_plain_word(before, token, after):
        return known.get(unicodedata.normalize("NFC", token.written))
    return None


def _problem_of(before: Token, token: Token, after: Token, known: dict[str, str]) -> list[str]:
    word = token.upper
    if token.kind == "quoted" and _column_of(before, token, after, known) is None:
        name = token.written[1:-1]
        near = did_you_mean(name, known.values())
        return [f"no column {name!r}{near}; double quotes name columns, single quotes mark text"]
    if token.kind != "word":
        return []
    if word == "IS":
        return [] if after.upper in {"NULL", "NOT", "DISTINCT"} else [_truth_test(after)]
    if word == "NOT" and before.upper == "IS":
        return [] if after.upper in {"NULL", "DISTINCT"} else [_truth_test(after)]
    if word not in _KEYWORDS and after.written == "(" and before.upper != "AS":
        return _function_problem(word)
    if _is_plain_word(before, token, after) and _column_of(before, token, after, known) is None:
        return [_word_problem(token, known)]
    return []


def _function_problem(word: str) -> list[str]:
    if word in FUNCTIONS:
        return []
    if word in _AGGREGATES:
        return [f"{word}() looks at many users; a rule sees one user's row only"]
    if word in _QUERY_WORDS:
        return [f"{word}: a rule sees one user's row only, without subqueries and window functions"]
    if word in _CLOCK:
        return [f"{word}() depends on the clock; time is counted from as_of, in columns such as days_since_…"]
    if word == "CAST":
        return ["CAST() fails on values that do not fit; TRY_CAST() gives NULL for them"]
    return [f"no function {word}(){did_you_mean(word, FUNCTIONS)}; there are {', '.join(sorted(FUNCTIONS))}"]


def _word_problem(token: Token, known: dict[str, str]) -> str:
    if token.upper in _QUERY_WORDS:
        return f"{token.upper}: a rule sees one user's row only, without subqueries and window functions"
    if token.upper in _CLOCK:
        return f"{token.upper} depends on the clock; time is counted from as_of, in columns such as days_since_…"
    return f"no column {token.written!r}{did_you_mean(token.written, known.values())}"


def _truth_test(after: Token) -> str:
    # Polars gives NULL instead of false for `x IS TRUE` when x is NULL, which NOT then turns the wrong way.
    return (
        f"IS {after.written or '…'}: IS goes with [NOT] NULL or [NOT] DISTINCT FROM; "
        "a column x that is true or false is tested by x or NOT x"
    )


def _divisions(tokens: list[Token]) -> list[str]:
    for _, token, after in _with_neighbours(tokens):
        harmless = after.upper == "NULLIF" or (after.kind == "number" and float(after.written) != 0)
        if token.written in {"/", "//", "%"} and not harmless:
            divisor = after.written if after.kind in {"word", "quoted"} else "…"
            advice = f"write {token.written} NULLIF({divisor}, 0)"
            return [f"{token.written} {after.written}: a division by zero would count as endlessly large; {advice}"]
    return []


def row_problems(text: str) -> list[str]:
    """Words of an expression that would make a row's value depend on other rows or on the clock.

    For expressions over the columns of a source, which may use more of SQL than a rule: rows are read in portions, so
    `MAX(x)` would mean the largest of a portion.
    """
    tokens, problems = _tokens(text, _SOURCE_SYMBOLS)
    for before, token, after in _with_neighbours(tokens):
        called = after.written == "("
        # Polars takes "MAX"(x) for MAX(x).
        word = token.written[1:-1].upper() if token.kind == "quoted" and called else token.upper
        if token.kind not in {"word", "quoted"} or before.upper == "AS" or (before.written == "." and not called):
            continue
        if word in _AGGREGATES and called:
            problems.append(f"{word}() looks at many rows; a row is mapped on its own")
        elif word in _QUERY_WORDS - {"ALL", "ANY"} and not (after.kind == "symbol" and after.written != "("):
            problems.append(f"{word}: a row is mapped on its own, without subqueries and window functions")
        elif word in _CLOCK:
            problems.append(f"{word} depends on the clock; the same run must give the same tables tomorrow")
    return list(dict.fromkeys(problems))
