"""Pairs and decisions: what was decided about each pair that was found, and what is merged without asking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

import polars as pl

from engine.config_contacts import Duplicates
from engine.contacts.duplicates.decisions import Act, By, Pair, merged_pairs, pair_of
from engine.contacts.duplicates.groups import group_links

REVIEW: Final = "review"
DECISIONS: Final = ("review", "merged", "confirmed", "undone", "refused")
"""What a pair can be: for a person to decide; merged without asking; merged by a person; merged no more; two people."""
_DECIDED: Final = {"undo": "undone", "refuse": "refused"}


def decision_of(act: Act) -> str:
    """The word for what was decided about a pair."""
    return _DECIDED.get(act.kind) or ("confirmed" if act.by == "person" else "merged")


def with_decisions(pairs: pl.DataFrame, decided: Mapping[Pair, Act]) -> pl.DataFrame:
    """Pairs with the column `decision`, one of `DECISIONS`; pairs that others have made one person are `merged`."""
    known = pl.DataFrame(
        [(*pair, decision_of(act)) for pair, act in decided.items()],
        {"user_id": pl.String, "other_id": pl.String, "decision": pl.String},
        orient="row",
    )
    links = group_links(merged_pairs(decided.values()))
    ends = {
        name: pl.col(name).replace(links["from_id"], links["to_id"]) if links.height else pl.col(name)
        for name in ("user_id", "other_id")
    }
    joined = pairs.join(known, on=["user_id", "other_id"], how="left", maintain_order="left")
    implied = pl.when(ends["user_id"] == ends["other_id"]).then(pl.lit("merged")).otherwise(pl.lit(REVIEW))
    return joined.with_columns(pl.coalesce("decision", implied).alias("decision"))


def merged_unasked(settings: Duplicates) -> pl.Expr:
    """Which pairs the configuration merges without asking; never equal values that too many share."""
    exact = (pl.col("kind") == "exact") & (pl.col("group_size") <= settings.largest_group)
    alike = (
        pl.lit(value=False)
        if settings.merge is None
        else (pl.col("score") >= round(settings.merge, 4)).fill_null(value=False)
    )
    return (exact & pl.lit(settings.merge_exact)) | alike


def automatic_merges(pairs: pl.DataFrame, settings: Duplicates, decided: Mapping[Pair, Act], on: date) -> list[Act]:
    """The merges that the configuration makes without asking, the surest first.

    A pair that is one person already is left as it is, and so is one that would make one person of two ids that were
    told apart (undone or refused).

    Args:
        pairs: As `find_pairs` gives them.
        settings: Section `contacts.duplicates`.
        decided: The act that counts of each pair.
        on: The day of the merges.
    """
    wanted = (
        pairs.filter(merged_unasked(settings))
        .with_row_index("place")
        .sort(pl.col("kind") != "exact", pl.col("score"), "place", descending=[False, True, False], nulls_last=True)
    )
    people = _People(decided.values())
    acts = []
    for first, second, kind in wanted.select("user_id", "other_id", "kind").iter_rows():
        if people.join(first, second):
            by: By = "exact" if kind == "exact" else "score"
            acts.append(Act("merge", pair_of(first, second), on, by))
    return acts


class _People:
    """Which ids are one person, and which must not be (union-find)."""

    def __init__(self, decided: Iterable[Act]) -> None:
        self._parents: dict[str, str] = {}
        self._apart: dict[str, set[str]] = {}
        acts = list(decided)
        for act in acts:
            if act.kind == "merge":
                self.join(*act.pair)
        for act in acts:
            first, second = map(self._root, act.pair)
            if act.kind != "merge" and first != second:
                self._apart.setdefault(first, set()).add(second)
                self._apart.setdefault(second, set()).add(first)

    def join(self, one: str, other: str) -> bool:
        """Make two ids one person; False when they are already, or must not be."""
        first, second = self._root(one), self._root(other)
        if first == second or second in self._apart.get(first, ()):
            return False
        self._parents[second] = first
        for third in self._apart.pop(second, ()):
            self._apart[third].discard(second)
            self._apart[third].add(first)
            self._apart.setdefault(first, set()).add(third)
        return True

    def _root(self, name: str) -> str:
        root = name
        while (above := self._parents.get(root)) is not None:
            root = above
        while (above := self._parents.get(name)) is not None:
            self._parents[name] = root
            name = above
        return root


def duplicate_share(pairs: pl.DataFrame, contacts: int, largest_group: int) -> tuple[int, int]:
    """Contacts that are in a group of duplicates, and how many of them are one too many.

    Pairs that were undone or refused make no group, and neither do equal values that too many share, unless they are
    merged.

    Args:
        pairs: With the column `decision`.
        contacts: Contacts.
        largest_group: Contacts that may be one person by an equal value.
    """
    is_crowd = (pl.col("group_size") > largest_group).fill_null(value=False)
    is_open = (pl.col("decision") == REVIEW) & ~is_crowd
    links = group_links(pairs.filter(is_open | pl.col("decision").is_in(["merged", "confirmed"])))
    groups = links["to_id"].n_unique()
    return min(contacts, links.height + groups), links.height
