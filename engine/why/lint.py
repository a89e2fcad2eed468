"""What is wrong or odd about the segments of a configuration, told before anything runs.

Without data: rules that cannot be read, segments that can never have a user, rules that also hold for users without a
value, lists that expired, names that look alike. With published tables also clauses that hold for nobody or for
everybody, segments of nobody, and segments with the same users.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final, Literal

import polars as pl

from engine.bundle import load_bundle
from engine.bundle_store import current_bundle
from engine.config import Config
from engine.contacts.shape import contact_schema
from engine.errors import ConfigError, TamisError
from engine.features.catalogue import catalogue
from engine.features.choice import feature_spec
from engine.features.configured import configured_types
from engine.points.cards import card_columns, resolved_cards
from engine.rules.problems import drawn
from engine.rules.read import read_rule
from engine.rules.rule import Clause, Rule, segment_column, tenure_column
from engine.rules.scope import Scope
from engine.segments.definition import Definition
from engine.segments.definitions import definitions
from engine.segments.guards import config_findings
from engine.segments.plan import plan_segments
from engine.stages.schemas import configured_schema, rule_schema
from engine.why.texts import starred_patterns
from engine.why.verdict import signed_clauses

Severity = Literal["error", "warning", "note"]

_ASKS_FOR_NULL: Final = re.compile(r"\bIS\s+(NOT\s+)?(NULL|DISTINCT)\b|\bCOALESCE\b", re.IGNORECASE)
_INCOMPLETE: Final = (
    "the event types are those that the configuration names: list all in events.types, or run `tamis fit` once, "
    "to have every column"
)


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: `error`: a run would stop; `warning`: it would run, and probably not do what was meant; `note`.
        check: What was looked at: `rule`, `unreachable`, `missing values`, `list`, `names`, `campaign`, …
        segment: The segment; None for the whole configuration.
        message: One or more lines.
    """

    severity: Severity
    check: str
    segment: str | None
    message: str


@dataclass(frozen=True)
class CheckedRules:
    """Rules that were understood, what they may name, and what is wrong with the others.

    Attributes:
        rules: By segment.
        scope: The words of the rules.
        attributes: Names of the contact attributes.
        findings: Errors of the others.
    """

    rules: Mapping[str, Rule]
    scope: Scope
    attributes: frozenset[str]
    findings: tuple[Finding, ...]


def lint(config: Config, as_of: date | None = None) -> tuple[Finding, ...]:
    """Every finding that needs no table: errors first, then warnings, then notes; within them in the order of the file.

    Args:
        config: The configuration.
        as_of: Day on which lists should be in force; they are not looked at when None.
    """
    try:
        made = definitions(config)
    except ConfigError as error:
        return (_stop(error),)
    try:
        checked = checked_rules(config, made)
    except TamisError as error:
        return (_stop(error),)
    found = [
        *checked.findings,
        *_plan(made, checked),
        *_unreachable(made, checked.rules),
        *_missing_values(made, checked),
        *_patterns(checked.rules),
        *_lists(made, as_of),
        *_alike(made),
        *_guards(made, checked, config),
    ]
    return in_order(found)


