"""`tamis bundle`: which bundles there are, what is in them, and which one is in use."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import clean, plural, print_json, print_table, say, shown_path, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load

if TYPE_CHECKING:
    from engine.bundle_listing import Comparison, Listed, Sides, TargetComparison
    from engine.config import Config
    from engine.propensity.spec import ModelSpec

bundle_app = typer.Typer()

_SHOWN = 10
_STATES = {"promoted": "promoted earlier"}

BundleName = Annotated[
    str,
    typer.Argument(metavar="BUNDLE", help="The id of a bundle, the start of one, or 'current'.", show_default=False),
]
OtherName = Annotated[str, typer.Argument(metavar="OTHER", help="The bundle to compare it with.")]


@bundle_app.command("list")
def list_bundles(
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print every bundle: the day of its fit, what has become of it, and its models."""
    root = Path(load(config, Settings(assignments or (), out)).config.out)
    from engine.bundle_listing import list_bundles as listed_bundles

    listed = listed_bundles(root)
    if as_json:
        print_json({"out": str(root), "bundles": [_described(found) for found in listed]})
        return
    if not listed:
        write(sys.stdout, clean(f"No bundle under {shown_path(str(root))}; `tamis fit` makes one."))
        return
    rows = [
        (found.id, found.as_of or "–", _state(found), found.promoted or "–", _models(found) or "–") for found in listed
    ]
    print_table(("bundle", "fitted as of", "state", "promoted", "targets (AUC out of time)"), rows)
    for found in listed:
        if found.problem is not None:
            say(f"warning: {found.problem}", quiet=quiet)


