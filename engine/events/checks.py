"""Whether a run can go on with what became of the rows of its log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from engine.config import Config, Events
from engine.errors import ConfigError, DataError
from engine.events.read import input_changed
from engine.events.record import IngestRecord
from engine.suggest import did_you_mean

_EXAMPLES = 3
_ROLES = tuple(name for name in Events.model_fields if name not in {"types", "optional"})


def rows_read(total: IngestRecord) -> int:
    """Rows of all sources."""
    return sum(total.read.values())


def missing_types(total: IngestRecord, types: Iterable[str]) -> tuple[str, ...]:
    """Those of `types` that no good row before `as_of` has, sorted."""
    past = _rows_before_as_of(total)
    return tuple(sorted(name for name in types if not past[name]))


def _rows_before_as_of(total: IngestRecord) -> Counter[str]:
    rows: Counter[str] = Counter()
    for count in total.types:
        rows[count.event_type] += count.rows - count.after_as_of
    return +rows


def check_all_read(total: IngestRecord, expected: int) -> None:
    """Stop when not every row that the footers promised was read.

    Raises:
        IntegrityError: Both numbers.
    """
    if rows_read(total) != expected:
        raise input_changed(f"{rows_read(total)} rows were read; the footers of the files promised {expected}")


def check_types(config: Config, total: IngestRecord, types: tuple[str, ...]) -> None:
    """Stop when the configuration names an event type that no row before `as_of` has.

    A log that lies after `as_of` as a whole passes: what is wrong there is not the names.

    Raises:
        ConfigError: The names, where they stand, and the nearest ones in the data.
    """
    events = config.events
    named = [("events.types", name) for name in events.types]
    required = [role for role in _ROLES if role not in events.optional]
    named += [(f"events.{role}", name) for role in required if (name := getattr(events, role))]
    named += [("engagement.weights", name) for name in config.engagement.weights]
    named += [(f"targets.{target.name}.event", target.event) for target in config.targets]
    derived = {entry.name: entry.event for entry in config.features.events}
    inputs = {} if config.consent is None else config.consent.inputs
    inputs_named = [(f"consent.inputs.{purpose}", name) for purpose, names in inputs.items() for name in names]
    named += inputs_named
    named = [(key, name) for key, name in named if name not in derived]
    past = _rows_before_as_of(total)
    future = {count.event_type for count in total.types if count.after_as_of}
    if future and not past:
        return
    unknown = [
        f"  {key}: {name!r} is made in features.events; name {derived[name]!r}, the event type it is taken from"
        for key, name in inputs_named
        if name in derived
    ]
    for key, name in named:
        if name not in types and events.types:
            unknown.append(f"  {key}: {name!r} is not listed in events.types{did_you_mean(name, events.types)}")
        elif not past[name] and name in future:
            unknown.append(f"  {key}: every row of the event type {name!r} is at or after as_of")
        elif not past[name]:
            unknown.append(f"  {key}: no row has the event type {name!r}{did_you_mean(name, past)}")
    if unknown:
        found = ", ".join(f"{name} ({count:,})" for name, count in past.most_common(20))
        raise ConfigError(
            "event types of the configuration that the data does not have\n" + "\n".join(unknown),
            code="event-type-unknown",
            hint=f"Before as_of the data has: {found or 'no event at all'}.",
        )


def optional_types(events: Events) -> tuple[str, ...]:
    """The event types of optional roles: in use, so that their columns are there, whether or not the log has them."""
    return tuple(name for role in _ROLES if role in events.optional and (name := getattr(events, role)))


def check_rejects(config: Config, total: IngestRecord) -> None:
    """Stop when a source has more rejected rows than allowed.

    Raises:
        DataError: Counts per rule and where the first such rows are.
    """
    limit = config.checks.max_reject_share
    lines = []
    failing = set()
    for source, rows in total.read.items():
        rules = {rule: count for (name, rule), count in total.rejected.items() if name == source}
        rejected = sum(rules.values())
        if rejected and rejected / rows > limit:
            failing.add(source)
            listed = ", ".join(f"{rule} {count:,}" for rule, count in sorted(rules.items()))
            lines.append(f"  source {source!r}: {rejected:,} of {rows:,} rows ({rejected / rows:.2%}): {listed}")
    if lines:
        examples = [example for example in total.examples if example.source in failing][:_EXAMPLES]
        places = "; ".join(f"{example.file} row {example.row} ({example.rule})" for example in examples)
        raise DataError(
            f"more than {limit:.2%} of the rows are rejected\n" + "\n".join(lines) + f"\n  first: {places}",
            code="rejects-too-many",
            hint="Mend the mapping, leave such rows out with the source's `where`, or raise checks.max_reject_share.",
        )


def check_some_passed(total: IngestRecord, types: Iterable[str]) -> None:
    """Stop when no event of the types in use is before `as_of`.

    Raises:
        DataError: What became of the rows.
    """
    past = _rows_before_as_of(total)
    if not any(past[name] for name in types):
        raise DataError(
            f"no event before as_of: {rows_read(total)} rows were read, {total.left_out + total.excluded} left out, "
            f"{sum(total.rejected.values())} rejected, {total.after_as_of} at or after as_of",
            code="events-empty",
            hint="Check --as-of, the source's `where` and events.types.",
        )
