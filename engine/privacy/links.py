"""Links of ids as they are kept: as pseudonyms where that is asked for, and without people who were erased.

In: the links of `engine.events.identities`, with the ids of the sources. Out: links for the store, and the ids that
only now are known to be of somebody who was erased: a visitor who is linked to an erased account has no other user.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Exclude
from engine.events.exclusion import is_excluded
from engine.events.identities import own_id
from engine.privacy.ids import IdRules, kept_ids
from engine.privacy.key import load_key
from engine.privacy.tombstones import tombstones_in, with_linked, write_tombstones_to

TO_EXCLUDED: Final = "to_excluded"
FROM_EXCLUDED: Final = "from_excluded"
OWN_EXCLUDED: Final = "__own_excluded"
"""Column of rows whose ids are pseudonyms: whether the event's own id is excluded."""


@dataclass(frozen=True)
class KeptLinks:
    """Links, and what becomes of ids.

    Attributes:
        links: `from_id`, `to_id`; of pseudonyms also `TO_EXCLUDED` and `FROM_EXCLUDED` (Boolean), for what is excluded
            is said of the ids of the sources. None without links.
        ids: What becomes of ids, with the tombstones of those in `gone`.
        gone: Ids, as they are kept, that are of somebody who was erased and have no tombstone of their own yet.
        known: The links of the identity table alone, where `links` are also those of merged contacts.
    """

    links: pl.DataFrame | None
    ids: IdRules
    gone: pl.Series
    known: pl.DataFrame | None = None


def keep_links(links: pl.DataFrame | None, rules: IdRules, exclude: Exclude, work: Path | None = None) -> KeptLinks:
    """The links as they are kept.

    Args:
        links: `from_id`, `to_id`, with the ids of the sources; None without links.
        rules: What becomes of ids.
        exclude: Users who do not count.
        work: Where tombstones are written that only count once the run has gone well (see `settle`); without it, none
            are made.

    Raises:
        ConfigError: No key, or another one.
        IntegrityError: The tombstones are not those that the run began with.
    """
    if links is None or not rules.change_ids:
        return KeptLinks(links, rules, pl.Series("id", [], pl.String))
    ends = {name: kept_ids(links[name], rules) for name in ("from_id", "to_id")}
    told = ends["to_id"].erased & ~ends["from_id"].erased
    gone = links["from_id"].filter(told)
    kept = links
    if rules.pseudonyms:
        kept = links.select(
            *(found.ids.alias(name) for name, found in ends.items()),
            is_excluded(exclude, pl.col("to_id"), links.schema["to_id"]).alias(TO_EXCLUDED),
            is_excluded(exclude, pl.col("from_id"), links.schema["from_id"]).alias(FROM_EXCLUDED),
        )
    kept = kept.filter(~(ends["from_id"].erased | ends["to_id"].erased)).sort("from_id")
    if work is not None and gone.len() and rules.tombstones is not None and rules.key is not None:
        key = load_key(rules.key, rules.key_id)
        more = with_linked(tombstones_in(Path(rules.tombstones)), gone.cast(pl.String).to_list(), key)
        write_tombstones_to(more, work / "tombstones.json")
        rules = replace(rules, tombstones=str(work / "tombstones.json"), erased=more.digest)
    return KeptLinks(kept, rules, ends["from_id"].ids.filter(told))


def settle(kept: KeptLinks, file: Path) -> None:
    """Make the tombstones of `keep_links` those of the output root, once no row of these ids is left in the store.

    Args:
        kept: What `keep_links` gave.
        file: The file of the output root.
    """
    if kept.gone.len() and kept.ids.tombstones is not None and Path(kept.ids.tombstones) != file:
        write_tombstones_to(tombstones_in(Path(kept.ids.tombstones)), file)


def resolve_pseudonyms(rows: pl.DataFrame, links: pl.DataFrame | None) -> pl.DataFrame:
    """As `engine.events.identities.resolve`, of pseudonyms; `OWN_EXCLUDED` becomes whether their user is excluded."""
    resolved = rows.with_columns(user_id=own_id(rows))
    if links is None or links.is_empty():
        return resolved
    linked = links.select("to_id", TO_EXCLUDED, user_id="from_id")
    joined = resolved.join(linked, on="user_id", how="left", maintain_order="left")
    return joined.with_columns(
        pl.coalesce("to_id", "user_id").alias("user_id"), pl.coalesce(TO_EXCLUDED, OWN_EXCLUDED).alias(OWN_EXCLUDED)
    ).drop("to_id", TO_EXCLUDED)
