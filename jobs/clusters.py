"""`tamis clusters`: which clusters there are, what their users are like, and what became of them from fit to fit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import clean, print_json, print_table, say, shown_path, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load
from jobs.table_file import ToFile, check_table_file, write_table

if TYPE_CHECKING:
    import polars as pl

    from engine.cluster_history import Fitted

clusters_app = typer.Typer(help="Look at the clusters of users that fits have found.")

BundleName = Annotated[
    str, typer.Option("--bundle", metavar="BUNDLE", help="The id of a bundle, the start of one, or 'current'.")
]


@clusters_app.command("list")
def list_clusters(
    *,
    bundle: BundleName = "current",
    to: ToFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print the clusters of a bundle: name, users, value, how well they are told apart and how stable they are."""
    check_table_file(to)
    fitted = _open(config, out, assignments, bundle)
    from engine.cluster_tables import cluster_list

    table, clustered = cluster_list(fitted.clustered), fitted.clustered
    write_table(table, to)
    if as_json:
        from engine.stages.cluster_notices import cluster_counts

        figures = {name: value for name, value in cluster_counts(clustered).items() if name != "clusters"}
        curve = [{"k": point.k, "silhouette": point.silhouette, "inertia": point.inertia} for point in clustered.curve]
        print_json({**_about(fitted), **figures, "curve": curve, "clusters": table.to_dicts()})
        return
    if quiet:
        return
    preparation = clustered.clustering.preparation
    write(sys.stdout, f"{_title(fitted)}, made of {', '.join(preparation.features)}")
    _show(table, shares=("share", "value_share"))
    _tell_figures(fitted)


@clusters_app.command()
def profile(
    cluster: Annotated[
        str | None,
        typer.Argument(metavar="[CLUSTER]", help="Id or name of a cluster; all when not given.", show_default=False),
    ] = None,
    *,
    bundle: BundleName = "current",
    to: ToFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print what the users of each cluster are like beside all users."""
    check_table_file(to)
    fitted = _open(config, out, assignments, bundle)
    from engine.cluster_tables import profiles_of

    table = profiles_of(fitted.clustered, cluster)
    write_table(table, to)
    if as_json:
        print_json({**_about(fitted), "profiles": table.to_dicts()})
        return
    if quiet:
        return
    for (found, name), rows in table.partition_by("cluster", "cluster_name", as_dict=True, maintain_order=True).items():
        users, share = rows.select("users", "user_share").row(0)
        write(sys.stdout, clean(f"{name} ({found}): {users:,} users, {share:.1%}"))
        numbers = rows.filter(rows["level"].is_null()).select("feature", "mean", "median", "base_mean", "z_score")
        headers = ("  feature", "mean", "median", "all users", "deviation")
        print_table(headers, [(f"  {row[0]}", *map(_cell, row[1:])) for row in numbers.rows()])
        levels = rows.filter(rows["level"].is_not_null()).select("feature", "level", "level_share", "base_share").rows()
        if levels:
            shares = [(f"  {feature} = {level}", f"{of:.1%}", f"{base:.1%}") for feature, level, of, base in levels]
            print_table(("  attribute", "share", "all users"), shares)
        write(sys.stdout, "")


@clusters_app.command()
def moves(
    *,
    bundle: BundleName = "current",
    to: ToFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print how many users went from which cluster to which at the fit of a bundle."""
    check_table_file(to)
    fitted = _open(config, out, assignments, bundle)
    from engine.cluster_tables import moves_of

    table, found = moves_of(fitted.clustered), fitted.clustered.moves
    write_table(table, to)
    if as_json:
        figures = None if found is None else {"users": found.users, "moved_share": found.moved_share, "ari": found.ari}
        print_json({**_about(fitted), "figures": figures, "moves": table.to_dicts()})
        return
    if quiet:
        return
    if found is None:
        note = fitted.clustered.identity.note or "no bundle with clusters was in use before this fit"
        write(sys.stdout, clean(f"No moves: {note}."))
        return
    news = sorted(found.new_sizes)
    header = ["from / to", *(str(new) for new in news)]
    rows = [[f"{old}", *(int(found.matrix([old], [new])[0, 0]) for new in news)] for old in sorted(found.old_sizes)]
    write(sys.stdout, f"{_title(fitted)}: users by cluster before (rows) and at this fit (columns)")
    print_table(header, rows)
    moved = f"{found.moved:,} of {found.users:,} users moved ({found.moved_share:.1%})"
    write(sys.stdout, f"{moved}; adjusted Rand index {found.ari:.3f}")


@clusters_app.command()
def history(
    *,
    to: ToFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print what became of every cluster over all promoted bundles, in the order of their days."""
    check_table_file(to)
    loaded = load(config, Settings(assignments or (), out)).config
    root = Path(loaded.out)
    from engine.cluster_history import fitted_clusters
    from engine.cluster_history import history as history_of

    table = history_of(fitted_clusters(root, loaded.clusters.names))
    write_table(table, to)
    if as_json:
        print_json({"out": str(root), "history": table.to_dicts()})
        return
    if quiet:
        return
    if table.is_empty():
        write(
            sys.stdout, clean(f"No promoted bundle with clusters under {shown_path(str(root))}; `tamis fit` makes one.")
        )
        return
    _show(table.drop("bundle"), shares=("share", "moved_share"))


def _open(config: Path, out: str | None, assignments: Sequence[str] | None, name: str) -> Fitted:
    """The clusters of a bundle, under the names of the configuration."""
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.cluster_history import clusters_of

    return clusters_of(Path(loaded.out), name, loaded.clusters.names)


def _about(fitted: Fitted) -> dict[str, Any]:
    return {"bundle": fitted.bundle, "as_of": fitted.as_of}


def _title(fitted: Fitted) -> str:
    return f"Bundle {fitted.bundle}, fitted as of {fitted.as_of}"


def _tell_figures(fitted: Fitted) -> None:
    from engine.stages.cluster_notices import same_for_all, unstable

    clustered = fitted.clustered
    parts = []
    if clustered.quality is not None:
        parts.append(f"silhouette {clustered.quality.silhouette:.3f}")
    if clustered.stability is not None:
        parts.append(f"adjusted Rand index of {clustered.stability.resamples} samples {clustered.stability.ari:.3f}")
    if clustered.kept is not None:
        parts.append(f"kept from bundle {clustered.kept.bundle}: {'; '.join(clustered.kept.reasons)}")
    if parts:
        write(sys.stdout, clean("; ".join(parts)))
    for line in (*clustered.notes, *same_for_all(clustered), *unstable(clustered)):
        say(f"warning: {line}")


def _show(table: pl.DataFrame, *, shares: Sequence[str]) -> None:
    """A table on stdout, shares as percentages."""
    rows = [
        [f"{value:.1%}" if name in shares and value is not None else _cell(value) for name, value in row.items()]
        for row in table.iter_rows(named=True)
    ]
    print_table([name.replace("_", " ") for name in table.columns], rows)


def _cell(value: object) -> object:
    return "–" if value is None else value
