"""What the published tables of a date say about the segments of a configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from engine.config import Config
from engine.rules.read import read_rule
from engine.rules.rule import Rule, combine
from engine.rules.scope import Scope
from engine.segments.definition import Definition
from engine.segments.static_lists import is_in_force
from engine.why.lint import Finding
from engine.why.published import Published
from engine.why.rows import published_rows
from engine.why.texts import PublishedTexts, unknown_texts


def data_findings(
    config: Config, made: Sequence[Definition], published: Published, scope: Scope
) -> tuple[Finding, ...]:
    """Segments of nobody or of too few, clauses for nobody or everybody, and segments with the same users.

    Rules are evaluated on the published columns, whether or not the date was scored with them. What the guards of the
    configuration leave alone (`off`) is not told.

    Args:
        config: The configuration: `guards`.
        made: Its segments.
        published: The date.
        scope: What rules may say on that date.

    Raises:
        IntegrityError: Published files are not those of their manifest.
    """
    scope = replace(scope, segments=frozenset(one.name for one in made))
    rules, found = _readable(made, published, scope)
    holding, clauses = _counts(rules, published)
    known = {segment.name: segment.definition.version for segment in published.segments}
    guards, users = config.guards, published.users
    for one in made:
        if one.list is not None and not is_in_force(one.list, published.as_of):
            continue
        same = known.get(one.name) == one.version
        size = published.sizes.get(one.name, 0) if same else holding.get(one.name)
        if one.kind == "fallback" or size is None:
            continue
        if not size and guards.empty != "off":
            held = holding[one.name]
            of_whom = f": its rule holds for {held:,}, all taken by segments tried before it" if held else ""
            found.append(Finding("warning", "empty", one.name, f"nobody is in it on {published.as_of}{of_whom}"))
        elif size < guards.min_users and guards.small != "off":
            text = f"{size:,} users on {published.as_of}, at least {guards.min_users:,} are expected"
            found.append(Finding("warning", "small", one.name, text))
    for one in made if guards.clause != "off" else ():
        if one.kind == "rule":
            found += _extremes(one.name, clauses.get(one.name, {}), users)
    texts = PublishedTexts(published)
    found += [
        Finding("note", "text", name, message) for name, rule in rules.items() for message in unknown_texts(rule, texts)
    ]
    found += _overlaps(published, {one.name: one.group for one in made}, config) if guards.overlap != "off" else []
    return tuple(found)


def _readable(made: Sequence[Definition], published: Published, scope: Scope) -> tuple[dict[str, Rule], list[Finding]]:
    """The rules that the published columns can answer; a note for each of the others."""
    there = {segment.name for segment in published.segments}
    features = published.schema("features")
    rules: dict[str, Rule] = {}
    found = []
    for one in made:
        rule = None if one.where is None else read_rule(one.where, scope).rule
        if one.where is None:
            continue
        unmeasured = (
            []
            if rule is None
            else [
                f"`{clause.text}`"
                for clause in rule.clauses
                if any(measure.name not in features for measure in clause.measures)
            ]
        )
        lacking = [*unmeasured]
        lacking += [] if rule is None else sorted((rule.segments | rule.tenures) - there)
        if rule is not None and not lacking:
            rules[one.name] = rule
            continue
        why = "columns that it names" if rule is None else ", ".join(lacking)
        advice = "; try `tamis segments preview` with the rule" if unmeasured else ""
        text = f"not looked at with data: {published.as_of} was published without {why}{advice}"
        found.append(Finding("note", "data", one.name, text))
    return rules, found


def _counts(rules: Mapping[str, Rule], published: Published) -> tuple[Counter[str], dict[str, dict[str, int]]]:
    """Users each rule holds for, and users each of its clauses holds for."""
    columns = {name for rule in rules.values() for name in rule.columns}
    columns |= {measure.name for rule in rules.values() for measure in rule.measures}
    segments = frozenset[str]().union(*(rule.segments for rule in rules.values()))
    tenures = frozenset[str]().union(*(rule.tenures for rule in rules.values()))
    holding: Counter[str] = Counter()
    clauses: dict[str, dict[str, int]] = {name: {} for name in rules}
    for frame in published_rows(published, sorted(columns), segments, tenures) if rules else ():
        floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
        clean = frame.with_columns(pl.col(floats).fill_nan(None))
        for name, rule in rules.items():
            held = clean.select(
                (clause.expr | pl.col("user_id").is_null()).alias(str(place))
                for place, clause in enumerate(rule.clauses)
            )
            inside = held.select(combine(rule.logic, [pl.col(column) for column in held.columns]).alias("in"))["in"]
            holding[name] += int(inside.sum())
            for clause, column in zip(rule.clauses, held.columns, strict=True):
                clauses[name][clause.text] = clauses[name].get(clause.text, 0) + int(held[column].sum())
    return holding, clauses


def _extremes(name: str, clauses: Mapping[str, int], users: int) -> Iterator[Finding]:
    for text, holds in clauses.items():
        if holds in {0, users}:
            who = "nobody" if not holds else f"all {users:,} users"
            yield Finding("warning", "clause", name, f"`{text}` holds for {who}")


def _overlaps(published: Published, groups: Mapping[str, str | None], config: Config) -> list[Finding]:
    """Pairs of segments that stand side by side and have nearly the same users."""
    pairs: Counter[tuple[str, str]] = Counter()
    for path in published.files("memberships"):
        rows = pl.read_parquet(path, columns=["user_id", "segment"], glob=False, hive_partitioning=False)
        both = rows.join(rows, on="user_id", suffix="_other").filter(pl.col("segment") < pl.col("segment_other"))
        counted = both.group_by("segment", "segment_other").len()
        pairs.update({(one, other): users for one, other, users in counted.iter_rows()})
    sizes = published.sizes
    found = []
    for (one, other), shared in sorted(pairs.items()):
        share = shared / (sizes[one] + sizes[other] - shared)
        if one in groups and other in groups and share >= config.guards.max_overlap:
            text = f"its users are those of {other!r}: {shared:,} are in both, {share:.1%} of all that are in either"
            found.append(Finding("warning", "overlap", one, text))
    return found
