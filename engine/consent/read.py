"""What every user agreed to as of a day: the last row per user and purpose.

In: the files of the log, a day, the links of ids, and who objects. Out: the part of `engine.consent.permits`, sorted by
user key, and what became of the rows. Of several rows at one instant a withdrawal counts; rows at or after the midnight
at which the day begins are of the future and play no part. A withdrawal whose instant cannot be read is the last word:
that it came before a grant is what nobody can say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from engine.config_consent import Consent
from engine.consent.log import ROW, SHOWN, WITHDRAWN, Piece, Vocabulary, opened_log, rows_of, vocabulary
from engine.consent.permits import PART_SCHEMA
from engine.errors import DataError
from engine.events.keys import user_key
from engine.features.windows import midnight_us
from engine.privacy.ids import IdRules, without_erased
from engine.rollups.parts import write_part

ROWS_AT_ONCE: Final = 8_000_000
"""Rows of the log that are in memory together, about; each further portion decodes the log once more."""
_WITHDRAWN_BIT: Final = 1
_WHOLE: Final = "whole"
_USED: Final = "used"
_UNDATED: Final = "undated"
_IS_SOMEBODYS: Final = pl.all_horizontal(pl.col("user_id", "purpose").is_not_null())
_IS_WHOLE: Final = _IS_SOMEBODYS & pl.col("at").is_not_null()
IS_UNDATED: Final = _IS_SOMEBODYS & pl.col("at").is_null() & (pl.col("status") == WITHDRAWN)
"""Whether a row withdraws at an instant that is missing or cannot be read."""
_LAST_WORD: Final = (1 << 62) + _WITHDRAWN_BIT
"""Rank of such a row."""


@dataclass(frozen=True)
class PermitsTask:
    """What every user agreed to, to be read and written to a part.

    Attributes:
        consent: The log; None where there are only objections.
        as_of: Day from whose midnight on rows are of the future.
        timezone: Zone of that midnight.
        part: File to write; None to check the log alone.
        user_dtype: Int64 or String: the type of the user ids of the events.
        rekeyed: Ids that share their key with another one, and the salt of their own (`engine.events.keys`).
        ids: What becomes of ids as they are read.
        links: Parquet file with `from_id` and `to_id` of linked ids, as the store has them; None without any.
        opposed: Parquet file with `user_id` of the users who object, as the store has them; None without any.
        cache: Where files of object stores are fetched to.
    """

    consent: Consent | None
    as_of: date
    timezone: str
    part: str | None
    user_dtype: str
    rekeyed: tuple[tuple[str, int], ...] = ()
    ids: IdRules = field(default_factory=IdRules)
    links: str | None = None
    opposed: str | None = None
    cache: str | None = None


@dataclass(frozen=True)
class ConsentRecord:
    """What became of the rows of the log; `rows` is the sum of those that follow but `users` and `opposed`.

    Attributes:
        rows: Rows of the files.
        used: Rows before the day, of known purposes.
        future: Rows of the day or later, of known purposes.
        ignored: Unknown purposes that were passed over, with their rows.
        rejected: Rows without a user, a purpose or an instant.
        undated: Of them, withdrawals that lack the instant alone: they count as the last word.
        places: File and row (counted from 0) of the first of these.
        users: Users with a row that was used.
        opposed: Users who object.
    """

    rows: int = 0
    used: int = 0
    future: int = 0
    ignored: tuple[tuple[str, int], ...] = ()
    rejected: int = 0
    places: tuple[tuple[str, int], ...] = ()
    users: int = 0
    opposed: int = 0
    undated: int = 0

    def to_dict(self) -> dict[str, object]:
        """JSON-ready values, in `counts["consent_log"]`; what there is none of is left out."""
        told: dict[str, object] = {"read": self.rows, "used": self.used, "users": self.users}
        told |= {"future": self.future} if self.future else {}
        told |= {"unknown_purposes": dict(self.ignored)} if self.ignored else {}
        told |= {"rejected": self.rejected} if self.rejected else {}
        told |= {"withdrawn_without_time": self.undated} if self.undated else {}
        return told

    def warnings(self) -> list[str]:
        """A line per kind of row that was not used and should not be there."""
        lines = []
        if self.rejected:
            places = ", ".join(f"{file} row {row}" for file, row in self.places)
            more = ", …" if self.rejected > len(self.places) else ""
            kept = f", but for {self.undated} withdrawals, which count as the last word" if self.undated else ""
            lines.append(
                f"consent: {self.rejected} rows without user, purpose or time are not used{kept}: {places}{more}"
            )
        if self.ignored:
            rows = sum(number for _, number in self.ignored)
            lines.append(f"consent: {rows} rows of {len(self.ignored)} unknown purposes are not used")
        return lines


def write_permits(task: PermitsTask) -> ConsentRecord:
    """Read the log once as of the day and write `task.part`, with the columns of `PART_SCHEMA`, unless it is None.

    Raises:
        ConfigError: No file.
        DataError: Files that cannot be read, columns that do not fit, unknown purposes or statuses, or ids none of
            which can be one of the events'.
    """
    record, states = ConsentRecord(), pl.DataFrame(schema=PART_SCHEMA).drop("user_key", "opposed")
    if task.consent is not None:
        cache = None if task.cache is None else Path(task.cache)
        scratch = None if task.part is None else Path(task.part).parent
        with opened_log(task.consent, scratch, cache) as pieces:
            words = vocabulary(task.consent, pieces)
            record, states = _states(task, task.consent, pieces, words)
    if task.part is None:
        return record
    opposed = _opposed(task)
    whole = states.with_columns(opposed=pl.col("user_id").is_in(opposed.implode()))
    # Few object: a set of everybody would cost more than all else here.
    others = opposed.filter(~opposed.is_in(whole.filter("opposed")["user_id"].implode()))
    if others.len():
        nothing = {"purposes": pl.lit(0, pl.UInt32), "refused": pl.lit(0, pl.UInt32), "opposed": pl.lit(value=True)}
        whole = pl.concat([whole, others.to_frame().select("user_id", **nothing)])
    keyed = whole.with_columns(user_key=user_key(pl.col("user_id"), task.rekeyed)).select(PART_SCHEMA.names())
    # Written as it is read: a range of users at a time.
    write_part(keyed.sort("user_key", "user_id"), task.part)
    return replace(record, opposed=opposed.len())


def _opposed(task: PermitsTask) -> pl.Series:
    if task.opposed is None:
        return pl.Series("user_id", [], pl.String)
    listed = pl.read_parquet(task.opposed, columns=["user_id"], glob=False, hive_partitioning=False)
    return listed["user_id"].cast(pl.String).unique()


def _states(
    task: PermitsTask,
    consent: Consent,
    pieces: Sequence[Piece],
    words: Vocabulary,
    rows_at_once: int = ROWS_AT_ONCE,
) -> tuple[ConsentRecord, pl.DataFrame]:
    """The counts, and one row per user with `user_id`, `purposes` and `refused`."""
    midnight = midnight_us(task.as_of, task.timezone)
    every = rows_of(consent, pieces, words)
    codes = [str(code) for code in range(len(consent.known))]
    rows = pl.concat([frame for _, frame in every])
    number = int(rows.select(pl.len()).collect(engine="streaming").item())
    # The last row decides; at one instant a withdrawal is greater than a grant.
    rank = pl.coalesce(pl.col("at") * 2 + pl.col("status"), pl.lit(_LAST_WORD))
    is_used = (pl.col("at") < midnight).fill_null(value=False)
    counts = is_used | pl.col("at").is_null()
    last = []
    portions = max(1, -(-number // rows_at_once))
    for portion in range(portions):
        # What is together in memory is all rows of some users; whose they are matters not.
        own = rows if portions == 1 else rows.filter(pl.col("user_id").hash() % portions == portion)
        ranks = own.filter(_IS_WHOLE | IS_UNDATED).select(
            "user_id",
            *(pl.when((pl.col("purpose") == int(code)) & counts).then(rank).alias(code) for code in codes),
            **{_WHOLE: pl.col("at").is_not_null(), _USED: is_used, _UNDATED: pl.col("at").is_null()},
        )
        # What is told of the rows is counted on the way: the log is not decoded for it once more.
        counted = (pl.col(codes).max(), pl.col(_WHOLE, _USED, _UNDATED).sum())
        last.append(ranks.group_by("user_id").agg(*counted).collect(engine="streaming"))
    found = pl.concat(last)
    sums = (_WHOLE, _USED, _UNDATED)
    numbers = found.select(pl.lit(number).alias("rows"), pl.col(sums).cast(pl.Int64).sum())
    found = found.filter((pl.col(_USED) > 0) | (pl.col(_UNDATED) > 0)).drop(sums)
    users = _as_users(found, task)
    record = replace(log_record(every, words, numbers), users=users.height)
    withdrawn = {code: (pl.col(code) & _WITHDRAWN_BIT) == _WITHDRAWN_BIT for code in codes}
    return record, users.select(
        "user_id",
        purposes=_bits({code: ~is_withdrawn for code, is_withdrawn in withdrawn.items()}),
        refused=_bits(withdrawn),
    )


def counting(every: Sequence[tuple[Piece, pl.LazyFrame]], midnight: int) -> pl.LazyFrame:
    """One row: rows, those that are whole, of these those before a midnight (µs since 1970 UTC), and undated ones."""
    used = _IS_WHOLE & (pl.col("at") < midnight)
    rows = pl.concat([frame for _, frame in every])
    return rows.select(rows=pl.len(), whole=_IS_WHOLE.sum(), used=used.sum(), undated=IS_UNDATED.sum())


def log_record(every: Sequence[tuple[Piece, pl.LazyFrame]], words: Vocabulary, numbers: pl.DataFrame) -> ConsentRecord:
    """What became of the rows of a log, without its users.

    Args:
        every: What `engine.consent.log.rows_of` gave.
        words: What `engine.consent.log.vocabulary` gave.
        numbers: What `counting` gave.
    """
    rows, whole, used, undated = (int(value) for value in numbers.row(0))
    rejected = rows - whole - sum(number for _, number in words.ignored)
    places = _places(every, ~_IS_WHOLE) if rejected else ()
    return ConsentRecord(rows, used, whole - used, words.ignored, rejected, places, undated=undated)


def _bits(holds: Mapping[str, pl.Expr]) -> pl.Expr:
    """Bit `n` where the nth holds; null does not hold."""
    parts = [
        pl.when(each).then(pl.lit(1 << int(code), pl.UInt32)).otherwise(pl.lit(0, pl.UInt32))
        for code, each in holds.items()
    ]
    return pl.sum_horizontal(parts).cast(pl.UInt32)


def _as_users(found: pl.DataFrame, task: PermitsTask) -> pl.DataFrame:
    """The ids of the log as those of the users of the events (String), one row each.

    Raises:
        DataError: The events have whole numbers, and not one id of the log is one.
    """
    users = without_erased(found, task.ids, "user_id")
    ids = users["user_id"]
    if task.user_dtype != "String" and ids.dtype == pl.String:
        numbers = ids.cast(pl.Int64, strict=False)
        if ids.len() and numbers.null_count() == ids.len():
            raise DataError(
                "consent: none of the user ids of the log is a whole number, as those of the events are",
                code="consent-user-id",
                hint="consent.user_id must name the column with the same ids as the events.",
            )
        users = users.with_columns(user_id=pl.coalesce(numbers.cast(pl.String), ids))
    users = users.with_columns(pl.col("user_id").cast(pl.String))
    # Rows were grouped by id: only another form of the ids, or links, can bring two together.
    may_meet = ids.dtype == pl.String and (task.user_dtype != "String" or task.ids.change_ids)
    if task.links is not None:
        may_meet = True
        links = pl.read_parquet(task.links, glob=False, hive_partitioning=False)
        to = links.select(user_id=pl.col("from_id").cast(pl.String), __to=pl.col("to_id").cast(pl.String))
        users = users.join(to, on="user_id", how="left")
        users = users.with_columns(user_id=pl.coalesce("__to", "user_id")).drop("__to")
    if may_meet and users["user_id"].is_duplicated().any():
        users = users.group_by("user_id").agg(pl.all().max())
    return users


def _places(every: Sequence[tuple[Piece, pl.LazyFrame]], is_bad: pl.Expr) -> tuple[tuple[str, int], ...]:
    """File and row of the first rows that are not whole, those of unknown purposes aside."""
    places: list[tuple[str, int]] = []
    for piece, frame in every:
        if len(places) >= SHOWN:
            break
        numbers = frame.filter(is_bad & ~pl.col("ignored")).select(ROW).head(SHOWN - len(places)).collect()
        places += [(piece.file, int(number)) for number in numbers[ROW]]
    return tuple(places)
