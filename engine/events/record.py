"""What became of the rows of a log, as of one day."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.events.untrusted import Quarantined


@dataclass(frozen=True)
class TypeCount:
    """Good rows of one event type in one source, whether or not they are used later.

    Attributes:
        rows: All of them.
        priced: Events before `as_of` with an amount.
        after_as_of: Rows whose event is at or after `as_of`.
    """

    source: str
    event_type: str
    rows: int
    priced: int
    after_as_of: int


@dataclass(frozen=True)
class RejectExample:
    """Where a rejected row is; never what is in it."""

    source: str
    file: str
    row: int
    rule: str


@dataclass(frozen=True)
class IngestRecord:
    """What became of every row: read = left_out + excluded + erased + rejected + after_as_of + passed.

    Attributes:
        read: Rows read, per source.
        left_out: Rows outside a source's `where`, or before `as_of` and of an event type that is not used.
        excluded: Rows of users who are excluded.
        after_as_of: Good rows whose event is at or after `as_of`.
        passed: The others: kept + duplicates + lines.
        kept: Events before `as_of`, of the types in use.
        duplicates: Rows whose event was there already.
        lines: Rows added to the event of their order.
        rejected: Rejected rows per source and rule.
        examples: The first rejected rows of each source.
        types: Every type in use, and of the others the most frequent ones.
        unlisted: Good rows of the remaining types.
        missing_types: Types in use that no row before `as_of` has.
        quarantined: Files that could not be read and were left out; none of their rows is in `read`.
        first_day, last_day: Of the events kept (days since 1970-01-01 in the configured zone).
        erased: Rows of people who were erased.
    """

    read: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    excluded: int = 0
    after_as_of: int = 0
    passed: int = 0
    kept: int = 0
    duplicates: int = 0
    lines: int = 0
    rejected: dict[tuple[str, str], int] = field(default_factory=dict)
    examples: tuple[RejectExample, ...] = ()
    types: tuple[TypeCount, ...] = ()
    unlisted: int = 0
    missing_types: tuple[str, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    first_day: int | None = None
    last_day: int | None = None
    erased: int = 0
