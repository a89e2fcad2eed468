"""Addresses and numbers of people who object or were erased: they are not written for anybody else who has them either.

An objection is to being written to, so it holds for the address of whoever objects by an id alone, and for the other
users who share it; of the telephone number alike, whose cell is emptied. Of somebody who was erased it holds for as
long as the contacts have a row of them: nothing else keeps the address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.config import Config
from engine.contacts.cleaning import clean, cleaned_columns, read_lists
from engine.contacts.ids import user_ids
from engine.contacts.text import as_text, is_textual
from engine.exports.addresses import compared, trimmed
from engine.exports.listed import compared_phone, named_phones
from engine.exports.suppression import Suppressed
from engine.privacy.ids import as_kept, id_rules, rows_erased
from engine.privacy.key import load_key

if TYPE_CHECKING:
    from engine.exports.plan import Plan

_VALUES: Final = {"value": pl.String, "refused": pl.UInt32}


@dataclass(frozen=True, eq=False)
class Cell:
    """A column of the contacts by which people are reached, beside what the tool tells them apart by.

    Attributes:
        name: Its name in the rows that are exported.
        column: Its name in the contacts.
        is_phone: Whether it has telephone numbers, and not addresses.
        objecting: Values of people who object or were erased, as they are compared.
        refusing: `value` and `refused` (UInt32): what people refused who have the value; a row each.
    """

    name: str
    column: str
    is_phone: bool
    objecting: pl.Series
    refusing: pl.DataFrame

    def compared(self, value: pl.Expr) -> pl.Expr:
        """The column as it is compared."""
        return compared_phone(value) if self.is_phone else compared(value.cast(pl.String))


@dataclass(frozen=True, eq=False)
class Objecting:
    """What is not written of anybody, because somebody else has it who objects or was erased.

    Attributes:
        keys: What people are told apart by, as it is compared.
        cells: Other columns by which people are reached.
    """

    keys: pl.Series
    cells: tuple[Cell, ...]


def find_objecting(config: Config, plan: Plan, rows: pl.LazyFrame, key: pl.Expr, suppressed: Suppressed) -> Objecting:
    """The addresses and numbers of people who object, who were erased, or who refused something.

    Args:
        config: With `[contacts]`.
        plan: What is written; with files of the contacts.
        rows: The contacts of the plan with `user_id`, as the tables have it.
        key: What people are told apart by, as it is compared, of these rows.
        suppressed: The lists, with linked ids.
    """
    columns = _reaching(config, plan)
    named = [name for _, name, _ in columns]
    address = pl.lit(None, pl.String) if plan.address is None else compared(pl.col(plan.address).cast(pl.String))
    on = suppressed.holds(address, pl.col("user_id"), named_phones(plan.phones))
    cells = [pl.col(name).alias(f"cell:{name}") for name in named]
    wanted = rows.select("user_id", key.alias("key"), on.alias("objects"), *cells)
    gone = _gone_rows(config, plan, suppressed, named)
    found = [wanted.filter("objects").collect(), *([] if gone is None else [gone])]
    refused = None
    if plan.agreed is not None and named:
        refusals = pl.scan_parquet(plan.agreed.refused, glob=False, hive_partitioning=False)
        refused = wanted.join(refusals, on="user_id", how="inner").collect()
    keys = [one["key"].cast(pl.String) for one in found if "key" in one.columns]
    return Objecting(
        pl.concat([pl.Series("key", [], pl.String), *keys]).drop_nulls().unique().sort(),
        tuple(_cell(name, column, found, refused, is_phone=is_phone) for name, column, is_phone in columns),
    )


def _reaching(config: Config, plan: Plan) -> list[tuple[str, str, bool]]:
    """Name in the rows and in the contacts of each column that reaches people, and whether it has numbers."""
    contacts, exports = config.contacts, config.exports
    if contacts is None:
        return []
    phones = {exports.phone, contacts.cleaning.phone} - {None}
    addresses = {exports.email, contacts.cleaning.email} - {None, plan.address if plan.key == "email" else None}
    return [(name, column, column in phones) for name, column in plan.contacts if column in phones | addresses]


def _cell(
    name: str, column: str, found: Sequence[pl.DataFrame], refused: pl.DataFrame | None, *, is_phone: bool
) -> Cell:
    cell = Cell(name, column, is_phone, pl.Series("value", [], pl.String), pl.DataFrame(schema=_VALUES))
    value = cell.compared(pl.col(f"cell:{column}")).alias("value")
    held = [one.select(value)["value"] for one in found if f"cell:{column}" in one.columns]
    objecting = pl.concat([cell.objecting, *held]).drop_nulls().unique().sort()
    if refused is None:
        return replace(cell, objecting=objecting)
    told = refused.select(value, "refused").drop_nulls("value")
    return replace(
        cell, objecting=objecting, refusing=told.group_by("value").agg(pl.col("refused").bitwise_or()).sort("value")
    )


def _gone_rows(config: Config, plan: Plan, suppressed: Suppressed, named: Sequence[str]) -> pl.DataFrame | None:
    """Rows of the files that a run does not see: of erased people, and of objecting ones that a rule leaves out.

    Returns:
        `key` and the columns named, as far as the files have them; None where the rows of the plan are all there are.
    """
    contacts, rules = config.contacts, id_rules(config)
    if contacts is None or (rules.tombstones is None and plan.table is None):
        return None
    scan = pl.scan_parquet(list(plan.files), glob=False, hive_partitioning=False, extra_columns="ignore")
    schema = scan.collect_schema()
    column = {"email": plan.address, "client_id": plan.client_id, "user_id": None}[plan.key]
    asked = [name for name in dict.fromkeys((column, *named)) if name is not None and name in schema]
    if not asked:
        return None
    # Ids first: nobody else's address is looked at.
    ids = user_ids(scan.select(user_id=pl.col(contacts.user_id)).collect(), "user_id")["user_id"].unique().drop_nulls()
    erased = pl.Series("user_id", [], pl.String)
    if rules.key is not None and rules.tombstones is not None:
        erased = ids.filter(rows_erased(ids, rules, load_key(rules.key, rules.key_id)))
    kept = as_kept(ids.to_frame().with_columns(source=pl.col("user_id")), rules, "user_id")
    listed = kept.filter(suppressed.holds(pl.lit(None, pl.String), pl.col("user_id")))["source"]
    concerned = pl.concat([erased, listed.alias("user_id")]).implode()
    text = pl.col(contacts.user_id).cast(pl.String)
    rows = scan.filter(text.is_in(concerned)).select(asked).collect()
    made = [as_text(name, schema[name]) if is_textual(schema[name]) else pl.col(name).cast(pl.String) for name in asked]
    rows = rows.select(expr.alias(name) for name, expr in zip(asked, made, strict=True))
    cleaning = contacts.cleaning.model_copy(
        update={
            "names": (),
            "email": contacts.cleaning.email if contacts.cleaning.email in asked else None,
            "phone": contacts.cleaning.phone if contacts.cleaning.phone in asked else None,
            "invalid": "keep",
        }
    )
    if cleaned_columns(cleaning):
        # A list of roles or domains changes no address.
        cleaning = cleaning.model_copy(update={"role_names": None, "disposable_domains": None})
        rows = clean(rows, cleaning, read_lists(cleaning))[0]
    own = [] if column not in asked or column is None else [_key(plan, column).alias("key")]
    return rows.select(*own, *(pl.col(name).alias(f"cell:{name}") for name in named if name in asked))


def _key(plan: Plan, column: str) -> pl.Expr:
    text = pl.col(column)
    return compared(text) if plan.key == "email" else trimmed(text)
