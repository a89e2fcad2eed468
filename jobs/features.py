"""`tamis features`: the columns that a configuration publishes, and everything about one of them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from jobs.console import clean, print_json, print_table, say, write
from jobs.options import (
    DEFAULT_CONFIG,
    Address,
    AsJson,
    AsOf,
    Assignments,
    ConfigFile,
    ExecutorName,
    LogFile,
    LogFormat,
    MetricsFile,
    NotifyCommand,
    NotifyOn,
    Out,
    Quiet,
)
from jobs.session import Settings, Watching, load, load_watched, parse_day, session, show_record

if TYPE_CHECKING:
    from engine.features.feature import Feature
    from engine.features.spec import FeatureSpec

features_app = typer.Typer()

_INCOMPLETE = (
    "The event types are those that the configuration names; others that the data has get the same columns "
    "unless events.types lists the ones to use."
)


class _Other(NamedTuple):
    """A column that rules can name and that is no feature."""

    name: str
    dtype: str
    kind: str


class _Known(NamedTuple):
    published: FeatureSpec
    possible: FeatureSpec
    complete: bool


@features_app.command("write")
def write_features(
    *,
    as_of: AsOf,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder for the table; empty or not there.")],
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    log_format: LogFormat = None,
    log_file: LogFile = None,
    metrics_file: MetricsFile = None,
    notify_command: NotifyCommand = None,
    notify_on: NotifyOn = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compute the features of every user as of a day and write them as Parquet, without a model."""
    day = parse_day(as_of)
    watching = Watching(log_format, log_file, metrics_file, notify_command, notify_on)
    watched = load_watched("features", day, config, Settings(assignments or (), out, executor, address, watching))
    from engine.pipeline import features_run

    with session(watched.loaded.config, quiet=quiet, watched=watched) as run:
        record = run.done(features_run(run.config, day, to, executor=run.executor, progress=run.progress))
    show_record(record, as_json=as_json, quiet=quiet)


@features_app.command("list")
def list_features(
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    family: Annotated[str | None, typer.Option("--family", metavar="NAME", help="Only the columns of one.")] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Also columns of families that are not asked for, scores and contact attributes."),
    ] = False,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print name, unit, window and family of the columns that a configuration publishes."""
    known = _known(config, assignments)
    spec = known.possible if every else known.published
    from engine.errors import ConfigError
    from engine.features.catalogue import families
    from engine.suggest import did_you_mean

    by_family = families(spec)
    if family is not None and family not in by_family:
        raise ConfigError(
            f"no family {family!r}{did_you_mean(family, families(known.possible))} among the columns of {config}",
            code="feature-family-unknown",
            hint=f"Families: {', '.join(by_family)}." + ("" if every else " More with --all."),
        )
    names = {feature.name for found in families(known.published).values() for feature in found}
    rows = [(name, feature) for name, found in by_family.items() if family in {None, name} for feature in found]
    others = _others(config, assignments, quiet=quiet) if every and family is None else []
    if as_json:
        listed = [{**_described(feature), "family": name, "published": feature.name in names} for name, feature in rows]
        more = [{"name": other.name, "type": other.dtype, "kind": other.kind} for other in others]
        print_json({"features": listed, "event_types_complete": known.complete, **({"others": more} if every else {})})
        return
    table = [
        (feature.name, feature.unit, _window(feature), name, *(["yes" if feature.name in names else "no"] * every))
        for name, feature in rows
    ]
    table += [(other.name, other.dtype, "–", other.kind, "yes") for other in others]
    print_table(["column", "unit", "window", "family", *(["published"] * every)], table)
    say("" if known.complete else _INCOMPLETE, quiet=quiet or known.complete)


@features_app.command()
def describe(
    name: Annotated[str, typer.Argument(metavar="COLUMN", help="The column to describe.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print everything about one column: what it is, what it is made of, and how to get it."""
    known = _known(config, assignments)
    from engine.errors import ConfigError
    from engine.features.accounts import ACCOUNT_FAMILY, ACCOUNT_NEEDS
    from engine.features.registry import NEEDS

    try:
        title, feature, state = _find(name, known, config)
    except ConfigError as error:
        other = next((one for one in _others(config, assignments, quiet=True) if one.name == name), None)
        if other is None:
            raise error from None
        _print_other(other, as_json=as_json)
        return
    needs = {**NEEDS, ACCOUNT_FAMILY: ACCOUNT_NEEDS}
    ways = {
        "published": "it is published",
        "possible": f'add "{title}" to features.families, or name the column in a segment\'s rule',
        "other": f"it needs {needs.get(title, 'an event type, role or window that the configuration does not have')}",
    }
    described = {**_described(feature), "family": title, "published": state == "published", "enable": ways[state]}
    if as_json:
        print_json(described)
        return
    shown = {
        "column": feature.name,
        "meaning": feature.meaning,
        "unit": feature.unit,
        "type": str(feature.dtype),
        "window": _window(feature),
        "made of": ", ".join(feature.types) or "all event types",
        "purposes": ", ".join(feature.purposes),
        "without events": "null" if feature.absent is None else str(feature.absent),
        "family": title,
        "to get it": ways[state],
    }
    for label, text in shown.items():
        write(sys.stdout, clean(f"{label.ljust(14)}  {text}"))
    say(_INCOMPLETE, quiet=quiet or known.complete)


