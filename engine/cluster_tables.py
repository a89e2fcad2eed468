"""The clusters of one bundle as tables: a list, what their users are like, and where these came from."""

from __future__ import annotations

from typing import Final

import polars as pl

from engine.clusters.profiles import profile_table
from engine.clusters.record import Clustered
from engine.errors import ConfigError
from engine.suggest import did_you_mean

LIST: Final = pl.Schema(
    {
        "cluster": pl.Int32,
        "name": pl.String,
        "users": pl.Int64,
        "share": pl.Float64,
        "value_share": pl.Float64,
        "silhouette": pl.Float64,
        "jaccard": pl.Float64,
        "stable": pl.Boolean,
    }
)
"""Columns of `cluster_list`."""

MOVES: Final = pl.Schema(
    {
        "cluster_before": pl.Int32,
        "cluster": pl.Int32,
        "name": pl.String,
        "users": pl.Int64,
    }
)
"""Columns of `moves_of`."""


def cluster_list(clustered: Clustered) -> pl.DataFrame:
    """The clusters at their fit, one row per cluster, ascending by `cluster`; see `LIST`.

    `value_share` is their share of what all users spent; `silhouette` the mean over their users; `jaccard` the mean
    similarity to the most similar cluster of bootstrap samples, and `stable` whether it is high enough. What is not
    known is null.
    """
    places = {cluster: place for place, cluster in enumerate(clustered.clustering.ids)}
    quality = {} if clustered.quality is None else {each.cluster: each for each in clustered.quality.clusters}
    stability, names = clustered.stability, clustered.names
    rows: list[tuple[object, ...]] = []
    for profile in clustered.profiles:
        place = places.get(profile.cluster)
        of = None if place is None else quality.get(place)
        jaccard = None if stability is None or place is None else stability.jaccards[place]
        stable = None if stability is None or jaccard is None else place not in stability.unstable
        silhouette = None if of is None else of.silhouette
        size = (profile.users, profile.share, profile.value_share)
        rows.append((profile.cluster, names[profile.cluster], *size, silhouette, jaccard, stable))
    return pl.DataFrame(rows, LIST, orient="row")


def profiles_of(clustered: Clustered, asked: str | None) -> pl.DataFrame:
    """What the users of each cluster are like, as `engine.clusters.profiles.profile_table`.

    Args:
        clustered: The clusters.
        asked: Id or name of one of them; all when None.

    Raises:
        ConfigError: There is no such cluster.
    """
    names = clustered.names
    found = [
        profile
        for profile in clustered.profiles
        if asked is None or asked == str(profile.cluster) or asked.casefold() == names[profile.cluster].casefold()
    ]
    if asked is not None and not found:
        known = [names[profile.cluster] for profile in clustered.profiles]
        ids = ", ".join(f"{profile.cluster} ({names[profile.cluster]})" for profile in clustered.profiles)
        raise ConfigError(
            f"there is no cluster {asked!r}{did_you_mean(asked, known)}",
            code="cluster-unknown",
            hint=f"Clusters: {ids}.",
        )
    return profile_table(found, names, clustered.plan)


def moves_of(clustered: Clustered) -> pl.DataFrame:
    """Users by cluster in the bundle before and at the fit, ascending by both; empty without a comparison.

    `cluster` and `name` are those of the fit; -1 are users in no cluster. Users of both are at least 1.
    """
    counts = () if clustered.moves is None else clustered.moves.counts
    names = clustered.names
    return pl.DataFrame([(old, new, names.get(new), users) for old, new, users in counts], MOVES, orient="row")
