"""Why a user is in a segment or not, told from the published tables of a date.

The rules are read and evaluated by the functions that scored the date, on the row that was published; what they give
must be what the tables have, or the answer is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.config import Config
from engine.contacts.duplicates.decisions import merges_digest
from engine.errors import ConfigError, IntegrityError, TamisError
from engine.features.spec import FeatureSpec
from engine.privacy.ids import IdRules, named_ids, pseudonym_rules
from engine.rules.read import read_rule
from engine.rules.rule import Rule
from engine.rules.scope import Scope
from engine.segments.definition import Definition
from engine.stages.permits_now import reason_withheld
from engine.why.counted import UserLog, counted_of, open_log
from engine.why.facts import Facts, configured, facts_of
from engine.why.past import CardPoints, Change, last_changes, points_of
from engine.why.published import Published, PublishedSegment, open_published, published_dates
from engine.why.scope import scope_of, spec_of
from engine.why.verdict import Decision, SeenRule, decide, see, user_row

SHOWN_CHANGES: Final = 5
_NEAR_DATES: Final = 5
_NOT_AGREED: Final = "the segment is only for users who agreed to"
_CORRECTED: Final = "the days of membership that the rule asks for were corrected after the date was scored"


@dataclass(frozen=True)
class Membership:
    """A row of the table `memberships`: since when the user is in a segment, and where it was before."""

    segment: str
    group: str | None
    entered_on: date
    days_in: int
    previous_segment: str | None


@dataclass(frozen=True)
class SeenSegment:
    """A segment for one user.

    Attributes:
        segment: What it is.
        membership: The user's, when it is in it.
        decision: Why it is in it, or not.
        taken_by: The segment of the group that took the user before.
        rule: The rule and its clauses; None for a segment without a rule.
        facts: About lists and arms.
        problem: Why the rule cannot be told any more; empty when it can.
    """

    segment: PublishedSegment
    membership: Membership | None
    decision: Decision
    taken_by: str | None
    rule: SeenRule | None
    facts: Facts | None
    problem: str = ""


@dataclass(frozen=True)
class Answer:
    """All that is told of a user.

    Attributes:
        user: The id, as it is published.
        as_of: The date.
        run_id: The run that published it.
        memberships: Every segment the user is in, sorted by name.
        segments: Those that were asked for, in the order in which they are tried.
        points: Of the cards that the rules use, or of all.
        changes: The last entries and exits, the latest first.
        targets: Models whose scores the rules use.
    """

    user: str | int
    as_of: date
    run_id: str
    memberships: tuple[Membership, ...]
    segments: tuple[SeenSegment, ...]
    points: tuple[CardPoints, ...]
    changes: tuple[Change, ...]
    targets: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain values: texts, numbers, dates, lists and objects."""
        segments = [_plain_segment(segment) for segment in self.segments]
        return {**asdict(replace(self, segments=())), "segments": segments}


def _plain_segment(found: SeenSegment) -> dict[str, Any]:
    definition = found.segment.definition
    clauses = () if found.rule is None else found.rule.clauses
    return {
        "segment": definition.name,
        "labels": dict(definition.labels),
        "group": definition.group,
        "kind": definition.kind,
        "rule": definition.where,
        "rule_version": definition.version,
        "member": found.membership is not None,
        "decision": found.decision,
        "taken_by": found.taken_by,
        "rule_holds": None if found.rule is None else found.rule.holds,
        "clauses": [{**asdict(clause), "values": dict(clause.values)} for clause in clauses],
        "facts": None if found.facts is None else dict(found.facts.values),
        "problem": found.problem or (found.facts.problem if found.facts is not None else ""),
    }


