"""What became of the rows of the whole log as of one day, from the entries of the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from engine.events.record import IngestRecord, RejectExample, TypeCount
from engine.events.untrusted import Quarantined
from engine.rollups.index import Entry
from engine.rollups.roll import EXAMPLES


def ingested(entries: Collection[Entry], end_day: int, types: Collection[str]) -> IngestRecord:
    """The sum over all units.

    Args:
        entries: One per unit.
        end_day: First day that is not used (days since 1970-01-01).
        types: The event types in use.
    """
    read: Counter[str] = Counter()
    rejected: Counter[tuple[str, str]] = Counter()
    sums: Counter[str] = Counter()
    by_type: dict[tuple[str, str], Counter[str]] = {}
    examples: dict[str, list[RejectExample]] = {}
    days: list[int] = []
    used = set(types)
    for entry in entries:
        read[entry.source] += entry.read
        sums["left_out"] += entry.left_out
        sums["excluded"] += entry.excluded
        sums["erased"] += entry.erased
        for rule, number in entry.rejected.items():
            rejected[entry.source, rule] += number
        taken = examples.setdefault(entry.source, [])
        taken += [RejectExample(entry.source, *example) for example in entry.examples][: EXAMPLES - len(taken)]
        for day, number in entry.unlisted:
            sums["unlisted"] += number
            sums["left_out" if day < end_day else "after_as_of"] += number
        for count in entry.counts:
            counted = by_type.setdefault((entry.source, count.event_type), Counter())
            counted["rows"] += count.rows
            if count.day >= end_day:
                counted["after_as_of"] += count.rows
                sums["after_as_of"] += count.rows
            elif count.event_type not in used:
                sums["left_out"] += count.rows
            else:
                counted["priced"] += count.priced
                for name in ("kept", "duplicates", "lines"):
                    sums[name] += getattr(count, name)
                if count.kept:
                    days.append(count.day)
    return IngestRecord(
        read=dict(read),
        left_out=sums["left_out"],
        excluded=sums["excluded"],
        erased=sums["erased"],
        after_as_of=sums["after_as_of"],
        passed=sums["kept"] + sums["duplicates"] + sums["lines"],
        kept=sums["kept"],
        duplicates=sums["duplicates"],
        lines=sums["lines"],
        rejected=dict(rejected),
        examples=tuple(example for name in sorted(examples) for example in examples[name]),
        types=tuple(
            TypeCount(source, event_type, counted["rows"], counted["priced"], counted["after_as_of"])
            for (source, event_type), counted in sorted(by_type.items())
        ),
        unlisted=sums["unlisted"],
        first_day=min(days, default=None),
        last_day=max(days, default=None),
        quarantined=tuple(
            Quarantined(entry.source, file, problem) for entry in entries for file, problem in entry.quarantined
        ),
    )


def event_counts(entries: Iterable[Entry], end_day: int, types: Collection[str]) -> dict[str, dict[str, int]]:
    """Per event type in use: events kept before `end_day`, and those of them with an amount of zero."""
    kept: Counter[str] = Counter()
    zero: Counter[str] = Counter()
    used = set(types)
    for entry in entries:
        for count in entry.counts:
            if count.day < end_day and count.event_type in used:
                kept[count.event_type] += count.kept
                zero[count.event_type] += count.zero
    return {name: {"kept": kept[name], "zero_amount": zero[name]} for name in sorted(+kept)}
