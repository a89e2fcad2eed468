"""Read pieces of source files: canonical rows, and what became of every row that is none.

In: row ranges of one source's files. Out, in memory: the good rows of the event types in use, as integers; the rejected
ones; and the counts of all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from engine.config import Exclude, Machines, Source
from engine.events.days import local_days
from engine.events.exclusion import is_excluded
from engine.events.identities import own_id, resolve
from engine.events.machines import mark_machines, split_types
from engine.events.mapping import EXCLUDE, KEEP, REJECT, SourceMapping
from engine.events.read import ROW, Stamp, input_changed, reading, scan, source_mapping, unchanged
from engine.events.schema import FIELDS, Rule
from engine.privacy.ids import IdRules, kept_ids
from engine.privacy.links import OWN_EXCLUDED, resolve_pseudonyms
from engine.quality.mapped import KnownEmpty
from engine.quality.rows import broken_rules, by_day, empties, lateness, lost, measures, without_measures
from engine.quality.unit import UnitQuality, added
from engine.remote.fetch import at_hand

REJECT_SCHEMA: Final = pl.Schema(
    {"source": pl.String, "file": pl.String, "row": pl.Int64, "rule": pl.String, "reason": pl.String}
)
"""The `rejects` table: where a rejected row is, counted from 0 in its file, and why; never what is in it."""


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of one source file."""

    source: int
    """Position of the source in the configuration."""
    file: str
    start: int
    rows: int
    stamp: Stamp | None = None
    """Of the file when its footer was read; None when that is not to be checked."""
    origin: str = ""
    """The file as the user knows it, where `file` is what it was converted to."""
    cache: str = ""
    """Where copies are kept of a `file` that is an address in an object store."""
    empty: tuple[KnownEmpty, ...] = ()
    """What its footer says of the columns of the whole file."""


@dataclass(frozen=True)
class Roles:
    """The event types whose events may be a machine's, and the one they follow; see `engine.events.machines`."""

    send: str | None = None
    open: str | None = None
    click: str | None = None


@dataclass(frozen=True)
class Reading:
    """How the rows of one source are read.

    Attributes:
        source: The source's configuration.
        timezone: Zone of the days.
        currency_digits: Decimals of the minor unit.
        codes: The event types in use, and their codes.
        columns: Canonical columns to carry beside user, type and time.
        machines: How opens and clicks of machines are told.
        roles: Which event types these are.
        exclude: Users who do not count.
        links: File with the links of ids, as `engine.events.identities` gives them; None without.
        ids: What becomes of ids: who was erased, and whether they are replaced by pseudonyms.
    """

    source: Source
    timezone: str
    currency_digits: int
    codes: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    machines: Machines = field(default_factory=Machines)
    roles: Roles = field(default_factory=Roles)
    exclude: Exclude = field(default_factory=Exclude)
    links: str | None = None
    ids: IdRules = field(default_factory=IdRules)


@dataclass(frozen=True)
class Rows:
    """The rows of some pieces: read = left_out + excluded + erased + rejected + unused + good.

    Attributes:
        good: `user_id`, `type` (UInt16), `day` (Int32, in the configured zone), `time` (Int64, µs since 1970 UTC) and
            the columns asked for; one row per source row.
        read: Rows of the pieces.
        left_out: Rows outside the source's `where`.
        excluded: Rows of users who are excluded.
        rejects: Rejected rows, as `REJECT_SCHEMA`.
        unused: `event_type`, `day`, `rows`: good rows of the event types that are not in use.
        quality: What else was counted of them; without `values`, which are told by event type.
        erased: Rows of people who were erased.
    """

    good: pl.DataFrame
    read: int
    left_out: int
    excluded: int
    rejects: pl.DataFrame
    unused: pl.DataFrame
    quality: UnitQuality
    erased: int = 0


def tells_machines(source: Source, machines: Machines) -> bool:
    """Whether events of a source can be a machine's."""
    by_time = machines.open_within_seconds or machines.burst_links
    return source.columns.machine is not None or bool(by_time and source.columns.message_id is not None)


def needs_whole_units(how: Reading) -> bool:
    """Whether what a row becomes depends on other rows of its unit."""
    by_time = how.machines.open_within_seconds or how.machines.burst_links
    return how.source.columns.message_id is not None and bool(by_time)