def why(config: Config, as_of: date | None, user: str, segment: str | None = None, *, every: bool = False) -> Answer:
    """Why a user is in the segments that a date was published with, or not.

    Args:
        config: The configuration; says where the tables are, and what they lack: files of lists, bounds of arms.
        as_of: The published date; None: the latest.
        user: The id as text.
        segment: The segment asked for; None: those the user is in.
        every: All segments.

    Raises:
        ConfigError: Nothing is published for the date, or there is no such user or segment.
        IntegrityError: The rule and the tables disagree, points do not add up to their score, or files are damaged.
    """
    published = open_published(Path(config.out).absolute(), as_of)
    asked = None if segment is None else published.segment(segment)
    columns, known = _row(published, user, config)
    spec = spec_of(published, config)
    memberships = _memberships(published, known)
    members = {membership.segment: membership for membership in memberships}
    names = [found.name for found in published.segments]
    row = user_row(columns, names, members, {name: entry.days_in for name, entry in members.items()})
    shown = [asked] if asked is not None else [found for found in published.segments if every or found.name in members]
    ordered = sorted(shown, key=lambda found: (found.definition.group or "~", found.rank))
    asking = _Asking(
        published=published,
        user=known,
        row=row,
        scope=scope_of(published, spec),
        spec=spec,
        now=configured(config),
        linked=config.identity is not None or merges_digest(published.out) is not None,
        rules=pseudonym_rules(config),
        members=members,
    )
    log = open_log(published.out, known, spec)
    seen, problems, read = [], [], []
    for found in ordered:
        answer, rule, problem = _seen(found, asking, log)
        seen.append(answer)
        read += [] if rule is None else [rule]
        problems += [] if problem is None else [problem]
    cards = None if asked is None else {name for rule in read for name in rule.columns}
    points, unequal = points_of(published, known, columns, cards)
    problems += unequal
    if problems:
        raise IntegrityError(
            f"what is published for {published.as_of} contradicts its own rules\n"
            + "\n".join(f"  - {problem}" for problem in problems),
            code="why-disagrees",
            hint=f"Run `tamis score --as-of {published.as_of}` again. If it stays, report it: this must not happen.",
        )
    used = sorted({name for rule in read for name in rule.columns if name.startswith("propensity_")})
    return Answer(
        user=known,
        as_of=published.as_of,
        run_id=published.manifest.run_id,
        memberships=memberships,
        segments=tuple(seen),
        points=points,
        changes=last_changes(published, known, segment, SHOWN_CHANGES),
        targets=tuple(dict.fromkeys(_target(name, columns.columns) for name in used)),
    )


@dataclass(frozen=True)
class _Asking:
    published: Published
    user: str | int
    row: pl.DataFrame
    scope: Scope
    spec: FeatureSpec
    now: dict[str, Definition]
    linked: bool
    rules: IdRules
    members: Mapping[str, Membership]


def _row(published: Published, user: str, config: Config) -> tuple[pl.DataFrame, str | int]:
    """The published features and scores of a user, and the id as it is published."""
    known = named_ids(config, (user.strip(),), published.user_dtype).get(user.strip())
    features = pl.DataFrame() if known is None else published.read("features", None, pl.col("user_id") == known)
    if known is None or features.is_empty():
        raise ConfigError(
            f"no user {user!r} in what is published for {published.as_of}",
            code="user-unknown",
            hint=_withheld(published, known, config) or _elsewhere(published, known),
        )
    scores = published.read("scores", None, pl.col("user_id") == known)
    if features.height != 1 or scores.height != 1:
        raise IntegrityError(
            f"features and scores of {published.as_of} should have the user once, they have it "
            f"{features.height} and {scores.height} times",
            code="why-disagrees",
            hint=f"Run `tamis score --as-of {published.as_of}` again.",
        )
    return features.hstack(scores.drop("user_id")), known


def _withheld(published: Published, user: str | int | None, config: Config) -> str | None:
    """That the user is not in the tables because nothing may be computed, where the date withheld anybody."""
    if user is None or "withheld" not in published.manifest.counts:
        return None
    with suppress(TamisError):
        # Without the log, where it was moved, nothing more can be told.
        reason = reason_withheld(config, published.as_of, user)
        if reason is not None:
            return f"Nothing was computed of this user: {reason}."
    return None