def _known(path: Path, assignments: list[str] | None) -> _Known:
    """What the configuration publishes, what it could, and whether it names all event types."""
    config = load(path, Settings(assignments or ())).config
    from engine.features.choice import feature_spec
    from engine.features.configured import configured_types
    from engine.features.registry import FAMILIES

    types = configured_types(config)
    spec = feature_spec(config, types.names, types.priced)
    possible = replace(spec, families=tuple(family.name for family in FAMILIES if family.features(spec)))
    return _Known(spec, possible, types.complete)


def _others(path: Path, assignments: list[str] | None, *, quiet: bool) -> list[_Other]:
    """Scores and contact attributes of a configuration; none, and why, where its contacts cannot be read."""
    config = load(path, Settings(assignments or ())).config
    from engine.errors import TamisError
    from engine.features.catalogue import catalogue
    from engine.segments.definitions import definitions
    from engine.why.lint import checked_rules

    try:
        checked = checked_rules(config, definitions(config))
    except TamisError as error:
        say(f"warning: scores and contact attributes are not listed: {error.message}", quiet=quiet)
        return []
    spec = checked.scope.spec
    features = set() if spec is None else {feature.name for feature in catalogue(spec)}
    return [
        _Other(name, str(dtype), "contact attribute" if name in checked.attributes else "score")
        for name, dtype in checked.scope.columns.items()
        if name not in features
    ]


def _print_other(other: _Other, *, as_json: bool) -> None:
    if as_json:
        print_json({"name": other.name, "type": other.dtype, "kind": other.kind, "published": True})
        return
    for label, text in (("column", other.name), ("type", other.dtype), ("kind", other.kind)):
        write(sys.stdout, clean(f"{label.ljust(14)}  {text}"))


def _find(name: str, known: _Known, config: Path) -> tuple[str, Feature, str]:
    """Family and record of a column, and whether it is `published`, `possible` or of `other` configurations."""
    from engine.errors import ConfigError
    from engine.features.catalogue import families
    from engine.features.page import full_spec
    from engine.suggest import did_you_mean

    other = replace(full_spec(), windows=known.possible.windows)
    for spec, state in ((known.published, "published"), (known.possible, "possible"), (other, "other")):
        for title, features in families(spec).items():
            for feature in features:
                if feature.name == name:
                    return title, feature, state
    names = [feature.name for features in families(known.possible).values() for feature in features]
    raise ConfigError(
        f"no feature column {name!r}{did_you_mean(name, names)}",
        code="feature-unknown",
        hint=f"See: tamis features list --all -c {config}" + ("" if known.complete else f". {_INCOMPLETE}"),
    )


def _window(feature: Feature) -> str:
    return "all" if feature.window_days is None else f"{feature.window_days} days"


def _described(feature: Feature) -> dict[str, object]:
    return {
        "name": feature.name,
        "meaning": feature.meaning,
        "unit": feature.unit,
        "type": str(feature.dtype),
        "window_days": feature.window_days,
        "event_types": list(feature.types),
        "purposes": list(feature.purposes),
        "absent": feature.absent,
    }
