"""An answer of `tamis why` as lines of text."""

from __future__ import annotations

import math
import unicodedata
from datetime import date
from typing import Final

from engine.why.counted import Counted
from engine.why.past import CardPoints
from engine.why.verdict import SeenClause
from engine.why.why import Membership, SeenSegment
from engine.why.words import WORDS, Language, Words

HOLDS: Final = "✓"
FAILS: Final = "✗"


def heading(segment: SeenSegment, language: Language) -> str:
    """Name, label, kind, group and version of a segment, in one line."""
    words, definition = WORDS[language], segment.segment.definition
    label = segment.segment.label(language)
    group = words.tag if definition.group is None else words.group.format(group=definition.group)
    parts = [words.kind(definition.kind), group, words.version.format(version=definition.version)]
    return f"{definition.name}{f' ({label})' if label != definition.name else ''} · {' · '.join(parts)}"


def segment_lines(segment: SeenSegment, language: Language) -> list[str]:
    """What decided about a user and a segment: verdict, rule, facts, clauses with values and events."""
    words, definition = WORDS[language], segment.segment.definition
    lines = [verdict(segment, language)]
    if definition.kind == "fallback":
        lines.append(words.fallback)
    if definition.where is not None:
        lines.append(f"{words.rule}{words.colon}{' '.join(definition.where.split())}")
    if segment.problem:
        lines.append(f"{words.note}{words.colon}{segment.problem}")
    if segment.facts is not None:
        told = ", ".join(f"{words.fact(name)} {shown(value, words)}" for name, value in segment.facts.values)
        lines += [told] if told else []
        lines += [f"{words.note}{words.colon}{segment.facts.problem}"] if segment.facts.problem else []
    for clause in () if segment.rule is None else segment.rule.clauses:
        lines += clause_lines(clause, words)
    return lines


def verdict(segment: SeenSegment, language: Language) -> str:
    """Whether the user is in the segment and what decided it, in one line."""
    words, entry = WORDS[language], segment.membership
    if entry is not None:
        sentence = words.other_in if segment.decision == "other" else words.is_in
        return f"{HOLDS} {sentence.format(since=entry.entered_on, days=words.days(entry.days_in))}"
    kind, facts = segment.segment.definition.kind, segment.facts
    if segment.decision == "earlier":
        sentence = words.earlier_fallback if kind == "fallback" else words.earlier
        return f"{FAILS} {sentence.format(other=segment.taken_by)}"
    if segment.decision == "other":
        return f"{FAILS} {words.other_out}"
    if kind == "fallback":
        return f"{FAILS} {words.fails_fallback}"
    if facts is not None and not facts.holds:
        return f"{FAILS} {words.fails_list if kind == 'list' else words.fails_arm}"
    return f"{FAILS} {words.fails}"


def clause_lines(clause: SeenClause, words: Words) -> list[str]:
    """A clause with its mark and values, then the events behind it; one that must not hold is told as its opposite."""
    values = ", ".join(f"{text} = {shown(value, words)}" for text, value in clause.values)
    mark = HOLDS if clause.holds != clause.negated else FAILS
    text = f"NOT ({clause.text})" if clause.negated else clause.text
    lines = [f"{mark} {text}{f'   [{values}]' if values else ''}"]
    lines.extend(f"    {counted_line(counted, words)}" for counted in clause.counted)
    return lines


def counted_line(counted: Counted, words: Words) -> str:
    """`purchase, from 2026-01-01, before 2026-02-01: 3 events — 2026-01-04 (2), 2026-01-30 (1)`."""
    kind = words.all_types if counted.type is None else counted.type
    condition = "" if counted.where is None else f" ({counted.where})"
    window = words.whole if counted.start is None else words.window
    said = f"{kind}{condition}, {window.format(start=counted.start, end=counted.end)}"
    if counted.problem and not counted.events:
        return f"{said}{words.colon}{counted.problem}"
    number = words.events[counted.events != 1].format(n=f"{counted.events:,}") if counted.events else words.none
    days = ", ".join(f"{day} ({events})" for day, events in counted.days)
    more = sum(events for _, events in counted.days) < counted.events
    latest = f" ({words.latest.format(n=len(counted.days))})" if more else ""
    note = f" [{counted.problem}]" if counted.problem else ""
    if counted.periods is not None:
        met, periods = counted.periods
        number = f"{words.periods.format(n=met, of=periods)}, {number}"
    return f"{said}{words.colon}{number}{latest}{f' — {days}' if days else ''}{note}"


def membership_rows(memberships: tuple[Membership, ...], words: Words) -> list[tuple[object, ...]]:
    """Rows of the table of memberships, under `words.headers`."""
    return [
        (entry.segment, entry.group or words.tag, str(entry.entered_on), entry.days_in, entry.previous_segment or "–")
        for entry in memberships
    ]


def card_title(card: CardPoints, words: Words) -> str:
    """Card, points and class, in one line."""
    first = unicodedata.normalize("NFKD", card.card[:1].casefold())[:1]
    of = words.of[first in {*"aeiou"}]
    title = words.points.format(of=of, card=card.card, points=shown(card.points, words))
    return title if card.level is None else f"{title}, {words.level.format(level=card.level)}"


def reason_in(reason: str | None, words: Words) -> str | None:
    """The published reason of a change; what is always worded alike is told in the language."""
    if reason is None:
        return None
    for written, said in words.reasons:
        if reason == written or (written.endswith(" ") and reason.startswith(written)):
            return said + reason.removeprefix(written)
    return reason


def shown(value: object, words: Words) -> str:
    """A value as the rule language writes it; `no value` for null."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return words.no_value
    if isinstance(value, bool):
        return words.true if value else words.false
    if isinstance(value, float):
        text = f"{value:.4f}".rstrip("0").rstrip(".")
        # A number that is not 0 is not shown as 0: the clause may turn on it.
        return text if float(text) or not value else repr(value)
    return value.isoformat() if isinstance(value, date) else str(value)
