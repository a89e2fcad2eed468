"""What an audit finds: figures and a verdict per rule, shares and rates per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Final, Literal

from engine.points.cards import Card
from engine.points.outcomes import Counts, OutcomeRecord, PublishedCard, RuleCounts
from engine.points.ranking import CardRanking
from engine.points.rates import Lift, difference, lift, wilson
from engine.propensity.intervals import Difference, Interval

Verdict = Literal["predicts", "nothing", "wrong way", "unknown"]

FEWEST: Final = 10
"""Outcomes with and without points of a rule below which an interval that holds chance says nothing."""


@dataclass(frozen=True)
class RuleAudit:
    """What one rule tells of the outcome.

    Attributes:
        rule: Its name.
        given: Users whom it gave points, or took some from if that is all it does.
        others: All other published users.
        takes: Whether it takes points and gives none.
        difference: Rate of `given` less rate of `others`; None when one of them is nobody.
        lift: Rate of `given` ÷ rate of `others`; None when one of them is nobody, or the outcome came for nobody.
        area: AUC of its points; below 0.5 they put users in the wrong order.
        gain: What it adds to the AUC of the card's other rules.
        verdict: `predicts`, `nothing` (the interval holds what chance gives), `wrong way`, or `unknown`.
        few: Why a rule is `unknown` of which more outcomes could tell: `only 8 outcomes`; empty for others.
    """

    rule: str
    given: Counts
    others: Counts
    takes: bool
    difference: Difference | None
    lift: Lift | None
    area: Difference | None
    gain: Difference | None
    verdict: Verdict
    few: str = ""


@dataclass(frozen=True)
class ClassAudit:
    """What became of the users of one class; `rate` is None without users."""

    name: str
    counts: Counts
    share: float
    rate: float | None
    interval: Interval | None


@dataclass(frozen=True)
class CardAudit:
    """One card.

    Attributes:
        card: Its name.
        users: Published users, and those of them for whom the outcome came.
        ranked: Users whose order was measured: all, or a sample.
        area: AUC of the points.
        rules: In the order of the configuration.
        classes: The highest first, the base last.
    """

    card: str
    users: Counts
    ranked: int
    area: Difference | None
    rules: tuple[RuleAudit, ...]
    classes: tuple[ClassAudit, ...]


def card_audit(
    entry: PublishedCard, card: Card | None, place: int, records: Sequence[OutcomeRecord], ranking: CardRanking
) -> CardAudit:
    """The findings of one card.

    Args:
        entry: The card as it was published.
        card: As it is configured; None when it no longer is.
        place: Its position among the cards of the records.
        records: The counts of all buckets.
        ranking: The areas.
    """
    everyone = reduce(add, (record.all for record in records), Counts())
    counts = [
        reduce(add, (record.rules[place][number] for record in records), RuleCounts())
        for number in range(len(entry.rules))
    ]
    classes: dict[str, Counts] = {}
    for record in records:
        for name, users in record.classes[place].items():
            classes[name] = classes.get(name, Counts()) + users
    own = [] if card is None else [*(name for name, _ in card.classes), card.base]
    return CardAudit(
        card=entry.name,
        users=everyone,
        ranked=ranking.rows,
        area=ranking.total,
        rules=tuple(
            rule_audit(name, counts[number], everyone, ranking.rules[number], ranking.gains[number])
            for number, name in enumerate(entry.rules)
        ),
        classes=tuple(
            _class_audit(name, classes.get(name, Counts()), everyone)
            for name in dict.fromkeys([*own, *sorted(classes)])
        ),
    )


def _class_audit(name: str, counts: Counts, everyone: Counts) -> ClassAudit:
    share = counts.users / everyone.users if everyone.users else 0.0
    if not counts.users:
        return ClassAudit(name, counts, share, None, None)
    return ClassAudit(name, counts, share, counts.positives / counts.users, wilson(counts.positives, counts.users))


def rule_audit(
    name: str, counts: RuleCounts, everyone: Counts, area: Difference | None, gain: Difference | None
) -> RuleAudit:
    """What one rule tells, from the counts of its users.

    A rule is judged by its lift. One that gave points to everybody, or both gave and took some, has no others to be
    compared with, or two groups of them, and is judged by the order of its points; so is one whose others have no
    outcome at all to divide by. With fewer than `FEWEST` outcomes on a side what could be chance is `unknown`.

    Args:
        name: The rule.
        counts: Users whom it gave points and took some from.
        everyone: All published users.
        area: AUC of its points.
        gain: What it adds.
    """
    takes = bool(counts.taken.users) and not counts.given.users
    given = counts.taken if takes else counts.given
    others = Counts(everyone.users - given.users, everyone.positives - given.positives)
    if not given.users or not others.users:
        compared, ratio = None, None
    else:
        groups = given.positives, given.users, others.positives, others.users
        compared = difference(*groups)
        ratio = lift(*groups) if everyone.positives else None
    both = bool(counts.taken.users and counts.given.users)
    verdict: Verdict
    by_order = ratio is None or ratio.value is None or both
    few = _few(given, others, everyone)
    if ratio is not None and not by_order:
        verdict = _verdict(1 / ratio.high, 1 / ratio.low, 1.0) if takes else _verdict(ratio.low, ratio.high, 1.0)
    elif area is not None and (counts.given.users or counts.taken.users):
        # Of a few outcomes even the interval of the order is not known.
        known = min(everyone.positives, everyone.users - everyone.positives) >= FEWEST
        verdict = _verdict(area.low, area.high, 0.5) if known else "nothing"
    else:
        return RuleAudit(name, given, others, takes, compared, ratio, area, gain, "unknown")
    if verdict == "nothing" and few:
        return RuleAudit(name, given, others, takes, compared, ratio, area, gain, "unknown", few)
    return RuleAudit(name, given, others, takes, compared, ratio, area, gain, verdict)


def _few(given: Counts, others: Counts, everyone: Counts) -> str:
    """What there is too little of; empty where there is enough."""
    sides = [(everyone.positives, ""), (given.positives, " with points of it")]
    sides += [(others.positives, " without points of it")] if others.users else []
    for outcomes, whose in sides:
        if outcomes < FEWEST:
            return f"only {outcomes} outcome{'' if outcomes == 1 else 's'}{whose}"
    rest = everyone.users - everyone.positives
    return f"only {rest} user{'' if rest == 1 else 's'} without the outcome" if rest < FEWEST else ""


def _verdict(low: float, high: float, chance: float) -> Verdict:
    if low <= chance <= high:
        return "nothing"
    return "predicts" if low > chance else "wrong way"