def _elsewhere(published: Published, user: str | int | None) -> str:
    if user is None:
        return "The users of these tables have whole numbers as ids."
    others = [day for day in published_dates(published.out) if day != published.as_of]
    nearest = sorted(others, key=lambda day: (abs((day - published.as_of).days), day))[:_NEAR_DATES]
    found = []
    for day in sorted(nearest):
        other = open_published(published.out, day, ())
        if other.table("features") is not None and other.user_dtype == published.user_dtype:
            found += [] if other.read("features", ["user_id"], pl.col("user_id") == user).is_empty() else [str(day)]
    if found:
        return f"The user is in what is published for {', '.join(found)}."
    return "A user is there from the day after its first event; ids are those of the log, after [identity]."


def _memberships(published: Published, user: str | int) -> tuple[Membership, ...]:
    names = ["segment", "group", "entered_on", "days_in", "previous_segment"]
    rows = published.read("memberships", names, pl.col("user_id") == user).sort("segment")
    return tuple(Membership(*row) for row in rows.iter_rows())


def _seen(found: PublishedSegment, asking: _Asking, log: UserLog | str) -> tuple[SeenSegment, Rule | None, str | None]:
    """A segment for the user; its rule; and what is not as it must be."""
    membership = asking.members.get(found.name)
    facts = facts_of(found, asking.user, asking.published, asking.now, linked=asking.linked, rules=asking.rules)
    rule, seen, problem = None, None, ""
    if found.definition.where is not None:
        reading = read_rule(found.definition.where, asking.scope)
        rule = reading.rule
        if rule is None:
            problem = f"the rule cannot be read any more: {'; '.join(told.message for told in reading.problems)}"
        elif lacking := sorted({measure.name for measure in rule.measures} - set(asking.row.columns)):
            rule, problem = None, f"the table features has no column {', '.join(lacking)}"
    if rule is not None:
        values = asking.row.row(0, named=True)
        day = asking.published.as_of
        counted = {clause.text: counted_of(clause, values, log, day, asking.spec) for clause in rule.clauses}
        seen = see(rule, asking.row, counted)
    holds = _holds(found, seen, facts, asking)
    if problem or holds is None:
        told = membership is not None and found.definition.kind == "fallback"
        return SeenSegment(found, membership, "in" if told else "other", None, seen, facts, problem), rule, None
    decision, taken_by, wrong = decide(found, holds=holds, members=asking.members, segments=asking.published.segments)
    asked = _purposes(asking.published, found.name)
    if wrong is not None and membership is None and asked:
        return SeenSegment(found, None, "other", None, seen, facts, f"{_NOT_AGREED} {', '.join(asked)}"), rule, None
    if wrong is not None and rule is not None and rule.tenures:
        # A back-fill may have corrected the days of membership after the rule was evaluated on them.
        return SeenSegment(found, membership, "other", None, seen, facts, _CORRECTED), rule, None
    return SeenSegment(found, membership, decision, taken_by, seen, facts), rule, wrong


def _purposes(published: Published, name: str) -> tuple[str, ...]:
    """What users had to agree to, to be in a segment of the date."""
    told = published.manifest.counts.get("purposes")
    segments = told.get("segments") if isinstance(told, dict) else None
    own = segments.get(name) if isinstance(segments, dict) else None
    return tuple(map(str, own)) if isinstance(own, list) else ()


def _holds(found: PublishedSegment, seen: SeenRule | None, facts: Facts | None, asking: _Asking) -> bool | None:
    """Whether the segment would take the user if it were alone; None when that cannot be told."""
    if found.definition.kind == "fallback":
        names = {other.name for other in asking.published.segments if other.definition.kind == "fallback"}
        own = asking.row["rfm_segment"].item() if "rfm_segment" in asking.row.columns else None
        if len(names) == 1:
            return True
        return own == found.name if own in names else None
    if facts is not None and facts.holds is None:
        return None
    return (seen is None or seen.holds) and (facts is None or facts.holds is True)


def _target(column: str, columns: Sequence[str]) -> str:
    """The target that a score column is about: the longest name of which there is a probability."""
    name = column.removeprefix("propensity_")
    known = [other for other in columns if other.startswith("propensity_") and column.startswith(other)]
    return min(known, key=len, default=name).removeprefix("propensity_")
