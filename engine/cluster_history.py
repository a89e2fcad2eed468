"""The clusters of the bundles of an output root: which ids are taken, and what became of each cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from engine.bundle import UNREADABLE, read_meta
from engine.bundle_listing import Listed, find_listed, list_bundles, used_bundle
from engine.bundle_pointer import read_acts
from engine.clusters.identity import next_free
from engine.clusters.moves import APART, Moves
from engine.clusters.record import Clustered, with_names
from engine.errors import ConfigError, IntegrityError
from engine.tables.layout import bundles_folder

HISTORY: Final = pl.Schema(
    {
        "as_of": pl.Date,
        "bundle": pl.String,
        "cluster": pl.Int32,
        "name": pl.String,
        "users": pl.Int64,
        "share": pl.Float64,
        "event": pl.String,
        "others": pl.String,
        "moved_in": pl.Int64,
        "moved_out": pl.Int64,
        "moved_share": pl.Float64,
        "ari": pl.Float64,
    }
)
"""Columns of `history`."""


@dataclass(frozen=True)
class Fitted:
    """The clusters of one promoted bundle.

    Attributes:
        bundle: Its id.
        as_of: Day of its fit.
        clustered: What it found.
    """

    bundle: str
    as_of: date
    clustered: Clustered


def first_free_id(out: Path, as_of: date) -> int:
    """The smallest cluster id that no bundle fitted before a day has given, whatever became of the bundle.

    Bundles that cannot be read, and those of other versions, do not count.

    Args:
        out: The output root.
        as_of: A fit that is repeated gives the same ids, so bundles of that day or later do not count.
    """
    try:
        acts = read_acts(out)
    except IntegrityError:
        return 0
    taken = []
    for name in dict.fromkeys(act.bundle for act in acts if act.as_of < as_of):
        folder = bundles_folder(out) / name
        try:
            read_meta(folder)
            taken.append(int(json.loads((folder / "clusters.json").read_bytes())["clustering"]["next_id"]))
        except (IntegrityError, *UNREADABLE):
            continue
    return next_free(taken)


def fitted_clusters(out: Path, given: Mapping[str, str]) -> list[Fitted]:
    """The clusters of the promoted bundles of an output root in the order of their days, of each day the last promoted.

    Args:
        out: The output root.
        given: Names of a configuration by id; they come before those of the bundles.

    Raises:
        IntegrityError: The record of the bundles is damaged, or of an earlier version.
    """
    listed = [(_order(found), found) for found in list_bundles(out) if found.state in {"current", "promoted"}]
    by_day: dict[date, Fitted] = {}
    for _, found in sorted(listed, key=lambda pair: pair[0]):
        if found.bundle is not None and found.bundle.clusters is not None:
            day = found.bundle.as_of
            by_day[day] = Fitted(found.id, day, with_names(found.bundle.clusters, given))
    return list(by_day.values())


def _order(found: Listed) -> tuple[date, int]:
    return found.as_of or date.min, found.promoted or 0


def clusters_of(out: Path, name: str, given: Mapping[str, str]) -> Fitted:
    """The clusters of one bundle.

    Args:
        out: The output root.
        name: Id of the bundle, the start of one, or `current`.
        given: As in `fitted_clusters`.

    Raises:
        ConfigError: There is no such bundle, or it has no clusters.
        IntegrityError: It cannot be used, or the record of the bundles is damaged.
    """
    found = find_listed(out, name)
    bundle = used_bundle(found)
    if bundle.clusters is None:
        raise ConfigError(
            f"the bundle {found.id} has no clusters",
            code="bundle-no-clusters",
            hint="Set clusters.enabled = true and run `tamis fit`, or name another with --bundle.",
        )
    return Fitted(found.id, bundle.as_of, with_names(bundle.clusters, given))


def history(fits: Sequence[Fitted]) -> pl.DataFrame:
    """What became of every cluster, one row per fit, cluster and event, in the order of the fits.

    A cluster that takes others in and loses a part at once has a row for each. Figures of moves are against the bundle
    that was in use before the fit; null where there was none to compare with.

    Args:
        fits: What `fitted_clusters` gave.

    Returns:
        `as_of` (Date), `bundle`, `cluster` (Int32, -1 for users in none), `name`, `users` (Int64) and `share` of them
        at the fit, 0 for a vanished cluster; `event` (`new`, `kept`, `merged`, `split`, `vanished`; null for users in
        no cluster) and `others`, the ids it is about, separated by commas; `moved_in` and `moved_out` (Int64): users
        who came from and went to other clusters; `moved_share` and `ari` of the whole fit.
    """
    names: dict[int, str] = {}
    rows: list[tuple[object, ...]] = []
    for fit in fits:
        clustered = fit.clustered
        # A vanished cluster is called what it was called last.
        names |= clustered.names
        rows += [(fit.as_of, fit.bundle, *row) for row in _rows(clustered, names)]
    return pl.DataFrame(rows, HISTORY, orient="row")


def _rows(clustered: Clustered, names: dict[int, str]) -> list[tuple[object, ...]]:
    moves, profiles = clustered.moves, {profile.cluster: profile for profile in clustered.profiles}
    figures = (None, None) if moves is None else (moves.moved_share, moves.ari)
    told: list[tuple[int, str | None, tuple[int, ...]]] = [
        (event.cluster, event.kind, event.others) for event in clustered.identity.events
    ]
    # The parts of a split are new, and what was merged is gone.
    for event in clustered.identity.events:
        if event.kind == "split":
            told += [(part, "new", (event.cluster,)) for part in event.others]
        elif event.kind == "merged":
            told += [(source, "vanished", (event.cluster,)) for source in event.others]
    told += [(APART, None, ())] if APART in profiles else []
    rows: list[tuple[object, ...]] = []
    for cluster, kind, others in sorted(told, key=lambda event: (event[0], event[1] or "")):
        profile = profiles.get(cluster)
        users, share = (0, 0.0) if profile is None else (profile.users, profile.share)
        listed = ",".join(str(other) for other in others)
        rows.append((cluster, names.get(cluster), users, share, kind, listed, *moved(moves, cluster), *figures))
    return rows


def moved(moves: Moves | None, cluster: int) -> tuple[int | None, int | None]:
    """Users who came into a cluster from others, and who left it for others; None without a comparison."""
    if moves is None:
        return None, None
    stayed = sum(users for old, new, users in moves.counts if old == new == cluster)
    return moves.new_sizes.get(cluster, 0) - stayed, moves.old_sizes.get(cluster, 0) - stayed
