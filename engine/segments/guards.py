"""What is looked at before segments are published: what a person would want to see first."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from engine.config import Config
from engine.rules.rule import Rule
from engine.segments.before import Before
from engine.segments.bins import AGES
from engine.segments.composition import composition_shift, named_counts
from engine.segments.definition import Definition
from engine.segments.findings import Finding, Findings, settle
from engine.segments.static_lists import is_in_force
from engine.segments.stats import MOST_PAIRED, SegmentStats

_CLAUSE_SHOWN: Final = 120
_COLUMNS_SHOWN: Final = 3


def judge(
    stats: SegmentStats,
    before: Before | None,
    definitions: Sequence[Definition],
    rules: Mapping[str, Rule],
    config: Config,
    *,
    as_of: date,
    attributes: Collection[str] = (),
    accept: Collection[str] = (),
) -> Findings:
    """Everything that the guards find in the segments of a run.

    Fallbacks and lists that are not in force may be empty; a segment that is new has not jumped.

    Args:
        stats: Counts of the whole run.
        before: The published date before; None for the first one, with which nothing is compared.
        definitions: The segments.
        rules: By segment, what its rule says; segments without one are missing.
        config: The configuration: `guards` and `segment_fallback`.
        as_of: Day of the run.
        attributes: Names of the contact attributes.
        accept: Names of guards, or `guard:segment`, whose findings do not hold the publish back.
    """
    sizes = dict(zip(stats.segments, stats.sizes, strict=True))
    awake = [one for one in definitions if one.list is None or is_in_force(one.list, as_of)]
    found = [
        *_empty_or_small(sizes, dict(stats.matched), awake, config.guards.min_users),
        *_clauses(stats, definitions),
        *(() if before is None else _jumps(sizes, before, awake, config)),
        *(() if before is None else _shifts(stats, before, awake, config)),
        *_unassigned(sizes, stats.users, definitions, config),
        *_overlaps(stats, definitions, config.guards.max_overlap),
        *config_findings(definitions, rules, config, attributes),
    ]
    notes = []
    if stats.shared is None and config.guards.overlap != "off":
        notes.append(f"guard overlap: not looked at, there are more than {MOST_PAIRED} segments")
    return settle(found, config.guards, accept, notes)


def config_findings(
    definitions: Sequence[Definition], rules: Mapping[str, Rule], config: Config, attributes: Collection[str] = ()
) -> tuple[Finding, ...]:
    """What the guards `campaign` and `demographics` find without any data, whatever they are set to do.

    Args:
        definitions: The segments.
        rules: By segment, what its rule says; segments without one are missing.
        config: The configuration: `guards`.
        attributes: Names of the contact attributes.
    """
    return (
        *_campaigns(definitions, config.guards.max_campaign_segments),
        *_demographics(definitions, rules, attributes),
    )


def _empty_or_small(
    sizes: Mapping[str, int], matched: Mapping[str, int], definitions: Sequence[Definition], fewest: int
) -> Iterator[Finding]:
    # Stages of a lifecycle and what users fall back to may well be empty.
    own = [definition.name for definition in definitions if definition.kind not in {"fallback", "lifecycle"}]
    for name in own:
        if not sizes[name]:
            held = matched.get(name, 0)
            of_whom = f": its rule holds for {held}, all taken by segments tried before it" if held else ""
            yield Finding("empty", (name,), f"nobody is in {name!r}{of_whom}")
    for name in own:
        if 0 < sizes[name] < fewest:
            yield Finding("small", (name,), f"{name!r}: {_users(sizes[name])}, at least {fewest} are expected")


def _clauses(stats: SegmentStats, definitions: Sequence[Definition]) -> Iterator[Finding]:
    """Of the rules that somebody wrote: lifecycle stages have clauses that few data satisfy. Arms share theirs."""
    written, experiments = set(), set()
    for definition in definitions:
        experiment = definition.arm.experiment if definition.arm else None
        if definition.kind == "rule" or (experiment is not None and experiment not in experiments):
            written.add(definition.name)
        experiments.add(experiment)
    for segment, text, users in stats.clauses:
        if segment in written and users in {0, stats.users}:
            short = text if len(text) <= _CLAUSE_SHOWN else f"{text[:_CLAUSE_SHOWN]}…"
            who = "nobody" if not users else f"all {_users(users)}"
            yield Finding("clause", (segment,), f"{segment!r}: `{short}` holds for {who}")


def _jumps(
    sizes: Mapping[str, int], before: Before, definitions: Sequence[Definition], config: Config
) -> Iterator[Finding]:
    guards = config.guards
    for definition in definitions:
        name = definition.name
        if name not in before.sizes:
            continue
        then, now = before.sizes[name], sizes[name]
        low, high = sorted((then, now))
        if high < guards.jump_users or high < guards.max_jump * low:
            continue
        factor = f" ({'×' if now > then else '÷'} {high / low:.1f})" if low else ""
        rule = before.versions.get(name)
        changed = "; its rule is not the one of then" if rule not in {None, definition.version} else ""
        yield Finding("jump", (name,), f"{name!r}: {_users(now)}, {then} in the run of {before.as_of}{factor}{changed}")


def _shifts(
    stats: SegmentStats, before: Before, definitions: Sequence[Definition], config: Config
) -> Iterator[Finding]:
    limit = config.guards.max_shift
    if config.guards.shift == "off" or not before.bins:
        return
    bins = named_counts(stats)
    for definition in definitions:
        then = before.bins.get(definition.name, {})
        moved = []
        for column in sorted(bins[definition.name].keys() - AGES):
            now = bins[definition.name][column]
            psi, chance = composition_shift(then.get(column, ()), now)
            if psi is not None and chance is not None and psi >= limit and psi > chance:
                moved.append((psi, column))
        if moved:
            moved.sort(key=lambda item: (-item[0], item[1]))
            shown = ", ".join(f"{column} {psi:.2f}" for psi, column in moved[:_COLUMNS_SHOWN])
            more = f" and {len(moved) - _COLUMNS_SHOWN} more" * (len(moved) > _COLUMNS_SHOWN)
            text = f"{definition.name!r}: other users than in the run of {before.as_of}, PSI of {shown}{more}"
            yield Finding("shift", (definition.name,), f"{text} (limit {limit:g})")


def _unassigned(
    sizes: Mapping[str, int], users: int, definitions: Sequence[Definition], config: Config
) -> Iterator[Finding]:
    left = sum(sizes[definition.name] for definition in definitions if definition.kind == "fallback")
    most = config.guards.max_unassigned
    if config.segment_fallback == "rfm" or not users or left / users <= most:
        return
    text = f"{left} of {users} users ({100 * left / users:.3g} %) are in no segment but {config.segment_fallback!r}"
    yield Finding("unassigned", (), f"{text}, at most {100 * most:.3g} % are expected")


def _overlaps(stats: SegmentStats, definitions: Sequence[Definition], most: float) -> Iterator[Finding]:
    groups = {definition.name: definition.group for definition in definitions}
    for place, row in enumerate(stats.shared or ()):
        name, size = stats.segments[place], stats.sizes[place]
        for other, other_size, both in zip(stats.segments[place + 1 :], stats.sizes[place + 1 :], row, strict=True):
            either = size + other_size - both
            exclusive = groups[name] is not None and groups[name] == groups[other]
            if either and not exclusive and both / either >= most:
                text = f"{name!r} and {other!r}: {both} of {_users(either)} are in both ({100 * both / either:.3g} %)"
                yield Finding("overlap", (name, other), text)


def _campaigns(definitions: Sequence[Definition], most: int) -> Iterator[Finding]:
    """A limit of 5 to 10 segments per campaign is what practitioners recommend."""
    counts: defaultdict[str, int] = defaultdict(int)
    for definition in definitions:
        for campaign in definition.campaigns:
            counts[unicodedata.normalize("NFC", campaign)] += 1
    for campaign, count in sorted(counts.items()):
        if count > most:
            yield Finding(
                "campaign", (campaign,), f"campaign {campaign!r}: {count} segments, at most {most} are expected"
            )


def _demographics(
    definitions: Sequence[Definition], rules: Mapping[str, Rule], attributes: Collection[str]
) -> Iterator[Finding]:
    for definition in definitions:
        rule = rules.get(definition.name)
        if definition.kind != "rule" or rule is None or rule.measures or rule.segments or rule.tenures:
            continue
        if rule.columns and rule.columns <= set(attributes):
            read = ", ".join(sorted(rule.columns))
            text = f"{definition.name!r} reads contact attributes alone ({read}), nothing that users did"
            yield Finding("demographics", (definition.name,), text)


def _users(count: int) -> str:
    return "1 user" if count == 1 else f"{count} users"
