"""From the text of a rule to sqlglot's syntax tree, with the place of every node; or why it cannot be parsed."""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.rules.hints import MAX_CHARACTERS, MAX_COPIES, MAX_DEPTH, slips, too_deep, too_much, unknown_names
from engine.rules.problems import Problem
from engine.rules.source import Source, Token, source_of
from engine.rules.words import KEYWORDS, TIME_UNITS

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlglot import exp

_BRACKETS: Final = {"(": 1, "CASE": 1, ")": -1, "END": -1}
_ENCLOSED: Final = frozenset({"Paren", "Case", "Cast", "TryCast", "If", "Ceil", "Floor", "Trim", "Tuple", "Subquery"})
"""Nodes that end with a bracket; sqlglot does not tell where they begin."""


class Parsed(NamedTuple):
    """A syntax tree and the text it was made of, or problems."""

    source: Source
    tree: exp.Expr | None
    problems: tuple[Problem, ...]


def parse(text: str, columns: Collection[str]) -> Parsed:
    """The syntax tree of one expression; places of the problems are in `source.text`.

    Args:
        text: As the user wrote it.
        columns: Columns that it may name (NFC).
    """
    if len(text) > MAX_CHARACTERS:
        message = f"{len(text):,} characters; a rule has {MAX_CHARACTERS:,} at most"
        return Parsed(Source(text, text, (), ()), None, (Problem(message, 0, 1),))
    source = source_of(text)
    large = too_much(source)
    if large is not None:
        return Parsed(source, None, (large,))
    if not source.tokens and not source.problems:
        message = "nothing is asked; a rule is a condition such as region = 'Bretagne'"
        return Parsed(source, None, (Problem(message, 0, 1),))
    found = list(source.problems)
    # Beyond a sign that cannot be read everything would look unclosed.
    found += [p for p in slips(source, columns) if not (source.problems and "not closed" in p.message)]
    tree = None
    if not found:
        tree, failed = _tree(source)
        found = [failed] if failed is not None else []
    if found:
        found = sorted([*found, *unknown_names(source, columns, found)], key=lambda problem: problem.start)
    return Parsed(source, None if found else tree, tuple(dict.fromkeys(found)))


def _tree(source: Source) -> tuple[exp.Expr | None, Problem | None]:
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError, SqlglotError

    whole = (source.tokens[0].start, source.tokens[-1].end)
    try:
        tree = sqlglot.parse_one(source.plain, dialect="duckdb", into=exp.Condition)
        return (None, too_deep(*whole)) if _is_too_deep(tree) else (tree, None)
    except ParseError as error:
        return None, _explained(source, error)
    except RecursionError:
        return None, too_deep(*whole)
    except SqlglotError:
        return None, Problem("this cannot be read as a condition", *whole)


def _is_too_deep(tree: exp.Expr) -> bool:
    """Whether a path of the tree is too long, a chain of AND or of OR being one step, or copies values too often."""
    stack = [(tree, 1, 1)]
    while stack:
        node, depth, copies = stack.pop()
        copies *= _copies(node)
        if depth > MAX_DEPTH or copies > MAX_COPIES:
            return True
        chain = type(node).__name__ in {"And", "Or"}
        stack += [
            (child, depth + (not (chain and type(child) is type(node))), copies) for child in node.iter_expressions()
        ]
    return False


def _copies(node: exp.Expr) -> int:
    """How often the expression of a node contains that of a node within."""
    name = type(node).__name__
    if name == "Case":
        return 1 if node.this is None else 2 * len(node.args["ifs"])
    if name == "In":
        literal = all(type(entry).__name__ in {"Literal", "Null"} for entry in node.expressions)
        return 2 if literal else 2 * len(node.expressions)
    return _COPIES.get(name, 1)


_COPIES: Final = {
    **dict.fromkeys(("EQ", "NEQ", "LT", "LTE", "GT", "GTE", "Is", "NullSafeEQ", "NullSafeNEQ"), 2),
    **dict.fromkeys(("Coalesce", "Greatest", "Least", "TryCast"), 2),
    **dict.fromkeys(("Between", "Nullif"), 4),
    "Anonymous": 8,
}


def _explained(source: Source, error: object) -> Problem:
    details = getattr(error, "errors", None) or [{}]
    description, highlight = str(details[0].get("description", "")), str(details[0].get("highlight", ""))
    place = _found_at(source, int(details[0].get("line") or 1), int(details[0].get("col") or 0))
    token = source.tokens[place]
    before = source.tokens[place - 1] if place else token
    compares = before.upper in {"=", "<", "<=", ">", ">=", "<>", "!="}
    if description.startswith("Required keyword: 'this' missing for") and compares and token.upper not in KEYWORDS:
        message = f"something is missing before {before.written}: each comparison names what it compares"
        return Problem(message, before.start, token.end)
    if before.kind == "number" and token.upper in TIME_UNITS:
        return Problem(f"a number of days stands without its unit: {before.written}", token.start, token.end)
    if "missing for" in description and token.upper in {*KEYWORDS, *"=<>+-*/%", "<=", ">=", "<>", "!=", "//", "||"}:
        message = f"something is missing beside {token.written}"
    elif "missing for" in description or "number of provided arguments" in description:
        message = "a function is given too few or too many values"
    elif description.startswith(("Expecting", "Expected")):
        message = f"{description.replace('Expecting', 'expected')} near {token.written}"
    else:
        message = f"{highlight or token.written} is not expected here"
    return Problem(message, token.start, token.end)


