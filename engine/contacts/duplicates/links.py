"""Merged contacts as links of ids, so that events, features and memberships follow; and the contact that is left.

In: the pairs that are merged, and the links of the identity table. Out: one set of links, as `engine.events.identities`
gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from engine.config import Exclude
from engine.contacts.duplicates.decisions import merged_pairs, read_decisions
from engine.contacts.duplicates.groups import group_links
from engine.contacts.duplicates.order import id_order
from engine.events.identities import final_links
from engine.privacy.ids import IdRules, kept_ids
from engine.privacy.links import FROM_EXCLUDED, TO_EXCLUDED
from engine.rollups.parts import write_part

Enriched = tuple[str | None, tuple[str, ...]]
"""The column of the contacts that an enrichment is matched with, None for the user, and the columns it adds."""


def with_merges(links: pl.DataFrame | None, out: Path, user_dtype: pl.DataType) -> pl.DataFrame | None:
    """The links of an identity table together with the merges that were decided in an output root.

    A merge says that two ids are one person; so are the ids that these are linked to. Of the ids at the end of links
    that are one person the first stays (`id_order`), and all others lead to it.

    Args:
        links: The `links` of `Identities`; None without an identity table.
        out: The output root.
        user_dtype: Int64 or String: the type of the user ids of the events. Ids that are none of it have no events.

    Returns:
        The links; None without an identity table and without merges.

    Raises:
        IntegrityError: The decisions are damaged.
    """
    pairs = merged_pairs(read_decisions(out))
    return links if pairs.is_empty() else joined_links(links, pairs, user_dtype)


def joined_links(links: pl.DataFrame | None, pairs: pl.DataFrame, user_dtype: pl.DataType) -> pl.DataFrame:
    """The links of an identity table together with merged pairs (`user_id`, `other_id`, text)."""
    # Of text first: an id that no event can have may be what makes two others one person.
    groups = group_links(pairs)
    members = pl.concat([groups, groups.select("to_id").unique().select(from_id="to_id", to_id="to_id")])
    possible = members.with_columns(id=_of_events("from_id", user_dtype)).drop_nulls("id").sort("to_id", "id")
    typed = possible.select(from_id="id", to_id=pl.col("id").first().over("to_id"))
    known = pl.DataFrame(schema={"from_id": user_dtype, "to_id": user_dtype}) if links is None else links
    merges = group_links(typed.select(user_id=_end("from_id", known), other_id=_end("to_id", known)))
    rows = pl.concat([known.select("from_id", "to_id"), merges.select(pl.all().cast(user_dtype))])
    placed = rows.with_row_index("row").select(
        "from_id", "to_id", at=pl.lit(None, pl.Int64), file=pl.lit(0, pl.UInt32), row=pl.col("row").cast(pl.Int64)
    )
    return final_links(placed, ["the merged contacts"])


def _of_events(name: str, user_dtype: pl.DataType) -> pl.Expr:
    """The id that events have of one in text; null where they cannot have it: `007` is not the user 7."""
    user_id = pl.col(name).cast(user_dtype, strict=False)
    return pl.when(user_id.cast(pl.String) == pl.col(name)).then(user_id)


def _end(name: str, links: pl.DataFrame) -> pl.Expr:
    ends = pl.col(name)
    if not links.is_empty():
        ends = ends.replace(links["from_id"], links["to_id"])
    return ends.cast(pl.String)


def with_exclusions(links: pl.DataFrame, known: pl.DataFrame | None, rules: IdRules, exclude: Exclude) -> pl.DataFrame:
    """Links of pseudonyms with what `engine.privacy.links` keeps of their ends: whether they are excluded.

    Of an id that is merged it is known by the list of excluded ids alone: a pattern needs the id of the source.

    Args:
        links: `from_id` and `to_id`.
        known: The links of the identity table, with what is known; None without.
        rules: How pseudonyms are made.
        exclude: Users who do not count.
    """
    if TO_EXCLUDED in links.columns:
        return links
    listed = kept_ids(pl.Series("id", list(dict.fromkeys(map(str, exclude.user_ids))), pl.String), rules).ids
    told = [listed]
    if known is not None:
        told += [known.filter(is_out)[name] for name, is_out in (("from_id", FROM_EXCLUDED), ("to_id", TO_EXCLUDED))]
    excluded = pl.concat([one.alias("id") for one in told]).unique().implode()
    return links.with_columns(
        pl.col("to_id").is_in(excluded).alias(TO_EXCLUDED), pl.col("from_id").is_in(excluded).alias(FROM_EXCLUDED)
    )


def stage_merged(links: pl.DataFrame | None, known: pl.DataFrame | None, out: Path, work: Path) -> str | None:
    """The file of `merged_links` in the work folder of a run, for the task that reads the contacts; None without."""
    merged = merged_links(links, known, out)
    if merged is None:
        return None
    path = str(work / "merged_contacts.parquet")
    write_part(merged, path)
    return path


def merged_links(links: pl.DataFrame | None, known: pl.DataFrame | None, out: Path) -> pl.DataFrame | None:
    """The ids whose contacts are one person's by a decision, each with the id that stays; None without merges.

    Whom a merged id was linked to is one of them. Ids that an identity table alone links keep their own contacts.

    Args:
        links: As `with_merges` gives them.
        known: The links of the identity table alone; None without.
        out: The output root.

    Returns:
        `from_id` and `to_id`, text, sorted; None when there are none.

    Raises:
        IntegrityError: The decisions are damaged.
    """
    if links is None:
        return None
    pairs = merged_pairs(read_decisions(out))
    named = pl.concat([pairs["user_id"], pairs["other_id"]]).alias("id")
    if known is not None:
        ends = known.select(pl.col("from_id", "to_id").cast(pl.String)).filter(pl.col("from_id").is_in(named.implode()))
        named = pl.concat([named, ends["to_id"].alias("id")])
    text = links.select(pl.col("from_id", "to_id").cast(pl.String))
    found = text.filter(pl.col("from_id").is_in(named.implode())).sort("from_id")
    return None if found.is_empty() else found


def fill_merged(
    contacts: pl.DataFrame,
    links: pl.DataFrame | None,
    valid_from: str | None = None,
    flags: Mapping[str, Sequence[str]] | None = None,
    enriched: Sequence[Enriched] = (),
) -> pl.DataFrame:
    """Contacts with one person's rows made one: the row of the id that stays, its nulls filled from the others.

    Of the others the first in the order of ids (`id_order`) that has a value gives it. With history, the person has a
    row for each instant at which one of the rows begins to hold, made of the rows that hold then. Columns of one
    enrichment are of one row: of that whose value in the column it is matched with is taken; of one that is matched by
    user the first that has a value in any of them.

    Args:
        contacts: `user_id` (text) and attributes; one row per user, and with `valid_from` per instant.
        links: As `merged_links` gives them; None for no merges.
        valid_from: Column with the instant from which a row holds.
        flags: Columns and those that tell of their values: these are of the row whose value is taken.
        enriched: The columns that enrichments have added, in their order; the columns they are matched with are there.

    Returns:
        The rows of everybody else in their order, then those of merged people.
    """
    if links is None or links.is_empty():
        return contacts
    ends = pl.concat([links, links.select("to_id").unique().select(from_id="to_id", to_id="to_id")])
    concerned = contacts.join(ends.rename({"from_id": "user_id"}), on="user_id", how="inner")
    others = contacts.join(ends.select(user_id="from_id"), on="user_id", how="anti", maintain_order="left")
    stays = pl.col("user_id") == pl.col("to_id")
    names = [name for name in contacts.columns if name not in {"user_id", valid_from}]
    if valid_from is not None:
        concerned = _at_every_instant(concerned, valid_from)
    by = ["to_id"] if valid_from is None else ["to_id", valid_from]
    ordered = concerned.with_columns(__stays=stays).sort(
        *by, pl.col("__stays"), *id_order("user_id"), descending=[*(False for _ in by), True, False, False, False]
    )
    told = {flag: name for name, own in (flags or {}).items() if name in names for flag in own}
    rows_of = _rows_of(enriched, names)
    one = ordered.group_by(by, maintain_order=True).agg(
        pl.col(name).filter(rows_of[name]).first() if name in rows_of else _taken(name, told.get(name))
        for name in names
    )
    return pl.concat([others, one.rename({"to_id": "user_id"}).select(contacts.columns)])


def _rows_of(enriched: Sequence[Enriched], names: Sequence[str]) -> dict[str, pl.Expr]:
    """By enriched column, which rows its value may be of; it is that of the first."""
    found: dict[str, pl.Expr] = {}
    for on, columns in enriched:
        own = [name for name in columns if name in names]
        if on is None or on not in names:
            mine = pl.any_horizontal(pl.col(name).is_not_null() for name in own) if own else pl.lit(value=False)
        else:
            mine = found.get(on, pl.col(on).is_not_null())
        found |= dict.fromkeys(own, mine)
    return found


def _taken(name: str, of: str | None) -> pl.Expr:
    """The first value that is there; of a flag that of the first row with a value in `of`, where one has any."""
    first = pl.col(name).drop_nulls().first()
    if of is None:
        return first
    has = pl.col(of).is_not_null()
    return pl.when(has.any()).then(pl.col(name).filter(has).first()).otherwise(first).alias(name)


def _at_every_instant(rows: pl.DataFrame, valid_from: str) -> pl.DataFrame:
    """For each instant of a person, the row of each id that holds then."""
    instants = rows.select("to_id", valid_from).unique()
    members = rows.select("to_id", "user_id").unique()
    wanted = instants.join(members, on="to_id").sort(valid_from, "user_id")
    # Null is earlier than any instant, and a join by time knows no nulls.
    place = pl.col(valid_from).rank("dense").fill_null(0)
    places = rows.select(valid_from).unique().with_columns(__place=place)
    known = rows.join(places, on=valid_from, nulls_equal=True).sort("__place", "user_id").drop(valid_from, "to_id")
    asked = wanted.join(places, on=valid_from, nulls_equal=True).sort("__place", "user_id")
    return asked.join_asof(known, on="__place", by="user_id", strategy="backward").drop("__place")
