"""Whether the clusters would be found again, and how users moved between those of two fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.reporting.masking import hidden_cells
from engine.reporting.message import Message, Name, say
from engine.reporting.model import Field, Figure, Section
from engine.reporting.sections.learnt import clusters, missing, number, share

if TYPE_CHECKING:
    from engine.clusters.moves import Moves
    from engine.clusters.record import Clustered
    from engine.reporting.facts import Facts

THERE: Final = 0.75
"""Jaccard similarity from which a cluster is there (C. Hennig, 2007)."""
_TOLD: Final = ("merged", "split", "vanished", "new")


def section(facts: Facts) -> Section:
    """Stability over bootstrap samples, what became of the clusters of the fit before, and the moves of users."""
    title, found = say("stability.title"), clusters(facts)
    if found is None:
        return Section("stability", "scientist", title, missing=missing(facts, say("choice_of_k.none")))
    stability, moves = found.stability, found.moves
    absent = None
    if stability is None:
        absent = say("stability.not_asked")
    figures = [*_jaccards(found), *([] if moves is None else _moves(found, moves, facts.min_cell))]
    return Section(
        "stability",
        "scientist",
        title,
        sentences=tuple(_sentences(found)),
        figures=tuple(figures),
        missing=absent,
        alarms=tuple(_alarms(found)),
    )


def _sentences(found: Clustered) -> Iterator[Message]:
    if found.stability is not None:
        yield say(
            "stability.ari",
            ari=number(found.stability.ari),
            low=number(found.stability.ari_low),
            resamples=found.stability.resamples,
        )
    if found.moves is None:
        yield say("stability.first" if found.identity.note is None else "stability.not_compared")
    else:
        yield say(
            "stability.moved",
            share=share(found.moves.moved_share),
            ari=number(found.moves.ari),
        )
    for event in found.identity.events:
        if event.kind in _TOLD and found.moves is not None:
            others = tuple(say("learnt.quoted", name=_name(found, other)) for other in event.others)
            key = f"stability.{event.kind}" if others else f"stability.{event.kind}_alone"
            yield say(key, cluster=_name(found, event.cluster), **({"others": others} if others else {}))


def _alarms(found: Clustered) -> Iterator[Message]:
    if found.stability is None:
        return
    for place in found.stability.unstable:
        if place < len(found.clustering.ids):
            name, jaccard = found.clustering.names[place], found.stability.jaccards[place]
            yield say("stability.alarm", cluster=Name(name, "cluster"), jaccard=number(jaccard))


def _name(found: Clustered, cluster: int) -> Message | Name:
    """A cluster that is gone has no name any more."""
    name = found.names.get(cluster)
    return say("stability.gone", cluster=str(cluster)) if name is None else Name(name, "cluster")


def _jaccards(found: Clustered) -> Iterator[Figure]:
    if found.stability is None:
        return
    rows = [
        (name, jaccard)
        for name, jaccard in zip(found.clustering.names, found.stability.jaccards, strict=False)
        if jaccard is not None
    ]
    if not rows:
        return
    rows.sort(key=lambda row: (-row[1], row[0]))
    there = sum(jaccard >= THERE for _, jaccard in rows)
    yield Figure(
        key="clusters_stability",
        kind="bars",
        title=say("stability.each_title", there=there, all=len(rows)),
        definition=say(
            "stability.each_definition",
            resamples=found.stability.resamples,
        ),
        table=pl.DataFrame(rows, {"cluster": pl.String, "jaccard": pl.Float64}, orient="row"),
        fields=(
            Field("cluster", say("choice_of_k.cluster"), vocabulary="cluster"),
            Field("jaccard", say("stability.jaccard"), "number"),
        ),
        x="jaccard",
        y="cluster",
        marked=tuple(name for name, jaccard in rows if jaccard < THERE),
    )


def _moves(found: Clustered, moves: Moves, min_cell: int) -> Iterator[Figure]:
    if not moves.counts:
        return
    known = {(old, new): users for old, new, users in moves.counts}
    cells = {(str(old), str(new)): known.get((old, new), 0) for old in moves.old_sizes for new in moves.new_sizes}
    hidden = hidden_cells(cells, min_cell)
    names = {str(cluster): name for cluster, name in found.names.items()}
    # What is hidden must look like nobody, or nobody would tell who is hidden.
    rows = [
        (names.get(old, f"#{old}"), names.get(new, f"#{new}"), None if (old, new) in hidden else users)
        for (old, new), users in cells.items()
    ]
    most = max(
        ((users, old, new) for (old, new), users in cells.items() if old != new and (old, new) not in hidden),
        default=(0, "", ""),
    )
    title = say("stability.moves_title_none", share=share(moves.moved_share))
    if most[0]:
        title = say(
            "stability.moves_title",
            users=most[0],
            old=_name(found, int(most[1])),
            new=_name(found, int(most[2])),
            share=share(moves.moved_share),
        )
    yield Figure(
        key="clusters_moves",
        kind="heat",
        title=title,
        definition=say("stability.moves_definition", users=moves.users, few=min_cell),
        table=pl.DataFrame(rows, {"old": pl.String, "new": pl.String, "users": pl.Int64}, orient="row"),
        fields=(
            Field("old", say("stability.old"), vocabulary="cluster"),
            Field("new", say("stability.new_cluster"), vocabulary="cluster"),
            Field("users", say("cluster_profiles.users"), "count"),
        ),
        x="new",
        y="old",
        colour="users",
        users="users",
    )
