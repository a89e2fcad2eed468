"""The bundles of an output root as a person sees them: a list, one in detail, two side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from engine.bundle import Bundle, check_files, is_bundle_id, load_bundle
from engine.bundle_pointer import Act, State, current_of, read_acts, state_of
from engine.bundle_store import nothing_promoted, unknown_bundle
from engine.config import Config
from engine.errors import ConfigError, TamisError
from engine.features.catalogue import catalogue
from engine.identity import learning_hashes
from engine.propensity.metrics import Metrics
from engine.propensity.spec import ModelSpec
from engine.suggest import did_you_mean
from engine.tables.layout import bundles_folder

CURRENT: Final = "current"
"""Stands for the id of the current bundle."""

FIGURES: Final = ("auc", "average_precision", "log_loss", "brier", "ece", "base_rate")
"""The figures of a model that are set side by side."""


@dataclass(frozen=True)
class Listed:
    """One bundle of an output root.

    Attributes:
        id: Its id.
        folder: Where it lies.
        as_of: Day of its fit; None when the fit did not come to an end and nothing readable says it.
        state: What has become of it.
        promoted: Its place in the order of promotion, from 1; None when it is not promoted.
        bundle: What is in it; None when it cannot be used.
        problem: Why it cannot be used: it is damaged or of another version.
    """

    id: str
    folder: Path
    as_of: date | None
    state: State
    promoted: int | None
    bundle: Bundle | None
    problem: str | None


def list_bundles(out: Path) -> tuple[Listed, ...]:
    """The bundles under an output root in the order in which they were promoted or put aside, unfinished ones last.

    Raises:
        IntegrityError: The record of the bundles is damaged, or of an earlier version.
    """
    acts = read_acts(out)
    known = [
        act.bundle for place, act in enumerate(acts) if all(act.bundle != later.bundle for later in acts[place + 1 :])
    ]
    folder = bundles_folder(out)
    found = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    unfinished = [name for name in found if is_bundle_id(name) and name not in known]
    return tuple(_listed(out, name, acts) for name in (*known, *unfinished))


def find_listed(out: Path, name: str) -> Listed:
    """The bundle of an id, of the start of an id that no other has, or of the word `current`.

    Raises:
        ConfigError: There is no such bundle, several begin so, or none is current.
        IntegrityError: The record of the bundles is damaged, or of an earlier version.
    """
    acts = read_acts(out)
    if name == CURRENT:
        current = current_of(acts)
        if current is None:
            raise nothing_promoted(out)
        return _listed(out, current, acts)
    ids = [listed.id for listed in list_bundles(out)]
    matching = [found for found in ids if name and found.startswith(name)]
    if len(matching) > 1:
        raise ConfigError(
            f"{len(matching)} bundles under {out} begin with {name!r}: {', '.join(matching)}",
            code="bundle-unknown",
            hint="Give more digits of the id.",
        )
    if not matching:
        raise unknown_bundle(out, name, did_you_mean(name, [*ids, CURRENT]))
    return _listed(out, matching[0], acts)


def _listed(out: Path, name: str, acts: Sequence[Act]) -> Listed:
    folder = bundles_folder(out) / name
    bundle, problem = None, None
    try:
        bundle = load_bundle(folder)
        check_files(folder)
    except TamisError as error:
        bundle, problem = None, error.message
    promoting = [act.bundle for act in acts if act.act in {"fitted", "promoted"}]
    order = [found for place, found in enumerate(promoting) if found not in promoting[place + 1 :]]
    as_of = next((act.as_of for act in acts if act.bundle == name), None if bundle is None else bundle.as_of)
    promoted = order.index(name) + 1 if name in order else None
    return Listed(name, folder, as_of, state_of(acts, name), promoted, bundle, problem)


def used_bundle(listed: Listed) -> Bundle:
    """What is in a bundle.

    Raises:
        ConfigError, IntegrityError: It cannot be used.
    """
    if listed.bundle is not None:
        return listed.bundle
    bundle = load_bundle(listed.folder)
    check_files(listed.folder)
    return bundle


def model_card_of(listed: Listed, target: str) -> str:
    """The model card of a target in a bundle.

    Raises:
        ConfigError: The bundle has no model of the target, or cannot be found any more.
        IntegrityError: It cannot be used.
    """
    targets = [model.spec.target.name for model in used_bundle(listed).models]
    if target not in targets:
        raise ConfigError(
            f"the bundle {listed.id} has no model of the target {target!r}{did_you_mean(target, targets)}",
            code="bundle-target",
            hint=f"Targets: {', '.join(targets) or 'none'}.",
        )
    return (listed.folder / "targets" / target / "card.md").read_text(encoding="utf-8")


def other_sections(listed: Listed, config: Config) -> list[str]:
    """The parts of a configuration that differ from those that a bundle was fitted with."""
    then = dict(used_bundle(listed).learnt_from)
    return [section for section, digest in learning_hashes(config).items() if then.get(section) != digest]


@dataclass(frozen=True)
class Sides:
    """One thing of two bundles; None where a bundle does not have it."""

    first: float | None
    second: float | None


@dataclass(frozen=True)
class TargetComparison:
    """A target of two bundles.

    Attributes:
        first, second: Its model; None where a bundle has none.
        figures: Each of `FIGURES`, out of time, and `lift` of the top decile. The test rows of two fits differ.
        added, removed: Features that only the second, or only the first model has; empty without two models.
    """

    name: str
    first: ModelSpec | None
    second: ModelSpec | None
    figures: dict[str, Sides]
    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two bundles side by side.

    Attributes:
        sections: Parts of the configuration that differ.
        added, removed: Feature columns that only the second, or only the first bundle has.
        targets: Every target of either, those of the second first.
    """

    sections: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    targets: tuple[TargetComparison, ...]


def compare_bundles(first: Bundle, second: Bundle) -> Comparison:
    """What differs between two bundles."""
    one, two = dict(first.learnt_from), dict(second.learnt_from)
    columns = [[feature.name for feature in catalogue(bundle.spec)] for bundle in (first, second)]
    models = [{model.spec.target.name: model.spec for model in bundle.models} for bundle in (first, second)]
    names = dict.fromkeys((*models[1], *models[0]))
    return Comparison(
        sections=tuple(name for name in dict.fromkeys((*one, *two)) if one.get(name) != two.get(name)),
        added=_without(columns[1], columns[0]),
        removed=_without(columns[0], columns[1]),
        targets=tuple(_compare_target(name, models[0].get(name), models[1].get(name)) for name in names),
    )


def _compare_target(name: str, first: ModelSpec | None, second: ModelSpec | None) -> TargetComparison:
    sides = [None if spec is None else _figures(spec.metrics) for spec in (first, second)]
    figures = {
        figure: Sides(*(None if side is None else side[figure] for side in sides)) for figure in (*FIGURES, "lift")
    }
    if first is None or second is None:
        return TargetComparison(name, first, second, figures, (), ())
    added, removed = _without(second.features, first.features), _without(first.features, second.features)
    return TargetComparison(name, first, second, figures, added, removed)


def _figures(metrics: Metrics) -> dict[str, float | None]:
    lift = next(iter(metrics.lift_by_decile), None)
    return {**{name: getattr(metrics, name) for name in FIGURES}, "lift": lift}


def _without(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    known = set(others)
    return tuple(name for name in names if name not in known)
