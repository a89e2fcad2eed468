"""What is wrong with the tokens of a rule before it is parsed: usual slips, said in words that help."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from engine.rules.problems import MOST, Problem
from engine.rules.source import Source, Token
from engine.rules.words import (
    AGGREGATES,
    ALL_FUNCTIONS,
    ARGUMENT_NAMES,
    CLOCK,
    EVENT_FUNCTIONS,
    FRENCH,
    FUNCTIONS,
    IN_SEGMENT,
    INSTEAD,
    KEYWORDS,
    NOT_SPOKEN,
    OPERATOR_WORDS,
    QUERY,
    TIME_UNITS,
    TYPED_TEXT,
    UNITS,
)
from engine.suggest import did_you_mean

MAX_CHARACTERS: Final = 100_000
MAX_LOGIC: Final = 1_000
MAX_OPERATORS: Final = 5_000
MAX_DEPTH: Final = 50
"""Levels of nesting; sqlglot takes some ten Python frames for each."""
MAX_COPIES: Final = 4_096
"""How often an inner value may stand in the expression: a comparison looks at each side twice (NaN, then the value)."""

_NOTHING: Final = Token("none", "", 0, 0)
_ONE_ROW: Final = "a rule sees one user's row only, without queries, subqueries and window functions"
_OF_TIME: Final = "depends on the clock or on chance; the day of the run is as_of, as in days_since(born)"


def too_much(source: Source) -> Problem | None:
    """Text that is too large to be parsed: too many operators, or nested too deep."""
    tokens = source.tokens
    logic = [token for token in tokens if token.upper in {"AND", "OR"}]
    if len(logic) > MAX_LOGIC:
        message = f"more than {MAX_LOGIC:,} AND and OR; write long lists of values with IN (…)"
        return Problem(message, logic[MAX_LOGIC].start, logic[MAX_LOGIC].end)
    operators = [t for t in tokens if t.kind == "symbol" and t.written not in "(),"]
    operators += [t for t in tokens if t.kind == "word" and t.upper in KEYWORDS]
    if len(operators) > MAX_OPERATORS:
        return Problem(f"more than {MAX_OPERATORS:,} operators and keywords", tokens[-1].start, tokens[-1].end)
    depth = prefixes = 0
    for token in tokens:
        depth += (token.written == "(") + (token.upper == "CASE")
        depth -= (token.written == ")") + (token.upper == "END")
        prefixes = prefixes + 1 if token.upper in {"NOT", "-", "+"} else 0
        if max(depth, prefixes) > MAX_DEPTH:
            return too_deep(token.start, token.end)
    return None


def too_deep(start: int, end: int) -> Problem:
    """What is said about a text that would exhaust the stack."""
    return Problem(f"nested, or chained without AND and OR, deeper than {MAX_DEPTH} levels", start, end)


class Around(NamedTuple):
    """A token, its neighbours, and the upper-case word before the parentheses that it stands in."""

    before: Token
    token: Token
    after: Token
    caller: str | None


def slips(source: Source, columns: Collection[str]) -> list[Problem]:
    """Usual mistakes, in the order of the text.

    Args:
        source: The text.
        columns: Columns that a rule may name (NFC): they are no mistake.
    """
    padded = [_NOTHING, *source.tokens, _NOTHING]
    places = zip(padded, source.tokens, padded[2:], _callers(source.tokens), strict=False)
    found: list[Problem] = []
    for around in itertools.starmap(Around, places):
        found += (
            _word(around, columns)
            or _percent(around)
            or _comma(around)
            or _symbol(around)
            or _side_by_side(around, columns)
        )
        if len(found) > MOST:
            return found
    return sorted([*found, *_parentheses(source.tokens)], key=lambda problem: problem.start)


def unknown_names(source: Source, columns: Collection[str], found: Collection[Problem]) -> list[Problem]:
    """Names that are no column, of a text that cannot be parsed, beside what was found at other places of it.

    Columns of events are not looked at.
    """
    told = {problem.start for problem in found}
    padded = [_NOTHING, *source.tokens, _NOTHING]
    places = zip(padded, source.tokens, padded[2:], _callers(source.tokens), strict=False)
    unknown = []
    for around in itertools.starmap(Around, places):
        name = name_of(around.token)
        free = around.caller is None or around.caller not in EVENT_FUNCTIONS
        if (
            free
            and around.token.start not in told
            and _is_name(around, columns)
            and name not in {*columns, "as_of", "segment"}
        ):
            message = f"no column {name!r}{did_you_mean(name, columns)}"
            unknown.append(Problem(message, around.token.start, around.token.end))
        if len(unknown) > MOST:
            break
    return unknown


def name_of(token: Token) -> str:
    """The name that a word or a text in double quotes stands for (NFC)."""
    name = token.written if token.kind != "quoted" else token.written[1:-1].replace('""', '"')
    return unicodedata.normalize("NFC", name)


def _is_name(around: Around, columns: Collection[str]) -> bool:
    """Whether the token can only be the name of a column."""
    before, token, after, _ = around
    word = token.upper
    if token.kind == "quoted":
        return True
    return (
        token.kind == "word"
        and word not in KEYWORDS
        and after.written not in {"(", "=>"}
        and before.upper != "AS"
        and not (word in TYPED_TEXT and after.kind in {"text", "number"})
        and not (word in TIME_UNITS and before.kind in {"text", "number"})
        and (token.written in columns or word not in {*FRENCH, *NOT_SPOKEN, *QUERY, *CLOCK})
    )


def _callers(tokens: Sequence[Token]) -> list[str | None]:
    """For each token the word before the innermost parentheses around it; "" for parentheses without one."""
    open_calls: list[str | None] = [None]
    callers = []
    before = _NOTHING
    for token in tokens:
        if token.written == ")" and token.kind == "symbol" and len(open_calls) > 1:
            open_calls.pop()
        callers.append(open_calls[-1])
        if token.upper == "(":
            word = before.upper if before.kind == "word" else ""
            open_calls.append(word if word in ALL_FUNCTIONS or word == "IN" or word not in KEYWORDS else "")
        before = token
    return callers


def _word(around: Around, columns: Collection[str]) -> list[Problem]:
    before, token, after, _ = around
    word, place = token.upper, (token.start, token.end)
    if token.kind != "word" or before.upper == "AS" or (token.written in columns and after.written != "("):
        return []
    message = None
    if word in FRENCH:
        message = f"{token.written}: the words of rules are English: {FRENCH[word]}"
    elif word in NOT_SPOKEN:
        message = f"{token.written} is not part of the language: {NOT_SPOKEN[word]}"
    elif word in CLOCK:
        message = f"{token.written} {_OF_TIME}"
    elif after.written == "(" and word not in {*KEYWORDS, *ALL_FUNCTIONS}:
        message = _no_function(word)
    elif word in QUERY:
        message = f"{token.written}: {_ONE_ROW}"
    elif _tests_truth(word, before, after):
        message = (
            f"IS {after.written or '…'}: IS goes with [NOT] NULL or [NOT] DISTINCT FROM; "
            "a column x that is true or false is tested by x or NOT x"
        )
    return [] if message is None else [Problem(message, *place)]


def _tests_truth(word: str, before: Token, after: Token) -> bool:
    if word == "NOT":
        return before.upper == "IS" and after.upper not in {"NULL", "DISTINCT"}
    return word == "IS" and after.upper not in {"NULL", "NOT", "DISTINCT"}


def _no_function(word: str) -> str:
    if word in AGGREGATES:
        events = "; event_count() and event_amount() add up a user's events" if word in {"COUNT", "SUM"} else ""
        return f"{word}() looks at many users; a rule sees one user's row only{events}"
    if word in QUERY:
        return f"{word}: {_ONE_ROW}"
    if word in INSTEAD:
        return INSTEAD[word] if word == "CAST" else f"no function {word}(): {INSTEAD[word]}"
    near = did_you_mean(word.lower(), {name.lower() if name not in FUNCTIONS else name for name in ALL_FUNCTIONS})
    events = ", ".join(sorted(name.lower() for name in {*EVENT_FUNCTIONS, IN_SEGMENT}))
    return f"no function {word}(){near}; there are {', '.join(sorted(FUNCTIONS))}, {events}"


def _percent(around: Around) -> list[Problem]:
    before, token, after, _ = around
    if token.upper != "%" or before.kind != "number" or _begins_value(after):
        return []
    share = f"{float(before.written) / 100:g}"
    message = f"{before.written} %: a share is written as a number: {share} is {before.written} %"
    return [Problem(message, before.start, token.end)]


def _begins_value(token: Token) -> bool:
    if token.kind == "word":
        return token.upper not in KEYWORDS or token.upper in {"CASE", "NULL", "TRUE", "FALSE"}
    return token.kind in {"text", "quoted", "number"} or token.upper == "("


def _ends_value(token: Token) -> bool:
    if token.kind == "word":
        return token.upper not in OPERATOR_WORDS
    return token.kind in {"text", "quoted", "number"} or token.upper == ")"


def _comma(around: Around) -> list[Problem]:
    before, token, after, caller = around
    if token.upper != ",":
        return []
    decimal = before.kind == after.kind == "number" and before.end == token.start and token.end == after.start
    listed = caller is not None and (caller == "IN" or caller in EVENT_FUNCTIONS or caller == IN_SEGMENT)
    if decimal and not listed:
        point = f"{before.written}.{after.written}"
        two = f"; two values stand with a blank: {before.written}, {after.written}" if caller else ""
        message = f"{before.written},{after.written}: decimals have a point: {point}{two}"
        return [Problem(message, before.start, after.end)]
    if not caller:
        return [Problem("a comma stands between values of a function or of IN (…) alone", token.start, token.end)]
    return []


def _symbol(around: Around) -> list[Problem]:
    before, token, _, caller = around
    place = (token.start, token.end)
    if token.upper == "==":
        return [Problem("==: two values are compared with one =", *place)]
    if token.upper != "=>":
        return []
    if caller in EVENT_FUNCTIONS and before.kind == "word":
        if before.upper in ARGUMENT_NAMES:
            return []
        names = ", ".join(sorted(name.lower() for name in ARGUMENT_NAMES))
        near = did_you_mean(before.written.lower(), (name.lower() for name in ARGUMENT_NAMES))
        message = f"{before.written} => …: functions of events know {names}{near}; a column is compared with ="
        return [Problem(message, before.start, token.end)]
    return [Problem("=>: 'at least' is written >=", *place)]


def _side_by_side(around: Around, columns: Collection[str]) -> list[Problem]:
    before, token, after, _ = around
    begins = _begins_value(token) or (token.upper == "NOT" and after.upper not in {"IN", "LIKE", "ILIKE", "BETWEEN"})
    told = before.upper in {*FRENCH, *NOT_SPOKEN, *QUERY} and before.written not in columns
    if not _ends_value(before) or not begins or told:
        return []
    if token.upper == "(" and before.kind == "word":
        return []
    if before.upper in TYPED_TEXT and token.kind in {"text", "number"}:
        return []
    if token.upper in TIME_UNITS and before.kind in {"text", "number"}:
        return []
    advice = "is an operator, AND or OR missing?"
    if before.kind == "number" and token.upper in UNITS:
        message = f"a number stands without its unit: {before.written}, not {before.written} {token.written}"
        return [Problem(message, token.start, token.end)]
    if before.kind == "text" and token.kind in {"text", "word"} and token.start == before.end:
        advice = "an apostrophe within a text is written twice: 'Val d''Oise'"
    elif before.kind == token.kind == "word" and before.written not in columns:
        advice = "text stands in single quotes; is an operator, AND or OR missing?"
    message = f"two values side by side, {before.written} and {token.written}: {advice}"
    return [Problem(message, token.start, token.end)]


def _parentheses(tokens: Sequence[Token]) -> Iterator[Problem]:
    opened: list[Token] = []
    for token in tokens:
        if token.upper == "(":
            opened.append(token)
        elif token.upper == ")":
            if opened:
                opened.pop()
            else:
                yield Problem("this ) closes nothing", token.start, token.end)
    for token in opened:
        yield Problem("this ( is not closed", token.start, token.end)
