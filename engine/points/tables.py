"""Score cards and their audits as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from engine.config import PointRule
from engine.points.audit import PointsAudit
from engine.points.cards import Card
from engine.points.findings import CardAudit, RuleAudit
from engine.points.rates import Lift
from engine.propensity.intervals import Difference

_RULES: dict[str, pl.DataType] = {
    "card": pl.String(),
    "rule": pl.String(),
    "counts": pl.String(),
    "form": pl.String(),
    "points": pl.String(),
    "cap": pl.Float64(),
}
_CLASSES: dict[str, pl.DataType] = {
    "card": pl.String(),
    "class": pl.String(),
    "over": pl.Float64(),
    "label_en": pl.String(),
    "label_fr": pl.String(),
}
_AUDIT: dict[str, pl.DataType] = {
    "card": pl.String(),
    "rule": pl.String(),
    "verdict": pl.String(),
    "takes": pl.Boolean(),
    **dict.fromkeys(("users", "positives", "other_users", "other_positives"), pl.Int64()),
    **{name + end: pl.Float64() for name in ("difference", "lift", "auc", "gain") for end in ("", "_low", "_high")},
}
_CLASS_AUDIT: dict[str, pl.DataType] = {
    "card": pl.String(),
    "class": pl.String(),
    "users": pl.Int64(),
    "share": pl.Float64(),
    "positives": pl.Int64(),
    **dict.fromkeys(("rate", "rate_low", "rate_high"), pl.Float64()),
}


def rules_table(cards: Sequence[Card]) -> pl.DataFrame:
    """One row per rule, in the order of the file: `card`, `rule`, `counts` (what), `form`, `points`, `cap`."""
    rows = [
        (card.name, rule.name, counted(rule), rule.form, worth(rule), rule.cap) for card in cards for rule in card.rules
    ]
    return pl.DataFrame(rows, _RULES, orient="row")


def classes_table(cards: Sequence[Card]) -> pl.DataFrame:
    """One row per class, the highest first: `card`, `class`, `over` (null for the base), `label_en`, `label_fr`."""
    rows = [
        (card.name, name, over, *(card.labels.get(name, {}).get(language) for language in ("en", "fr")))
        for card in cards
        for name, over in (*card.classes, (card.base, None))
    ]
    return pl.DataFrame(rows, _CLASSES, orient="row")


def counted(rule: PointRule) -> str:
    """What a rule looks at, in words."""
    if rule.event is None:
        return rule.value if rule.value is not None else f"if {rule.where}"
    parts = [f"{rule.event} events"]
    if rule.where is not None:
        parts.append(f"with {rule.where}")
    if rule.window_days is not None:
        parts.append(f"in {rule.window_days} days")
    if rule.half_life_days is not None:
        parts.append(f"halved every {rule.half_life_days} days")
    return " ".join(parts)


def worth(rule: PointRule) -> str:
    """The points of a rule, in words."""
    if rule.form == "steps":
        return ", ".join(f"{points:+g} from {low:g}" for low, points in rule.steps)
    if rule.full_at is not None:
        return f"{rule.points:+g} at {rule.full_at:g}"
    # A condition holds once, whatever the form.
    times = " each" if rule.form == "each" and (rule.event or rule.value) else ""
    return f"{rule.points:+g}{times}"


def audit_table(audit: PointsAudit) -> pl.DataFrame:
    """One row per card and rule.

    Returns:
        `card`, `rule`, `verdict`, `takes` (whether it takes points), `users` and `positives` (to whom the outcome came)
        of those it gave points to, or took some from, and the same of all others; and with 95 % intervals: `difference`
        and `lift` of the two rates, `auc` of its points, `gain` in AUC over the card's other rules.
    """
    rows = [_rule_row(card, rule) for card in audit.cards for rule in card.rules]
    return pl.DataFrame(rows, _AUDIT)


def class_table(audit: PointsAudit) -> pl.DataFrame:
    """One row per card and class, the highest first: users, their share, and the rate of the outcome with interval."""
    rows = [
        {
            "card": card.card,
            "class": entry.name,
            "users": entry.counts.users,
            "share": entry.share,
            "positives": entry.counts.positives,
            "rate": entry.rate,
            "rate_low": None if entry.interval is None else entry.interval.low,
            "rate_high": None if entry.interval is None else entry.interval.high,
        }
        for card in audit.cards
        for entry in card.classes
    ]
    return pl.DataFrame(rows, _CLASS_AUDIT)


def _rule_row(card: CardAudit, rule: RuleAudit) -> dict[str, Any]:
    return {
        "card": card.card,
        "rule": rule.rule,
        "verdict": rule.verdict,
        "takes": rule.takes,
        "users": rule.given.users,
        "positives": rule.given.positives,
        "other_users": rule.others.users,
        "other_positives": rule.others.positives,
        **_figures("difference", rule.difference),
        **_figures("lift", rule.lift),
        **_figures("auc", rule.area),
        **_figures("gain", rule.gain),
    }


def _figures(name: str, found: Difference | Lift | None) -> dict[str, float | None]:
    if found is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
