"""The users of a range of ids with all that is written about them, and why some of them are left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Literal

import polars as pl

from engine.config import Config
from engine.errors import DataError
from engine.events.read import reading
from engine.exports.addresses import compared, is_address, trimmed
from engine.exports.consents import Agreed
from engine.exports.listed import named_phones
from engine.exports.objecting import Cell, find_objecting
from engine.exports.plan import Plan
from engine.exports.suppression import Suppressed
from engine.exports.tools import refused
from engine.privacy.ids import id_expression
from engine.why.published import Published

Kind = Literal["members", "entries", "exits"]

ROWS_PER_RANGE: Final = 200_000
"""Users that are in memory at one time."""
KEY: Final = "__key"
"""Column with what people are told apart by, as it is compared."""
LEFT_OUT: Final = "__left_out"
"""Column with the reason why a user is not written; null for those who are."""

WITHOUT_CONSENT: Final = "without_consent"
"""The last reason to be looked at: none of the others holds for such a user."""
_AGREED: Final = "__agreed"
_REFUSED: Final = "__refused"
_PHONE: Final = "__phone:{}"
"""Columns with telephone numbers, beside those that are written."""

_SAMPLED: Final = 64
_ACTS: Final = {"entries": "enter", "exits": "exit"}


@dataclass(frozen=True)
class Unit:
    """One segment and what of it is exported."""

    segment: str
    kind: Kind


@dataclass(frozen=True)
class IdRange:
    """User ids from `start` on and before `end`, in their order; None is no bound."""

    start: int | str | None
    end: int | str | None

    def contains(self, user_id: pl.Expr) -> pl.Expr:
        """Whether an id lies in the range."""
        bounds = []
        if self.start is not None:
            bounds.append(user_id >= self.start)
        if self.end is not None:
            bounds.append(user_id < self.end)
        return pl.all_horizontal(bounds) if bounds else pl.lit(True)


def id_ranges(published: Published, rows: int = ROWS_PER_RANGE) -> list[IdRange]:
    """Ranges of about so many users each, ascending, that hold every id there can be."""
    wanted = -(-published.users // rows)
    if wanted <= 1:
        return [IdRange(None, None)]
    samples = []
    step = min(_SAMPLED, rows)
    for path in published.files("features"):
        ids = pl.scan_parquet(path, glob=False, hive_partitioning=False).select("user_id")
        samples.append(ids.collect()["user_id"].gather_every(step))
    sample = pl.concat(samples).sort()
    cuts = sorted({sample[sample.len() * place // wanted] for place in range(1, wanted)})
    return [IdRange(start, end) for start, end in pairwise([None, *cuts, None])]


def count_members(published: Published, names: Collection[str]) -> dict[str, int]:
    """Users of each segment that has any, as they are published."""
    scan = pl.scan_parquet(published.files("memberships"), glob=False, hive_partitioning=False)
    counted = scan.filter(pl.col("segment").is_in(sorted(names))).group_by("segment").len().collect(engine="streaming")
    return {str(name): int(users) for name, users in counted.iter_rows()}


def read_units(
    published: Published, plan: Plan, units: Sequence[Unit], keys: IdRange, suppressed: Suppressed
) -> Iterator[tuple[Unit, pl.DataFrame]]:
    """The users of each unit in a range of ids, sorted by id.

    Yields:
        Unit and frame, one row per user: the columns of the plan, `KEY`, and `LEFT_OUT`: `without_contact`,
        `without_address`, `invalid_address`, `refused`, `suppressed`, `address_suppressed`, `without_consent`, or null.
        Who leaves is told with and without a consent: the tool is to forget them. Beside each column of
        `plan.objecting` stands whether it was emptied (`emptied`).

    Raises:
        DataError: Contacts with two rows for one user, or that cannot be read.
        IntegrityError: Published files are not there or cannot be read.
    """
    rows = _memberships(published, units, keys)
    people = _people(published, plan, rows.select("user_id").unique().sort("user_id"), keys, suppressed)
    for unit in units:
        own = rows.filter((pl.col("segment") == unit.segment) & (pl.col("kind") == unit.kind)).drop("kind")
        told = own.join(people, on="user_id", how="left", maintain_order="left").with_columns(
            as_of=pl.lit(published.as_of, pl.Date)
        )
        if plan.agreed is not None and unit.kind != "exits":
            lacks = _lacks_consent(plan.agreed.asked(unit.segment))
            told = told.with_columns(
                pl.coalesce(LEFT_OUT, pl.when(lacks).then(pl.lit(WITHOUT_CONSENT))).alias(LEFT_OUT)
            )
        asked = 0 if plan.agreed is None else plan.agreed.asked(unit.segment)
        for cell in () if plan.objecting is None else plan.objecting.cells:
            told = _emptied(told, cell, asked) if cell.name in told.columns else told
        yield unit, told


def emptied(name: str) -> str:
    """Column that says whether a cell was emptied: somebody else has the number who objects or has withdrawn."""
    return f"__emptied:{name}"


def _emptied(rows: pl.DataFrame, cell: Cell, asked: int) -> pl.DataFrame:
    value = cell.compared(pl.col(cell.name))
    refusing = cell.refusing.filter((pl.col("refused") & pl.lit(asked, pl.UInt32)) != 0)["value"]
    gone = value.is_in(cell.objecting.implode()) | value.is_in(refusing.implode())
    told = rows.with_columns(gone.fill_null(value=False).alias(emptied(cell.name)))
    return told.with_columns(pl.when(~pl.col(emptied(cell.name))).then(pl.col(cell.name)).alias(cell.name))


def _memberships(published: Published, units: Sequence[Unit], keys: IdRange) -> pl.DataFrame:
    """One row per user and unit: `user_id`, `segment`, `entered_on`, `kind`; sorted by user."""
    names = sorted({unit.segment for unit in units})
    here = keys.contains(pl.col("user_id")) & pl.col("segment").is_in(names)
    columns = ["user_id", "segment", "entered_on"]
    members = published.read("memberships", columns, here)
    parts = [members.with_columns(kind=pl.lit("members"))]
    acts = {kind: act for kind, act in _ACTS.items() if any(unit.kind == kind for unit in units)}
    if acts:
        changed = published.read("membership_changes", ["user_id", "segment", "change"], here)
        joined = changed.join(members, on=["user_id", "segment"], how="left")
        for kind, act in acts.items():
            parts.append(joined.filter(pl.col("change") == act).select(*columns, kind=pl.lit(kind)))
    return pl.concat(parts).sort("user_id", "segment", "kind")


def _people(
    published: Published, plan: Plan, users: pl.DataFrame, keys: IdRange, suppressed: Suppressed
) -> pl.DataFrame:
    """What is written about users, and why not; one row per user."""
    people = users.with_columns(__id=pl.col("user_id").cast(pl.String))
    for table in dict.fromkeys(table for table, _, _ in plan.published):
        own = {name: column for of, name, column in plan.published if of == table}
        found = published.read(table, ["user_id", *own.values()], keys.contains(pl.col("user_id")))
        renamed = found.select("user_id", *(pl.col(column).alias(name) for name, column in own.items()))
        people = people.join(renamed, on="user_id", how="left", maintain_order="left")
    phones = [_PHONE.format(name) for name in plan.phones]
    if plan.files:
        contacts = _contacts(plan, keys, people.schema["user_id"])
        people = people.join(contacts, on="__id", how="left", maintain_order="left")
    else:
        people = people.with_columns(__known=pl.lit(True), email=pl.lit(None, pl.String), client_id=pl.lit(None))
    address = compared(pl.col("email"))
    key = {"email": address, "client_id": pl.col("client_id"), "user_id": pl.col("__id")}[plan.key]
    people = people.with_columns(key.alias(KEY))
    unknown = pl.col("__known").is_null() & (plan.key != "user_id")
    reasons = {
        "without_contact": unknown,
        "without_address": pl.col(KEY).is_null(),
        "invalid_address": ~is_address(pl.col("email")) if plan.key == "email" else pl.lit(False),
        "refused": refused(plan.tool, pl.col("email")),
        "suppressed": suppressed.holds(address, pl.col("__id"), named_phones(phones)),
        "address_suppressed": pl.lit(False)
        if plan.objecting is None
        else pl.col(KEY).is_in(plan.objecting.keys.implode()).fill_null(value=False),
    }
    first = pl.coalesce(pl.when(holds).then(pl.lit(reason)) for reason, holds in reasons.items())
    told = people.with_columns(first.alias(LEFT_OUT)).drop("__id", "__known", *phones)
    if plan.agreed is None or plan.refusing is None:
        return told
    return _with_consents(told, plan.agreed, plan.refusing, keys)


def _with_consents(people: pl.DataFrame, agreed: Agreed, refusing: pl.DataFrame, keys: IdRange) -> pl.DataFrame:
    """Users with what they agreed to, and what anybody refused who has their key (UInt32)."""
    own = pl.scan_parquet(agreed.users, glob=False, hive_partitioning=False).filter(keys.contains(pl.col("user_id")))
    return (
        people.join(own.rename({"purposes": _AGREED}).collect(), on="user_id", how="left", maintain_order="left")
        .join(refusing.rename({"refused": _REFUSED}), on=KEY, how="left", maintain_order="left")
        .with_columns(pl.col(_AGREED, _REFUSED).fill_null(0))
    )


def _lacks_consent(asked: int) -> pl.Expr:
    wanted = pl.lit(asked, pl.UInt32)
    return ((pl.col(_AGREED) & wanted) != wanted) | ((pl.col(_REFUSED) & wanted) != 0)


def with_refusals(config: Config, plan: Plan, suppressed: Suppressed) -> Plan:
    """A plan with what others object to or refused: an address that somebody else has, too, is the address of both.

    Args:
        config: The configuration.
        plan: What is written, with what users agreed to.
        suppressed: The lists, with linked ids.

    Raises:
        DataError: Contacts that cannot be read.
    """
    column = {"email": plan.address, "client_id": plan.client_id, "user_id": None}[plan.key]
    text = _own_text(column)
    key = compared(text) if plan.key == "email" else text
    nothing = None if plan.agreed is None else pl.DataFrame(schema={KEY: pl.String, "refused": pl.UInt32})
    if not plan.files:
        return replace(plan, refusing=nothing)
    user_id = id_expression(pl.col(plan.user_id).cast(pl.String), plan.ids)
    with _reading_contacts(plan.files):
        rows = _rows_of_contacts(plan).with_columns(user_id=user_id)
        plan = replace(plan, objecting=find_objecting(config, plan, rows, key, suppressed), refusing=nothing)
        if plan.agreed is None or column is None:
            return plan
        contacts = rows.select("user_id", key.alias(KEY))
        refusals = pl.scan_parquet(plan.agreed.refused, glob=False, hive_partitioning=False)
        found = contacts.drop_nulls().join(refusals, on="user_id", how="inner").select(KEY, "refused").collect()
    return replace(plan, refusing=found.group_by(KEY).agg(pl.col("refused").bitwise_or()))


def _contacts(plan: Plan, keys: IdRange, dtype: pl.DataType) -> pl.DataFrame:
    """Contacts of a range of ids: `__id` (text), `__known`, `email`, `client_id` and the columns of the plan."""
    user_id = id_expression(pl.col(plan.user_id).cast(pl.String), plan.ids)
    comparable = user_id if dtype == pl.String else user_id.cast(dtype, strict=False)
    own = {"email": plan.address, "client_id": plan.client_id}
    with _reading_contacts(plan.files):
        rows = (
            _rows_of_contacts(plan)
            .filter(keys.contains(comparable) & (user_id != ""))
            .select(
                user_id.alias("__id"),
                *(_own_text(column).alias(name) for name, column in own.items()),
                *(pl.col(column).alias(name) for name, column in dict(plan.contacts).items()),
                *(pl.col(column).alias(_PHONE.format(column)) for column in plan.phones),
            )
            .collect()
        )
    repeated = rows.height - rows["__id"].n_unique()
    if repeated:
        raise DataError(
            f"contacts: {repeated} rows or more repeat a user; expected one per {plan.user_id!r}",
            code="contacts-repeated",
            hint="Keep one row per user before the run.",
        )
    return rows.with_columns(__known=pl.lit(True))


def _rows_of_contacts(plan: Plan) -> pl.LazyFrame:
    if plan.table is not None:
        return plan.table.lazy()
    return pl.scan_parquet(list(plan.files), glob=False, hive_partitioning=False, extra_columns="ignore")


def _own_text(column: str | None) -> pl.Expr:
    return pl.lit(None, pl.String) if column is None else trimmed(pl.col(column).cast(pl.String))


@contextmanager
def _reading_contacts(files: Sequence[str]) -> Iterator[None]:
    with reading("contacts", files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"):
        yield
