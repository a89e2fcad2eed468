"""How far consents reach: by purpose who granted, who withdrew and who was never asked, and on which proof.

In: the log, a day, and perhaps the users of the rollup store. Out: counts; no id of anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.config_consent import Consent
from engine.consent.log import WITHDRAWN, opened_log, rows_of, vocabulary
from engine.consent.read import IS_UNDATED, ConsentRecord, counting, log_record
from engine.features.windows import midnight_us
from engine.privacy.ids import IdRules, without_erased

_PROOF: Final = ("form_version", "source")


@dataclass(frozen=True)
class PurposeCoverage:
    """The users of a purpose as of the day.

    Attributes:
        purpose: Its name.
        granted, withdrawn: Users by their last word.
        never_granted: Of those who withdrew, the ones who had not granted it before.
        never_asked: Users of the store without a row of the purpose; None without a store.
        contradictory: Users who granted and withdrew at the last instant; they count as withdrawn.
        future: Rows of the day or later.
    """

    purpose: str
    granted: int
    withdrawn: int
    never_granted: int
    never_asked: int | None
    contradictory: int
    future: int


@dataclass(frozen=True)
class Proof:
    """Users of a purpose by the form version and the source of their last word; None where there is none."""

    purpose: str
    form_version: str | None
    source: str | None
    granted: int
    withdrawn: int


@dataclass(frozen=True)
class Coverage:
    """What a log of consents says as of a day.

    Attributes:
        as_of: The day.
        record: What became of its rows.
        users: Users of the store; None without one.
        purposes: One per known purpose, in their order.
        proofs: Sorted by purpose, form version and source.
    """

    as_of: date
    record: ConsentRecord
    users: int | None
    purposes: tuple[PurposeCoverage, ...]
    proofs: tuple[Proof, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "as_of": self.as_of.isoformat(),
            "log": self.record.to_dict(),
            "users": self.users,
            "purposes": [asdict(one) for one in self.purposes],
            "proofs": [asdict(one) for one in self.proofs],
            "warnings": self.record.warnings(),
        }


def coverage(
    consent: Consent,
    as_of: date,
    timezone: str,
    *,
    ids: IdRules,
    links: pl.DataFrame | None = None,
    users: Sequence[str] | None = None,
    cache: Path | None = None,
) -> Coverage:
    """What the log says as of a day.

    Args:
        consent: The log.
        as_of: Rows from its midnight on are of the future.
        timezone: Zone of that midnight.
        ids: What becomes of ids.
        links: `from_id` and `to_id` of linked ids, as the store has them.
        users: Files of the users of the store (`user_id`); None without a store.
        cache: Where files of object stores are fetched to.

    Raises:
        ConfigError: No file.
        DataError: As `engine.consent.read.write_permits`.
    """
    midnight = midnight_us(as_of, timezone)
    with opened_log(consent, None, cache) as pieces:
        words = vocabulary(consent, pieces)
        every = rows_of(consent, pieces, words)
        record = log_record(every, words, counting(every, midnight).collect(engine="streaming"))
        everybody = None if users is None else _everybody(users)
        rows = pl.concat([frame for _, frame in rows_of(consent, pieces, words, _PROOF)])
        rows = rows.drop_nulls(["user_id", "purpose"]).filter(pl.col("at").is_not_null() | IS_UNDATED)
        later = rows.filter(pl.col("at") >= midnight).group_by("purpose").len().collect(engine="streaming")
        future = dict(later.iter_rows())
        found: list[PurposeCoverage] = []
        proofs: list[Proof] = []
        known = pl.Series("user_id", [], pl.String)
        # What is together in memory is all rows of a purpose; each further one decodes the log once more.
        for code, name in enumerate(consent.known):
            of_purpose = rows.filter((pl.col("purpose") == code) & ((pl.col("at") < midnight) | IS_UNDATED))
            last = _last_words(of_purpose, ids, links)
            found.append(_purpose(name, last, everybody, int(future.get(code, 0))))
            proofs += _proofs(name, last)
            known = pl.concat([known, last["user_id"]]).unique()
    record = replace(record, users=known.len())
    return Coverage(as_of, record, None if everybody is None else everybody.len(), tuple(found), tuple(proofs))


def _purpose(name: str, last: pl.DataFrame, everybody: pl.Series | None, future: int) -> PurposeCoverage:
    withdrew = pl.col("status") == WITHDRAWN
    row = last.select(
        granted=(~withdrew).sum(),
        withdrawn=withdrew.sum(),
        never_granted=(withdrew & ~pl.col("granted_before")).sum(),
        contradictory=pl.col("contradictory").sum(),
        asked=_known(everybody),
    ).row(0, named=True)
    never = None if everybody is None else everybody.len() - int(row["asked"])
    numbers = (int(row["granted"]), int(row["withdrawn"]), int(row["never_granted"]))
    return PurposeCoverage(name, *numbers, never, int(row["contradictory"]), future)


def _known(everybody: pl.Series | None) -> pl.Expr:
    if everybody is None:
        return pl.lit(0)
    return pl.col("user_id").is_in(everybody.implode()).sum()


def _everybody(files: Sequence[str]) -> pl.Series:
    if not files:
        return pl.Series("user_id", [], pl.String)
    scan = pl.scan_parquet(list(files), glob=False, hive_partitioning=False)
    return scan.select(pl.col("user_id").cast(pl.String).unique()).collect()["user_id"]


def _last_words(rows: pl.LazyFrame, ids: IdRules, links: pl.DataFrame | None) -> pl.DataFrame:
    """The last of the rows of a purpose per user."""
    used = rows.drop("row", "purpose", "ignored").collect(engine="streaming")
    used = without_erased(used, ids, "user_id").with_columns(pl.col("user_id").cast(pl.String))
    if links is not None:
        to = links.select(user_id=pl.col("from_id").cast(pl.String), __to=pl.col("to_id").cast(pl.String))
        used = used.join(to, on="user_id", how="left").with_columns(user_id=pl.coalesce("__to", "user_id"))
    # A withdrawal without an instant is the last word.
    used = used.sort("user_id", "at", "status", *_PROOF, nulls_last=[False, True, False, *(False for _ in _PROOF)])
    at_last = pl.col("at").eq_missing(pl.col("at").last().over("user_id"))
    granted = pl.col("status") != WITHDRAWN
    told = used.with_columns(
        granted_before=granted.any().over("user_id"),
        contradictory=((granted & at_last).any() & (~granted & at_last).any()).over("user_id"),
    )
    return told.unique("user_id", keep="last", maintain_order=True)


def _proofs(purpose: str, last: pl.DataFrame) -> tuple[Proof, ...]:
    grouped = (
        last.group_by(*_PROOF)
        .agg(
            granted=(pl.col("status") != WITHDRAWN).sum(),
            withdrawn=(pl.col("status") == WITHDRAWN).sum(),
        )
        .sort(*_PROOF, nulls_last=True)
    )
    return tuple(
        Proof(purpose, form, source, int(granted), int(withdrawn))
        for form, source, granted, withdrawn in grouped.iter_rows()
    )