def read_rows(how: Reading, pieces: Sequence[Piece], *, whole: bool = True) -> Rows:
    """Read, map, check and encode rows.

    Args:
        how: How they are read.
        pieces: The rows.
        whole: Whether these are whole units. When they are not, and what a row becomes depends on the others, the good
            rows are not told apart by event type yet, and none is unused: that is for `code_rows`.

    Raises:
        DataError: A file that cannot be read, or whose schema does not fit the mapping.
        IntegrityError: A file that changed since its footer was read.
        TransientError: Storage that does not answer.
    """
    links = None if how.links is None else pl.read_parquet(how.links, glob=False, hive_partitioning=False)
    good, rejects, told = [], [], []
    read = left_out = excluded = erased = 0
    for piece in pieces:
        found, mapping = _read_piece(how, piece)
        read += found.height
        rows = _as_kept(how, found)
        erased += found.height - rows.height
        inside = rows if rows[KEEP].all() else rows.filter(KEEP)
        left_out += rows.height - inside.height
        resolved = _resolved(how, inside, links)
        excluded += inside.height - resolved.height
        told.append(_told(how, piece, mapping, found, rows, inside, resolved))
        resolved = without_measures(resolved)
        if resolved[REJECT].max():
            rejects.append(_rejects(resolved.filter(pl.col(REJECT) != 0), how.source, piece, mapping.reject_rules))
            resolved = resolved.filter(pl.col(REJECT) == 0)
        good.append(resolved.drop(ROW, KEEP, REJECT, EXCLUDE, OWN_EXCLUDED, "anonymous_id", strict=False))
    rows_read = pl.concat(good)
    is_open = not whole and needs_whole_units(how)
    coded, unused = (rows_read, pl.DataFrame(schema=_UNUSED)) if is_open else code_rows(how, rows_read)
    return Rows(
        good=coded,
        read=read,
        left_out=left_out,
        excluded=excluded,
        erased=erased,
        rejects=pl.concat(rejects) if rejects else pl.DataFrame(schema=REJECT_SCHEMA),
        unused=unused,
        quality=added(told),
    )


def _told(
    how: Reading,
    piece: Piece,
    mapping: SourceMapping,
    found: pl.DataFrame,
    rows: pl.DataFrame,
    inside: pl.DataFrame,
    resolved: pl.DataFrame,
) -> UnitQuality:
    """What is counted of the rows of a piece: of all of them, of those inside `where`, and of no excluded user."""
    gone: list[tuple[str, int | None, int]] = []
    if rows.height < found.height:
        gone += lost("erased", by_day(found["time"], how.timezone) - by_day(rows["time"], how.timezone))
    if inside.height < rows.height:
        gone += lost("left_out", by_day(rows["time"].filter(~rows[KEEP]), how.timezone))
    if resolved.height < inside.height:
        gone += lost("excluded", by_day(inside["time"], how.timezone) - by_day(resolved["time"], how.timezone))
    if resolved[REJECT].max():
        gone += lost("rejected", by_day(resolved["time"].filter(resolved[REJECT] != 0), how.timezone))
    return UnitQuality(
        empty=empties(mapping, found, piece.empty, begins=piece.start == 0),
        late=lateness(resolved),
        broken=broken_rules(mapping, resolved),
        lost=tuple(gone),
    )


