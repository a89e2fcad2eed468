"""What the users of each cluster are like, beside all users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.clusters.moves import APART
from engine.reporting.masking import hidden_rows
from engine.reporting.message import Message, Name, Quantity, say
from engine.reporting.model import Field, Figure, Section
from engine.reporting.sections.learnt import MOST_ROWS, clusters, missing, number, share

if TYPE_CHECKING:
    from engine.clusters.profiles import Profile
    from engine.clusters.record import Clustered
    from engine.reporting.facts import Facts

MOST_CLUSTERS: Final = 12
"""Clusters of the heat map: the largest."""
MOST_COLUMNS: Final = 6
"""Clusters of the table of means."""
_LEVELS: Final = 20


def section(facts: Facts) -> Section:
    """Size, value and representative figures of the clusters; clusters of a few people are left out."""
    title, found = say("cluster_profiles.title"), clusters(facts)
    if found is None:
        return Section("cluster_profiles", "scientist", title, missing=missing(facts, say("choice_of_k.none")))
    if not found.profiles:
        return Section("cluster_profiles", "scientist", title, missing=say("cluster_profiles.none"))
    hidden = hidden_rows([profile.users for profile in found.profiles], facts.min_cell)
    # Of the others, the means would tell those of a single hidden cluster, as the mean of all users is known.
    shown = [profile for profile, gone in zip(found.profiles, hidden, strict=True) if not gone and profile.users]
    shown.sort(key=lambda profile: (-profile.users, profile.cluster))
    if not shown:
        return Section("cluster_profiles", "scientist", title, missing=say("cluster_profiles.few", few=facts.min_cell))
    sentences = [_told(found, profile) for profile in shown[:MOST_CLUSTERS]]
    if any(hidden):
        sentences.append(say("cluster_profiles.hidden", hidden=sum(hidden), few=facts.min_cell))
    figures = (*_sizes(found, shown), *_heat(found, shown), *_figures(found, shown), *_levels(found, shown, facts))
    return Section("cluster_profiles", "scientist", title, sentences=tuple(sentences), figures=figures)


def _told(found: Clustered, profile: Profile) -> Message:
    name = Name(found.names[profile.cluster], "cluster")
    shared: dict[str, Name | Quantity] = {
        "cluster": name,
        "users": Quantity(profile.users),
        "share": share(profile.share),
    }
    apart = [figure for figure in profile.figures if figure.z_score is not None and figure.mean is not None]
    apart.sort(key=lambda figure: (-abs(figure.z_score or 0.0), figure.name))
    value = share(profile.value_share)
    if not apart:
        return say("cluster_profiles.told_plain", **shared, value=value)
    first = apart[0]
    key = "cluster_profiles.told" if profile.value_share is not None else "cluster_profiles.told_no_value"
    return say(
        key,
        **shared,
        value=value,
        feature=Name(first.name, "feature"),
        mean=number(first.mean),
        base=number(first.base),
    )


def _sizes(found: Clustered, shown: Sequence[Profile]) -> Iterator[Figure]:
    values = any(profile.value_share is not None for profile in shown)
    rows = [
        (found.names[profile.cluster], line, part, profile.users)
        for profile in shown
        for line, part in (("users", profile.share), *([("value", profile.value_share)] if values else []))
    ]
    richest = max(shown, key=lambda profile: (profile.value_share or 0.0, -profile.cluster)) if values else shown[0]
    yield Figure(
        key="clusters_sizes",
        kind="grouped_bars",
        title=say(
            "cluster_profiles.value_title" if values else "cluster_profiles.size_title",
            cluster=Name(found.names[richest.cluster], "cluster"),
            share=share(richest.share),
            value=share(richest.value_share),
        ),
        definition=say("cluster_profiles.sizes_definition"),
        table=pl.DataFrame(
            rows, {"cluster": pl.String, "line": pl.String, "share": pl.Float64, "users": pl.Int64}, orient="row"
        ),
        fields=(
            Field("cluster", say("choice_of_k.cluster"), vocabulary="cluster"),
            Field("line", say("models.line"), vocabulary="series"),
            Field("share", say("cluster_profiles.share"), "share"),
            Field("users", say("cluster_profiles.users"), "count"),
        ),
        x="share",
        y="cluster",
        colour="line",
        users="users",
    )


def _heat(found: Clustered, shown: Sequence[Profile]) -> Iterator[Figure]:
    rows = [
        (
            figure.name,
            found.names[profile.cluster],
            figure.z_score,
            figure.mean,
            figure.median,
            figure.base,
            figure.known,
            figure.name,
        )
        for profile in shown[:MOST_CLUSTERS]
        for figure in profile.figures[:MOST_ROWS]
        if figure.z_score is not None
    ]
    if not rows:
        return
    name, cluster, score, mean, _, base, *_ = max(rows, key=lambda row: (abs(row[2]), row[0], row[1]))
    numbers = ("z_score", "mean", "median", "base")
    # By feature: the rows of the map, and of the table behind it, are read one after the other.
    order = {figure: place for place, figure in enumerate(dict.fromkeys(row[0] for row in rows))}
    rows.sort(key=lambda row: order[row[0]])
    yield Figure(
        key="clusters_heat",
        kind="heat",
        title=say(
            "cluster_profiles.heat_title",
            cluster=Name(cluster, "cluster"),
            feature=Name(name),
            mean=number(mean),
            base=number(base),
            score=number(abs(score)),
        ),
        definition=say("cluster_profiles.heat_definition"),
        table=pl.DataFrame(
            rows,
            {
                "feature": pl.String,
                "cluster": pl.String,
                **dict.fromkeys((*numbers, "known"), pl.Float64),
                "meaning": pl.String,
            },
            orient="row",
        ),
        fields=(
            Field("feature", say("importance.feature")),
            Field("cluster", say("choice_of_k.cluster"), vocabulary="cluster"),
            *(Field(column, say(f"cluster_profiles.{column}"), "number") for column in numbers),
            Field("known", say("cluster_profiles.known"), "share"),
            Field("meaning", say("importance.meaning"), vocabulary="feature"),
        ),
        x="cluster",
        y="feature",
        colour="z_score",
    )


def _figures(found: Clustered, shown: Sequence[Profile]) -> Iterator[Figure]:
    """Means by feature, a column per cluster."""
    wide = shown[:MOST_COLUMNS]
    rows = [
        (figures[0].name, figures[0].base, *(figure.mean for figure in figures), figures[0].name)
        for figures in zip(*(profile.figures[:MOST_ROWS] for profile in wide), strict=True)
    ]
    if not rows:
        return
    columns = {f"cluster_{profile.cluster}".replace("-", "_"): found.names[profile.cluster] for profile in wide}
    yield Figure(
        key="clusters_values",
        kind="none",
        title=say("cluster_profiles.values_title", clusters=len(wide)),
        definition=say("cluster_profiles.values_definition"),
        table=pl.DataFrame(
            rows,
            {
                "feature": pl.String,
                "base": pl.Float64,
                **dict.fromkeys(columns, pl.Float64),
                "meaning": pl.String,
            },
            orient="row",
        ),
        fields=(
            Field("feature", say("importance.feature")),
            Field("base", say("cluster_profiles.base"), "number"),
            *(
                Field(column, say("learnt.name", name=Name(name, "cluster")), "number")
                for column, name in columns.items()
            ),
            Field("meaning", say("importance.meaning"), vocabulary="feature"),
        ),
    )


def _levels(found: Clustered, shown: Sequence[Profile], facts: Facts) -> Iterator[Figure]:
    """Text attributes whose values are more or less frequent in a cluster; a value of a few people is left out.

    Shares are of those with a value: who has none may be so for reasons of their own.
    """
    known = _known(found.profiles)
    rows = [
        (level.attribute, level.level, found.names[profile.cluster], level.share / level.known, level.base / everyone)
        for profile in shown[:MOST_CLUSTERS]
        for level in profile.levels
        if round(level.share * profile.users) >= facts.min_cell and (everyone := known[level.attribute]) > 0
    ]
    rows.sort(key=lambda row: (-abs(row[3] - row[4]), row[0], row[1], row[2]))
    rows = rows[:_LEVELS]
    if not rows:
        return
    attribute, level, cluster, part, base = rows[0]
    yield Figure(
        key="clusters_levels",
        kind="none",
        title=say(
            "cluster_profiles.levels_title",
            cluster=Name(cluster, "cluster"),
            attribute=Name(attribute),
            level=Name(level),
            share=share(part),
            base=share(base),
        ),
        definition=say("cluster_profiles.levels_definition", few=facts.min_cell),
        table=pl.DataFrame(
            rows,
            {
                "attribute": pl.String,
                "level": pl.String,
                "cluster": pl.String,
                "share": pl.Float64,
                "base": pl.Float64,
            },
            orient="row",
        ),
        fields=(
            Field("attribute", say("cluster_profiles.attribute")),
            Field("level", say("cluster_profiles.level")),
            Field("cluster", say("choice_of_k.cluster"), vocabulary="cluster"),
            Field("share", say("cluster_profiles.share_of_cluster"), "share"),
            Field("base", say("cluster_profiles.share_of_all"), "share"),
        ),
    )


def _known(profiles: Sequence[Profile]) -> dict[str, float]:
    """Share of the users of all clusters with a value, by attribute; those apart are not compared with."""
    inside = [profile for profile in profiles if profile.cluster != APART] or list(profiles)
    users = sum(profile.users for profile in inside)
    by_profile = [(profile.users, {level.attribute: level.known for level in profile.levels}) for profile in inside]
    names = sorted({name for _, known in by_profile for name in known})
    return {
        name: sum(count * known.get(name, 0.0) for count, known in by_profile) / users if users else 0.0
        for name in names
    }