def _found_at(source: Source, line: int, column: int) -> int:
    """The token that ends at a column (from 1) of a line (from 1)."""
    start = 0
    for _ in range(line - 1):
        start = source.plain.find("\n", start) + 1
    ends = [token.end for token in source.tokens]
    return min(bisect_left(ends, start + column), len(ends) - 1)


class Places:
    """Where the nodes of a syntax tree stand."""

    def __init__(self, source: Source, tree: exp.Expr) -> None:
        self.source = source
        self._tree = tree

    def span(self, node: exp.Expr) -> tuple[int, int]:
        """The characters of a node, `[start, end)`."""
        first, last = self.range(node)
        return self.source.tokens[first].start, self.source.tokens[last].end

    def text(self, node: exp.Expr) -> str:
        """The node as it is written, white space squeezed."""
        return self.source.written(*self.range(node))

    def range(self, node: exp.Expr) -> tuple[int, int]:
        """The first and the last token of a node."""
        leaves = [place for below in node.walk() if (place := self._leaves.get(id(below))) is not None]
        first, last = (min(leaves), max(leaves)) if leaves else (0, len(self.source.tokens) - 1)
        first, last = self._closed(first, last)
        name = type(node).__name__
        if name in _ENCLOSED and not (name == "Cast" and self.source.tokens[first].upper == "DATE"):
            first, last = self._enclosed(first, last)
        prefixed = name == "Neg" or (name == "Not" and not self.is_infix(node))
        if prefixed and first and self.source.tokens[first - 1].upper in {"-", "NOT"}:
            first -= 1
        return first, last

    def is_infix(self, negation: exp.Expr) -> bool:
        """Whether NOT stands within the comparison, as in `x NOT IN (…)`, and not before it."""
        inner = negation.this
        if type(inner).__name__ not in {"In", "Between", "Is"}:
            return False
        _, last = self.range(inner.this)
        return "NOT" in [token.upper for token in self.source.tokens[last + 1 : last + 3]]

    @cached_property
    def _starts(self) -> list[int]:
        return [token.start for token in self.source.tokens]

    @cached_property
    def _leaves(self) -> dict[int, int]:
        """The token of every node that is one token, by the node's identity."""
        places: dict[int, int] = {}
        at = 0
        for node in self._tree.walk(bfs=False):
            start = node.meta.get("start")
            if start is not None:
                # Names of functions come before what stands in their parentheses.
                at = bisect_left(self._starts, start)
            elif type(node).__name__ in {"Null", "Boolean", "Literal"}:
                # sqlglot does not tell their places: they are the next token of their kind.
                at = self._next(at, type(node).__name__)
            else:
                continue
            places[id(node)] = min(at, len(self.source.tokens) - 1)
        return places

    def _next(self, at: int, kind: str) -> int:
        for place in range(at, len(self.source.tokens)):
            token = self.source.tokens[place]
            if token.upper in {"NULL", "TRUE", "FALSE"} and kind != "Literal":
                return place
            if kind == "Literal" and token.kind == "number" and place > at:
                return place
        return at

    def _closed(self, first: int, last: int) -> tuple[int, int]:
        """Grown until every bracket between them has its other half, and signs and types before values are in."""
        tokens = self.source.tokens
        while True:
            opened = lowest = 0
            for token in tokens[first : last + 1]:
                opened += _BRACKETS.get(token.upper, 0)
                lowest = min(lowest, opened)
            if lowest < 0 and first:
                first = self._opening(first)
            elif opened - lowest > 0 and last < len(tokens) - 1:
                last = self._closing(last)
            else:
                break
        if first and tokens[first - 1].upper in {"DATE", "INTERVAL"} and tokens[first].kind in {"text", "number"}:
            first -= 1
        after = tokens[last + 1].upper if last + 1 < len(tokens) else ""
        if self._is_interval(last) and after.rstrip("S") in {"DAY", "WEEK", "MONTH", "YEAR", "HOUR"}:
            last += 1
        if first < last and first and tokens[first - 1].upper == "-" and not _is_value(tokens, first - 2):
            first -= 1
        return first, last

    def _is_interval(self, place: int) -> bool:
        return place > 0 and self.source.tokens[place - 1].upper == "INTERVAL"

    def _enclosed(self, first: int, last: int) -> tuple[int, int]:
        if self.source.tokens[first].upper == "CASE" and self.source.tokens[last].upper == "END":
            return first, last
        return self._opening(first), self._closing(last)

    def _opening(self, first: int) -> int:
        """The bracket that is open before a token, and the name of the function before it."""
        depth = 1
        place = first
        while place > 0 and depth:
            place -= 1
            depth -= _BRACKETS.get(self.source.tokens[place].upper, 0)
        before = self.source.tokens[place - 1] if place else None
        called = before is not None and before.kind == "word" and before.upper not in KEYWORDS
        return place - (called and self.source.tokens[place].upper == "(")

    def _closing(self, last: int) -> int:
        depth = 1
        place = last
        while place < len(self.source.tokens) - 1 and depth:
            place += 1
            depth += _BRACKETS.get(self.source.tokens[place].upper, 0)
        return place


def _is_value(tokens: tuple[Token, ...], place: int) -> bool:
    if place < 0:
        return False
    token = tokens[place]
    return token.upper == ")" or (token.kind != "symbol" and token.upper not in KEYWORDS) or token.upper == "END"