def code_rows(how: Reading, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The `good` and `unused` of `Rows`, of good rows with every user's complete."""
    return _coded(how, _told_apart(how, rows))


def _as_kept(how: Reading, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows without those of people who were erased, and with ids as they are kept.

    Whether an id is excluded is said of the ids of the source: with pseudonyms it is found out here.
    """
    if ERASED in rows.columns:
        rows = rows.filter(~pl.col(ERASED)).drop(ERASED)
    rules = how.ids
    if not rules.change_ids:
        return rows
    names = [name for name in ("user_id", "anonymous_id") if name in rows.columns]
    kept = {name: kept_ids(rows[name], rules) for name in names}
    if rules.pseudonyms:
        dtype = rows.schema["user_id"]
        rows = rows.with_columns(
            pl.col(EXCLUDE) | is_excluded(how.exclude, pl.col("user_id"), dtype),
            is_excluded(how.exclude, own_id(rows), dtype).alias(OWN_EXCLUDED),
        ).with_columns(found.ids.alias(name) for name, found in kept.items())
    erased = pl.any_horizontal(*(found.erased for found in kept.values()))
    return rows.filter(~erased)


def _resolved(how: Reading, rows: pl.DataFrame, links: pl.DataFrame | None) -> pl.DataFrame:
    """Rows under the user they belong to, without those of excluded users."""
    if how.ids.pseudonyms:
        return resolve_pseudonyms(rows.filter(~pl.col(EXCLUDE)), links).filter(~pl.col(OWN_EXCLUDED))
    dtype = rows.schema["user_id"]
    drop = pl.col(EXCLUDE) | is_excluded(how.exclude, pl.col("user_id"), dtype)
    excluded = rows.select(drop.alias(EXCLUDE))[EXCLUDE]
    rows = rows.filter(~excluded) if excluded.any() else rows
    if links is None and "anonymous_id" not in rows.columns:
        return rows
    resolved = resolve(rows, links)
    return resolved.filter(~is_excluded(how.exclude, pl.col("user_id"), dtype))


def _told_apart(how: Reading, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose machine events have an event type of their own."""
    if not tells_machines(how.source, how.machines):
        return rows
    roles, settings = how.roles, how.machines
    marked = rows
    if needs_whole_units(how):
        marked = mark_machines(
            rows.rename({"time": "event_time"}),
            send=roles.send,
            open=roles.open,
            click=roles.click,
            open_within_seconds=settings.open_within_seconds,
            burst_links=settings.burst_links,
            burst_seconds=settings.burst_seconds,
        ).rename({"event_time": "time"})
    return split_types(marked, (roles.open, roles.click))


def _coded(how: Reading, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of the event types in use with their code in place of the name, and the counts of the others."""
    names = [name for name, _ in how.codes]
    # A categorical of known names is looked up in half the time of a replacement.
    positions = rows["event_type"].cast(pl.Enum(names), strict=False).to_physical().cast(pl.UInt32)
    days = local_days(rows["time"], how.timezone)
    coded = rows.drop("event_type").with_columns(
        pl.Series("type", [code for _, code in how.codes], pl.UInt16).gather(positions),
        days.alias("day"),
    )
    if not positions.null_count():
        return coded.drop(set(coded.columns) - _kept(how)), pl.DataFrame(schema=_UNUSED)
    unknown = pl.DataFrame({"event_type": rows["event_type"], "day": days}).lazy().filter(positions.is_null())
    unused = unknown.group_by("event_type", "day").agg(rows=pl.len().cast(pl.Int64)).sort("event_type", "day").collect()
    return coded.filter(positions.is_not_null()).drop(set(coded.columns) - _kept(how)), unused


def _kept(how: Reading) -> set[str]:
    return {"user_id", "user_key", "check", "type", "day", "time", *how.columns}


_UNUSED: Final = pl.Schema({"event_type": pl.String, "day": pl.Int32, "rows": pl.Int64})
ERASED: Final = "__erased"
"""Column of a converted file that tells which rows were of somebody who was erased; nothing else is left of them."""
_BROKEN: Final = "__broken"
_MACHINE_COLUMNS: Final = ("machine", "message_id", "link")


def _read_piece(how: Reading, piece: Piece) -> tuple[pl.DataFrame, SourceMapping]:
    owner = f"source {how.source.name!r}"
    with (
        at_hand(piece.file, piece.stamp, piece.cache) as file,
        unchanged(owner, file, piece.stamp),
        reading(owner, piece.origin or piece.file),
    ):
        frame = scan(file)
        mapping = source_mapping(how.source, frame, how.currency_digits)
        columns = dict.fromkeys(["user_id", "event_type", *how.columns])
        if tells_machines(how.source, how.machines):
            columns |= dict.fromkeys(_MACHINE_COLUMNS)
        if how.source.columns.anonymous_id is not None:
            columns["anonymous_id"] = None
        portion = frame.slice(piece.start, piece.rows)
        marked = [ERASED] if ERASED in frame.collect_schema().names() else []
        rows = (
            portion.select(
                pl.col(ROW),
                *marked,
                mapping.keep.alias(KEEP),
                mapping.broken.alias(_BROKEN),
                mapping.exclude.alias(EXCLUDE),
                *(_column(name, mapping.canonical) for name in columns),
                mapping.canonical["event_time"].dt.epoch("us").alias("time"),
                *measures(mapping, piece.empty),
            )
            # A quarter faster than streaming for what fits into memory.
            .collect(engine="in-memory")
        )
        if rows[_BROKEN].any():
            # Two queries over one file need not give its rows in one order: the number of the row tells which is which.
            rules = portion.select(pl.col(ROW), mapping.reject.alias(REJECT)).collect(engine="in-memory")
            rows = rows.join(rules, on=ROW, how="left", maintain_order="left")
        else:
            rows = rows.with_columns(pl.lit(0, pl.UInt8).alias(REJECT))
    if rows.height != piece.rows:
        raise input_changed(
            f"{owner}: {piece.file} has {rows.height} rows from row {piece.start} on; its footer promised {piece.rows}"
        )
    return rows.drop(_BROKEN), mapping


def _column(name: str, canonical: Mapping[str, pl.Expr]) -> pl.Expr:
    if name in canonical:
        return canonical[name].alias(name)
    if name == "machine":
        # Unknown is human, so that a condition on it holds for either one or the other.
        return pl.lit(value=False).alias(name)
    return pl.lit(None, next(field.dtype for field in FIELDS if field.name == name)).alias(name)


def _rejects(bad: pl.DataFrame, source: Source, piece: Piece, rules: Sequence[Rule]) -> pl.DataFrame:
    codes = list(range(1, len(rules) + 1))
    return bad.select(
        source=pl.lit(source.name),
        file=pl.lit(piece.origin or piece.file),
        row=pl.col(ROW).cast(pl.Int64),
        rule=pl.col(REJECT).replace_strict(codes, [rule.name for rule in rules], return_dtype=pl.String),
        reason=pl.col(REJECT).replace_strict(codes, [rule.reason for rule in rules], return_dtype=pl.String),
    )