@bundle_app.command()
def show(
    name: BundleName = "current",
    *,
    card: Annotated[
        str | None, typer.Option("--card", metavar="TARGET", help="Print the model card of a target instead.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print what is in a bundle, or the card of one of its models."""
    del quiet
    root = Path(load(config, Settings(assignments or (), out)).config.out)
    from engine.bundle_listing import find_listed, model_card_of, used_bundle

    found = find_listed(root, name)
    if card is not None:
        text = model_card_of(found, card)
        if as_json:
            print_json({"bundle": found.id, "target": card, "card": text})
        else:
            write(sys.stdout, clean(text.rstrip("\n")))
        return
    bundle = used_bundle(found)
    if as_json:
        print_json({**_described(found), "features": _features_of(found), "contacts": dict(bundle.contacts)})
        return
    clusters = "none" if bundle.clusters is None else ", ".join(bundle.clusters.clustering.names)
    described = {
        "bundle": found.id,
        "folder": shown_path(str(found.folder)),
        "fitted as of": f"{bundle.as_of}",
        "state": _state(found) + (f" (promotion {found.promoted})" if found.promoted else ""),
        "features": plural(len(_features_of(found)), "column"),
        "attributes": ", ".join(attribute for attribute, _ in bundle.contacts) or "none",
        "RFM": "none" if bundle.rfm_edges is None else bundle.segment_map,
        "clusters": clusters,
    }
    for label, text in described.items():
        write(sys.stdout, clean(f"{label.ljust(12)}  {text}"))
    if bundle.models:
        write(sys.stdout, "")
        print_table(
            ("target", "AUC", "interval", "base rate", "test rows", "gate"),
            [
                *(_row(model.spec) for model in bundle.models),
                *((f"{name} (reduced)", *cells) for name, *cells in (_row(model.spec) for model in bundle.reduced)),
            ],
        )


@bundle_app.command()
def compare(
    first: BundleName,
    second: OtherName = "current",
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print what differs between two bundles: configuration, features, and the figures of every target."""
    root = Path(load(config, Settings(assignments or (), out)).config.out)
    from engine.bundle_listing import compare_bundles, find_listed, used_bundle

    sides = [find_listed(root, name) for name in (first, second)]
    found = compare_bundles(*(used_bundle(side) for side in sides))
    if as_json:
        print_json({"first": sides[0].id, "second": sides[1].id, **_compared(found)})
        return
    names = [f"{side.id} ({side.as_of}, {_state(side)})" for side in sides]
    for label, listed in (
        ("first", [names[0]]),
        ("second", [names[1]]),
        ("configuration", found.sections),
        ("features added", found.added),
        ("features removed", found.removed),
    ):
        verb = " differ" if label == "configuration" and listed else ""
        write(sys.stdout, clean(f"{label.ljust(16)}  {_some(listed) or 'none'}{verb}"))
    rows = [
        (target.name, figure, _cell(sides_of.first), _cell(sides_of.second), _change(sides_of))
        for target in found.targets
        for figure, sides_of in target.figures.items()
    ]
    if rows:
        write(sys.stdout, "")
        print_table(("target", "out of time", "first", "second", "change"), rows)
        say("The test rows of two fits are not the same rows.", quiet=quiet)


@bundle_app.command()
def promote(
    name: BundleName,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Use a bundle for every day that it can score, also one that was held back or withdrawn."""
    settings = load(config, Settings(assignments or (), out)).config
    root = Path(settings.out)
    from engine.bundle_listing import find_listed
    from engine.bundle_store import promote_bundle

    before = find_listed(root, name)
    promote_bundle(root, before.id)
    now = find_listed(root, before.id)
    _note_configuration(settings, now, quiet=quiet)
    if as_json:
        print_json({"promoted": before.id, "was": before.state, "as_of": now.as_of})
    elif not quiet:
        write(sys.stdout, clean(f"Promoted {before.id}, fitted as of {now.as_of}; it was {_state(before)}"))


@bundle_app.command()
def rollback(
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Withdraw the current bundle and go back to the one before it."""
    settings = load(config, Settings(assignments or (), out)).config
    root = Path(settings.out)
    from engine.bundle_listing import find_listed
    from engine.bundle_store import rollback_bundle

    withdrawn, current = rollback_bundle(root)
    now = find_listed(root, current)
    _note_configuration(settings, now, quiet=quiet)
    if as_json:
        print_json({"withdrawn": withdrawn, "current": current, "as_of": now.as_of})
    elif not quiet:
        write(sys.stdout, clean(f"Withdrew {withdrawn}; the current bundle is {current}, fitted as of {now.as_of}"))


def _note_configuration(config: Config, found: Listed, *, quiet: bool) -> None:
    """Say when a bundle was fitted with another configuration: runs of this one will not take it."""
    from engine.bundle_listing import other_sections

    sections = other_sections(found, config)
    if sections:
        say(
            f"warning: {found.id} was fitted with another configuration ({', '.join(sections)} differ); runs with this "
            "one do not take it",
            quiet=quiet,
        )


def _state(found: Listed) -> str:
    state = _STATES.get(found.state, found.state)
    return state if found.problem is None else f"{state}, unusable"


def _models(found: Listed) -> str:
    models = () if found.bundle is None else found.bundle.models
    return ", ".join(f"{model.spec.target.name} {_cell(model.spec.metrics.auc)}" for model in models)


def _row(spec: ModelSpec) -> tuple[str, ...]:
    interval = dict(spec.intervals).get("auc")
    between = "–" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"
    gate = "passed" if spec.verdict.promoted else "not passed"
    metrics = spec.metrics
    return spec.target.name, _cell(metrics.auc), between, f"{metrics.base_rate:.4f}", f"{metrics.rows:,}", gate


def _described(found: Listed) -> dict[str, object]:
    models = () if found.bundle is None else found.bundle.models
    reduced = () if found.bundle is None else found.bundle.reduced
    return {
        "bundle": found.id,
        "folder": str(found.folder),
        "as_of": found.as_of,
        "state": found.state,
        "promoted": found.promoted,
        "problem": found.problem,
        "targets": {model.spec.target.name: _target(model.spec) for model in models},
        **({"reduced": {model.spec.target.name: _target(model.spec) for model in reduced}} if reduced else {}),
    }


def _target(spec: ModelSpec) -> dict[str, object]:
    intervals = {name: [interval.low, interval.high] for name, interval in spec.intervals}
    verdict = {"promoted": spec.verdict.promoted, "reasons": list(spec.verdict.reasons)}
    return {"metrics": spec.metrics.to_dict(), "intervals": intervals, "gate": verdict, "alarms": list(spec.alarms)}


def _compared(found: Comparison) -> dict[str, object]:
    return {
        "configuration": list(found.sections),
        "features": {"added": list(found.added), "removed": list(found.removed)},
        "targets": {target.name: _compared_target(target) for target in found.targets},
    }


def _compared_target(target: TargetComparison) -> dict[str, object]:
    figures = {name: [sides.first, sides.second] for name, sides in target.figures.items()}
    return {**figures, "features": {"added": list(target.added), "removed": list(target.removed)}}


def _features_of(found: Listed) -> list[str]:
    from engine.features.catalogue import catalogue

    return [] if found.bundle is None else [feature.name for feature in catalogue(found.bundle.spec)]


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _change(sides: Sides) -> str:
    return "–" if sides.first is None or sides.second is None else f"{sides.second - sides.first:+.4f}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
