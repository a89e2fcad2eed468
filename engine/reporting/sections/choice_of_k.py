"""How many clusters there are and why, and how well each one stands apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.reporting.message import Message, Name, Unit, say
from engine.reporting.model import Field, Figure, Section
from engine.reporting.sections.learnt import clusters, missing, number

if TYPE_CHECKING:
    from engine.clusters.record import Clustered
    from engine.reporting.facts import Facts

_CURVE: Final[tuple[tuple[str, Unit], ...]] = (
    ("k", "ordinal"),
    ("silhouette", "number"),
    ("gap", "number"),
    ("gap_error", "number"),
    ("bic", "number"),
    ("davies_bouldin", "number"),
    ("smallest_share", "share"),
)
_WEAK: Final = 0.25
"""Mean silhouette below which hardly a structure was found (Kaufman and Rousseeuw, "Finding Groups in Data", 1990)."""


def section(facts: Facts) -> Section:
    """The figures of every number of clusters that was tried, the chosen one marked."""
    title, found = say("choice_of_k.title"), clusters(facts)
    if found is None:
        return Section("choice_of_k", "scientist", title, missing=missing(facts, say("choice_of_k.none")))
    figures = [*_curves(found), *_silhouettes(found)]
    return Section(
        "choice_of_k",
        "scientist",
        title,
        sentences=tuple(_sentences(found)),
        figures=tuple(figures),
        alarms=tuple(_alarms(found)),
    )


def _sentences(found: Clustered) -> Iterator[Message]:
    k = len(found.clustering.ids)
    if len(found.curve) > 1:
        yield say("choice_of_k.chosen", k=k, least=found.curve[0].k, most=found.curve[-1].k, users=found.report.users)
    else:
        yield say("choice_of_k.given", k=k, users=found.report.users)
    if found.quality is not None:
        yield say("choice_of_k.mean_silhouette", silhouette=number(found.quality.silhouette))
    if found.kept is not None:
        yield say("choice_of_k.kept", bundle=Name(found.kept.bundle))
    for note in found.notes:
        yield say("choice_of_k.note", note=note)


def _alarms(found: Clustered) -> Iterator[Message]:
    if found.quality is not None and found.quality.silhouette < _WEAK:
        yield say("choice_of_k.alarm_weak", silhouette=number(found.quality.silhouette))


def _curves(found: Clustered) -> Iterator[Figure]:
    if len(found.curve) < 2:
        return
    table = pl.DataFrame(
        [[getattr(point, name) for name, _ in _CURVE] for point in found.curve],
        {name: pl.Int64 if name == "k" else pl.Float64 for name, _ in _CURVE},
        orient="row",
    )
    chosen = len(found.clustering.ids)
    for name in ("silhouette", "gap", "bic"):
        known = table.drop_nulls(name)
        if known.height > 1:
            yield _curve(name, known, chosen)


def _curve(name: str, table: pl.DataFrame, chosen: int) -> Figure:
    best = table.sort(name, "k", descending=[name != "bic", False])
    at = table.filter(pl.col("k") == chosen)
    value = None if at.is_empty() else at[name][0]
    key = "choice_of_k.best_title" if best["k"][0] == chosen else "choice_of_k.near_title"
    return Figure(
        key=f"clusters_{name}",
        kind="lines",
        title=say(
            key,
            measure=say(f"choice_of_k.{name}_long"),
            k=chosen,
            value=number(value),
            best=int(best["k"][0]),
            top=number(best[name][0]),
        ),
        definition=say(f"choice_of_k.{name}_definition"),
        table=table,
        fields=tuple(
            Field(column, say(f"choice_of_k.{column}"), unit)
            for column, unit in _CURVE
            if not table[column].is_null().all()
        ),
        x="k",
        y=name,
        marked=(str(chosen),),
    )


def _silhouettes(found: Clustered) -> Iterator[Figure]:
    if found.quality is None:
        return
    names, ids = found.names, found.clustering.ids
    everyone = sum(cluster.size for cluster in found.quality.clusters)
    rows = [
        (names[ids[cluster.cluster]], cluster.silhouette, cluster.radius, cluster.size / everyone)
        for cluster in found.quality.clusters
        if cluster.cluster < len(ids)
    ]
    rows.sort(key=lambda row: (-row[1], row[0]))
    if not rows:
        return
    yield Figure(
        key="clusters_silhouette_each",
        kind="bars",
        title=say(
            "choice_of_k.each_title",
            best=Name(rows[0][0], "cluster"),
            high=number(rows[0][1]),
            worst=Name(rows[-1][0], "cluster"),
            low=number(rows[-1][1]),
        )
        if len(rows) > 1
        else say("choice_of_k.one_title", best=Name(rows[0][0], "cluster"), high=number(rows[0][1])),
        definition=say("choice_of_k.each_definition"),
        table=pl.DataFrame(
            rows,
            {"cluster": pl.String, "silhouette": pl.Float64, "radius": pl.Float64, "share": pl.Float64},
            orient="row",
        ),
        fields=(
            Field("cluster", say("choice_of_k.cluster"), vocabulary="cluster"),
            Field("silhouette", say("choice_of_k.silhouette_of"), "number"),
            Field("radius", say("choice_of_k.radius"), "number"),
            Field("share", say("choice_of_k.share"), "share"),
        ),
        x="silhouette",
        y="cluster",
        marked=tuple(row[0] for row in rows if row[1] < _WEAK),
    )