def in_order(found: Sequence[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, then notes."""
    rank = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda finding: rank[finding.severity]))


def checked_rules(config: Config, made: Sequence[Definition]) -> CheckedRules:
    """The rules of a configuration, read against the columns that a run of it has.

    The event types are those of the bundle in use where there is one, else those that the configuration names.

    Raises:
        ConfigError: The columns cannot be told: derived event types, families, cards that cannot be made.
        DataError: Contacts that cannot be read.
    """
    folder = current_bundle(Path(config.out).absolute())
    complete = True
    if folder is not None:
        kinds = [kind for kind in load_bundle(folder).spec.types if kind.of is None]
        names, priced = tuple(kind.name for kind in kinds), frozenset(kind.name for kind in kinds if kind.priced)
    else:
        types = configured_types(config)
        names, priced, complete = types.names, types.priced, types.complete
    contacts = {} if config.contacts is None else contact_schema(config.contacts)[1]
    spec = feature_spec(config, names, priced, contacts)
    columns = {
        **rule_schema(spec, configured_schema(config, spec), contacts),
        **card_columns(resolved_cards(config)),
    }
    segments = frozenset(one.name for one in made)
    units = {feature.name: feature.unit for feature in catalogue(spec)}
    scope = Scope(columns=columns, units=units, spec=spec, segments=segments)
    rules: dict[str, Rule] = {}
    found = []
    told: set[str] = set()
    for one in made:
        if one.where is None:
            continue
        reading = read_rule(one.where, scope)
        if reading.rule is not None:
            rules[one.name] = reading.rule
        elif one.arm is None or one.where not in told:
            told.add(one.where)
            lines = [drawn(one.where, problem) for problem in reading.problems]
            lines += [] if complete else [_INCOMPLETE]
            found.append(Finding("error", "rule", one.name, "\n".join(lines)))
    return CheckedRules(rules, scope, frozenset(contacts), tuple(found))


def _plan(made: Sequence[Definition], checked: CheckedRules) -> Iterator[Finding]:
    """Circles, and groups that have the name of a column; rules that cannot be read were told already."""
    readable = [one if one.where is None or one.name in checked.rules else replace(one, where=None) for one in made]
    try:
        plan_segments(readable, checked.scope)
    except ConfigError as error:
        yield _stop(error)


def _stop(error: TamisError) -> Finding:
    """An error of a run with what to do about it."""
    return Finding("error", error.code, None, f"{error.message}\n{error.hint}" if error.hint else error.message)


def _unreachable(made: Sequence[Definition], rules: Mapping[str, Rule]) -> Iterator[Finding]:
    """Rules that say the same as one that is tried before."""
    tried = sorted(enumerate(made), key=lambda numbered: (-numbered[1].priority, numbered[0]))
    first: dict[tuple[str | None, str], str] = {}
    for _, one in tried:
        if one.name not in rules or one.kind not in {"rule", "lifecycle"}:
            continue
        same = first.setdefault((one.group, rules[one.name].canonical), one.name)
        if same == one.name:
            continue
        if one.group is None:
            yield Finding("warning", "same rule", one.name, f"its rule is that of the tag {same!r}")
        else:
            text = f"nobody can be in it: its rule is that of {same!r}, which is tried before in group {one.group!r}"
            yield Finding("warning", "unreachable", one.name, text)


def _missing_values(made: Sequence[Definition], checked: CheckedRules) -> Iterator[Finding]:
    """Clauses that let users in who have no value: by `<>` and `NOT`, which are exact opposites."""
    told = set()
    for one in made:
        rule = checked.rules.get(one.name)
        if rule is None or one.kind not in {"rule", "arm"} or rule.canonical in told:
            continue
        told.add(rule.canonical)
        asked = frozenset().union(
            *(clause.columns for clause in rule.clauses if _ASKS_FOR_NULL.search(clause.text)), frozenset[str]()
        )
        for place, positive in signed_clauses(rule.logic):
            clause = rule.clauses[place]
            silent = clause.columns - asked
            if not silent or silent != clause.columns or _for_nobody(clause, rule, checked.scope) != positive:
                continue
            attributes = sorted(silent & checked.attributes)
            names = " or ".join(attributes or sorted(silent))
            shown = clause.text if positive else f"NOT ({clause.text})"
            text = f"`{shown}` also holds for users without {names}; add `{names.split(' or ')[0]} IS NOT NULL` if not"
            yield Finding("warning" if attributes else "note", "missing values", one.name, text)


def _patterns(rules: Mapping[str, Rule]) -> Iterator[Finding]:
    for name, rule in rules.items():
        for message in starred_patterns(rule):
            yield Finding("note", "pattern", name, message)


def _guards(made: Sequence[Definition], checked: CheckedRules, config: Config) -> Iterator[Finding]:
    for finding in config_findings(made, checked.rules, config, checked.attributes):
        if getattr(config.guards, finding.guard) != "off":
            segment = None if finding.guard == "campaign" else finding.subjects[0]
            yield Finding("warning", finding.guard, segment, finding.text)


def _for_nobody(clause: Clause, rule: Rule, scope: Scope) -> bool:
    """Whether a clause holds for a user without any value."""
    row = pl.DataFrame(
        [pl.Series(name, [None], dtype) for name, dtype in scope.columns.items() if name in clause.columns]
        + [pl.Series(measure.name, [None], measure.dtype) for measure in rule.measures]
        + [pl.Series(segment_column(name), [False]) for name in sorted(rule.segments)]
        + [pl.Series(tenure_column(name), [None], pl.Int64) for name in sorted(rule.segments)]
    )
    return bool(row.select(clause.expr.alias("holds"))["holds"].item())


def _lists(made: Sequence[Definition], as_of: date | None) -> Iterator[Finding]:
    for one in made if as_of is not None else ():
        listed = one.list
        if as_of is None or listed is None:
            continue
        if listed.expires_on is not None and listed.expires_on <= as_of:
            yield Finding("warning", "list", one.name, f"its list expired on {listed.expires_on}: nobody is in it")
        elif as_of < listed.frozen_on:
            yield Finding("warning", "list", one.name, f"its list is of {listed.frozen_on}: nobody is in it before")


def _alike(made: Sequence[Definition]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for one in made:
        other = seen.setdefault(_plain(one.name), one.name)
        if other != one.name:
            yield Finding(
                "warning", "names", one.name, f"its name differs from {other!r} by case, accents, spaces or signs only"
            )


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in letters if letter.isalnum())


def count_of(found: Collection[Finding], severity: Severity) -> int:
    """How many findings are of a severity."""
    return sum(finding.severity == severity for finding in found)
