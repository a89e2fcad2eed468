"""What stands between scores and their validation: whether the horizon has passed, and whose scores they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Target
from engine.errors import DataError
from engine.features.spec import FeatureSpec
from engine.features.windows import EPOCH, day_number
from engine.propensity.alarms import rate_alarm
from engine.stages.maturing import MatureRecord
from engine.stages.preparation import Prepared
from engine.tables.manifest import TableRecord
from engine.validation_table import Matured

_MIN_SHARED: Final = 0.01
_MIN_USERS: Final = 100
_SHOWN_IDS: Final = 3


def last_day(prepared: Prepared) -> date | None:
    """Day of the last event of the log, of whatever type; it may lie after every horizon."""
    days = [count.day for entry in prepared.index.entries for count in entry.counts if count.rows]
    return EPOCH + timedelta(days=max(days)) if days else None


def due_targets(targets: Sequence[Target], as_of: date, last: date | None) -> tuple[tuple[Target, ...], list[str]]:
    """The targets whose horizon the log covers, and a warning for each of the others.

    Args:
        targets: The targets of the scores.
        as_of: Day of the scores.
        last: Day of the last event of the log.

    Raises:
        DataError: There is none whose horizon has passed.
    """
    ends = {target.name: as_of + timedelta(days=target.horizon_days) for target in targets}
    due = tuple(target for target in targets if last is not None and last >= ends[target.name] - timedelta(days=1))
    waiting = [
        f"target {target.name!r}: the horizon of {target.horizon_days} days ends on {ends[target.name]} (that day "
        f"excluded), the log ends on {last}"
        for target in targets
        if target not in due
    ]
    if not due:
        first = min(ends.values())
        raise DataError(
            f"the scores of {as_of} cannot be checked yet\n" + "\n".join(f"  {line}" for line in waiting),
            code="not-matured",
            hint=f"Validate once the log has the events of {first - timedelta(days=1)}, or an earlier date.",
        )
    return due, [f"{line}: not validated yet" for line in waiting]


def lagging(due: Sequence[Target], spec: FeatureSpec, as_of: date, prepared: Prepared) -> list[str]:
    """Targets whose source of events ends before the horizon does, though the log as a whole goes on."""
    warnings = []
    for target in due:
        kind = spec.types[spec.type_names.index(target.event)]
        own = kind.of or kind.name
        end = day_number(as_of) + target.horizon_days
        having = {entry.source for entry in prepared.index.entries if any(c.event_type == own for c in entry.counts)}
        for source in sorted(having):
            days = [
                count.day
                for entry in prepared.index.entries
                if entry.source == source
                for count in entry.counts
                if count.rows
            ]
            if max(days) < end - 2:
                last, until = (EPOCH + timedelta(days=day) for day in (max(days), end - 1))
                warnings.append(
                    f"target {target.name!r}: the source {source!r} with its events ends on {last}, the horizon on "
                    f"{until}; what is still to come counts as not happened"
                )
    return warnings


def check_id_types(table: TableRecord, now: str, out: Path) -> None:
    """Stop when published ids are of another type than those of the log (`now`): none could be found there.

    Raises:
        DataError: They are.
    """
    then = dict(table.schema)["user_id"]
    if then != now:
        raise _other_ids(f"published ids are {then}, those of the log {now}", _some_published(table, out), "")


def check_ids(records: Sequence[MatureRecord], table: TableRecord, prepared: Prepared, out: Path) -> None:
    """Stop when hardly any published user is in the log: the two name the same people in different ways.

    Raises:
        DataError: Fewer than 1 % are; with some ids of both.
    """
    # Who is withheld is known by the same ids.
    matched = sum(record.matched + record.withheld for record in records)
    if matched >= _MIN_SHARED * table.rows:
        return
    dtype = dict(table.schema)["user_id"]
    scan = pl.scan_parquet(list(prepared.shelf.users), glob=False, hive_partitioning=False)
    known = scan.select("user_id").head(1_000).collect()["user_id"].sort().head(_SHOWN_IDS).to_list()
    raise _other_ids(
        f"{matched} of {table.rows} published users are in the log; both have ids of type {dtype}",
        _some_published(table, out),
        f"; ids of the log: {', '.join(map(repr, known))}",
    )


def _some_published(table: TableRecord, out: Path) -> str:
    file = out / table.records[0].path
    ids = pl.scan_parquet(file, glob=False, hive_partitioning=False).select("user_id").head(_SHOWN_IDS).collect()
    return ", ".join(map(repr, ids["user_id"].to_list()))


def _other_ids(problem: str, published: str, of_the_log: str) -> DataError:
    return DataError(
        f"published users and users of the log are named in different ways: {problem}\n"
        f"  published ids: {published}{of_the_log}",
        code="validation-identifiers",
        hint="Validate with the log and the mapping of user ids that the date was scored with.",
    )


def matured_warnings(entry: Matured) -> list[str]:
    """What a person should know of one target: users that are gone, ids that do not match, rates that do not hold."""
    counts, name = entry.counts, entry.target.name
    warnings = []
    unknown = entry.published - counts.rows - counts.unscored - counts.withheld
    if unknown >= _MIN_SHARED * entry.published and unknown:
        warnings.append(f"target {name!r}: {unknown} of {entry.published} published users are no longer in the log")
    if counts.withheld:
        warnings.append(
            f"target {name!r}: {counts.withheld} of {entry.published} published users are withheld since: they "
            "withdrew their consent or object, and what they did is not compared"
        )
    if counts.with_event >= _MIN_USERS and counts.published < _MIN_SHARED * counts.with_event:
        warnings.append(
            f"target {name!r}: of {counts.with_event} users with its event only {counts.published} are published; "
            "check that both are named by the same kind of identifier"
        )
    if entry.predicted_rate is not None:
        alarm = rate_alarm(name, entry.predicted_rate, counts.positives, counts.rows)
        warnings += [] if alarm is None else [alarm]
    if not 0 < counts.positives < counts.rows:
        warnings.append(f"target {name!r}: {counts.positives} of {counts.rows} came true; a ranking cannot be judged")
    return warnings
