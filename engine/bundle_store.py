"""The bundles of an output root: how one is added, which one is taken, and how a person changes that.

    _bundles/<id>/         a bundle
    _bundles/current       what was done with each, in order; see `engine.bundle_pointer`

A date is scored with the bundle of the latest fit on or before it, under the same configuration; of several fits of one
day the last counts. A bundle that a person promoted takes the place of all that were promoted before that act, on every
date that it can score. Bundles that are held back or withdrawn are never taken.

Whoever writes holds the lock of the output root; whoever reads needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from engine.bundle import UNREADABLE, Bundle, bundle_files, check_files, damages, identity_of, load_bundle, read_meta
from engine.bundle_pointer import Act, choose, current_of, read_acts, state_of, with_act, write_acts
from engine.errors import ConfigError, IntegrityError, TamisError
from engine.propensity.predict import load_scorer
from engine.tables import disk
from engine.tables.durable import durable_text
from engine.tables.layout import bundles_folder
from engine.tables.lock import writer_lock


@dataclass(frozen=True)
class Conditions:
    """What a run has, and a bundle must have been fitted with to score it.

    Attributes:
        learnt_from: Hash of each part of the configuration.
        user_dtype: Int64 or String.
        contacts: Polars type, as text, of each contact attribute; the bundle may know fewer of them.
    """

    learnt_from: Mapping[str, str]
    user_dtype: str
    contacts: Mapping[str, str]


def write_bundle(bundle: Bundle, staging: Path, out: Path, *, promote: bool = True) -> Path:
    """Write a bundle under `out` and promote it, or hold it back; returns its folder.

    A bundle that is there already keeps its files. One that a person withdrew stays withdrawn when it is fitted again,
    and one that is promoted already stays so when it should be held back.

    Args:
        bundle: The bundle.
        staging: An empty folder on the same file system.
        out: The output root.
        promote: Whether it may be chosen from now on; one that is not is kept and listed.
    """
    files = bundle_files(bundle)
    for name, text in files.items():
        durable_text(text, staging / name)
    identity = identity_of(files["files.json"].encode())
    target = bundles_folder(out) / identity
    disk.make_folder(target.parent)
    if target.exists() and damages(target):
        disk.rename(target, staging.with_name(f"{staging.name}-damaged"))
    if not target.exists():
        disk.rename(staging, target)
        disk.sync_folder(target.parent)
    try:
        acts = read_acts(out)
    except IntegrityError:
        acts = ()
    there = [act for act in acts if act.bundle == identity or (target.parent / act.bundle).exists()]
    write_acts(out, with_act(there, Act("fitted" if promote else "held", identity, bundle.as_of)))
    return target


def current_bundle(out: Path) -> Path | None:
    """Folder of the bundle that is taken for a day after all fits; None when none is promoted.

    Raises:
        IntegrityError: The record of the bundles is damaged, or of an earlier version.
    """
    current = current_of(read_acts(out))
    return None if current is None else bundles_folder(out) / current


def find_bundle(out: Path, as_of: date, conditions: Conditions, max_age_days: int | None = None) -> Path | None:
    """Folder of the bundle under `out` that scores `as_of`; None when there is none, or a new fit is due.

    Bundles of other versions, damaged ones and those that `write_bundle` did not finish do not count; when the record
    of what was done is lost, none does.

    Args:
        out: The output root.
        as_of: The bundle was fitted on that day or before,
        conditions: under these conditions.
        max_age_days: A fit is due when the last one, whether its bundle was promoted or not, was that many days before
            `as_of`: to fit again sooner would only make what was held back or withdrawn. Never due when None.
    """
    try:
        acts = read_acts(out)
    except IntegrityError:
        return None
    fits: dict[str, date] = {}
    for name in dict.fromkeys(act.bundle for act in acts):
        try:
            meta = read_meta(bundles_folder(out) / name)
            fitted = date.fromisoformat(meta["as_of"])
            if fitted <= as_of and _holds(conditions, meta):
                fits[name] = fitted
        except (IntegrityError, *UNREADABLE):
            continue
    # Checksums of all files take long: only of bundles that decide.
    while max_age_days is not None:
        last = max(fits, key=lambda name: fits[name], default=None)
        if last is None or (as_of - fits[last]).days >= max_age_days:
            return None
        if not damages(bundles_folder(out) / last):
            break
        del fits[last]
    while (chosen := choose(acts, fits)) is not None:
        folder = bundles_folder(out) / chosen
        if not damages(folder):
            return folder
        del fits[chosen]
    return None


def bundle_before(out: Path, as_of: date) -> Path | None:
    """Folder of the bundle in use before a fit as of a day: of those that were fitted earlier; None without one.

    A fit that is repeated is compared with the same bundle, and so gives the same one.
    """
    try:
        acts = read_acts(out)
    except IntegrityError:
        return None
    chosen = choose(acts, {act.bundle for act in acts if act.as_of < as_of})
    return None if chosen is None else bundles_folder(out) / chosen


def _holds(conditions: Conditions, meta: Mapping[str, Any]) -> bool:
    return (
        meta["learnt_from"] == conditions.learnt_from
        and meta["user_dtype"] == conditions.user_dtype
        and all(conditions.contacts.get(name) == dtype for name, dtype in meta["contacts"])
    )


def check_bundle(bundle: Bundle, folder: Path, as_of: date, learnt_from: Mapping[str, str]) -> None:
    """Stop when a bundle was fitted with another configuration, or has seen the future of a date.

    Args:
        bundle: What was learnt.
        folder: Its folder, for the message.
        as_of: The date to score.
        learnt_from: Hash of each part of the configuration.

    Raises:
        ConfigError: The parts that differ, or the date of the fit.
    """
    then = dict(bundle.learnt_from)
    sections = dict.fromkeys((*learnt_from, *then))
    differences = [section for section in sections if then.get(section) != learnt_from.get(section)]
    if differences:
        raise ConfigError(
            f"the bundle {folder} was fitted with another configuration: {', '.join(differences)} differ",
            code="bundle-other-configuration",
            hint="Run `tamis fit`, or `tamis run`, which fits when it has to.",
        )
    if bundle.as_of > as_of:
        raise ConfigError(
            f"the bundle {folder} was fitted as of {bundle.as_of}, after {as_of}: it has seen the future of that date",
            code="bundle-later",
            hint=f"Fit as of {as_of} or earlier, or name an older bundle with --bundle.",
        )


def promote_bundle(out: Path, identity: str) -> None:
    """Make a bundle the one that is taken on every date it can score, also one that was held back or withdrawn.

    Args:
        out: The output root; its lock is taken.
        identity: Id of the bundle.

    Raises:
        ConfigError: There is no such bundle.
        ConflictError: Another run is writing to `out`.
        IntegrityError: The bundle is damaged or of another version, or the record of the bundles is damaged.
    """
    folder = bundles_folder(out) / identity
    if not folder.is_dir():
        raise unknown_bundle(out, identity)
    with writer_lock(out, "bundle-promote"):
        write_acts(out, with_act(read_acts(out), Act("promoted", identity, check_whole(folder).as_of)))


def rollback_bundle(out: Path) -> tuple[str, str]:
    """Withdraw the current bundle, so that the one that was taken before it is current; returns the ids of both.

    Raises:
        ConfigError: No bundle is promoted, or none but the current one.
        ConflictError: Another run is writing to `out`.
        IntegrityError: The bundle before it is damaged or of another version, or the record of the bundles is damaged.
    """
    if not bundles_folder(out).is_dir():
        raise nothing_promoted(out)
    with writer_lock(out, "bundle-rollback"):
        acts = read_acts(out)
        current = current_of(acts)
        if current is None:
            raise nothing_promoted(out)
        as_of = next(act.as_of for act in acts if act.bundle == current)
        left = with_act(acts, Act("withdrawn", current, as_of))
        before = current_of(left)
        if before is None:
            raise ConfigError(
                f"the bundle {current} is the only one that is promoted under {out}: there is none to go back to",
                code="bundle-rollback",
                hint="Promote another with `tamis bundle promote`, or make one with `tamis fit`.",
            )
        try:
            check_whole(bundles_folder(out) / before)
        except TamisError as error:
            raise IntegrityError(
                f"cannot go back to the bundle {before}: {error.message}",
                code=error.code,
                hint="Promote an earlier one by its id (`tamis bundle list`, `tamis bundle promote`).",
            ) from error
        write_acts(out, left)
    return current, before


def check_whole(folder: Path) -> Bundle:
    """The bundle in `folder`, after everything that a score run would check of it, its models included.

    Raises:
        ConfigError: There is no bundle.
        IntegrityError: It is damaged, or of another version.
    """
    bundle = load_bundle(folder)
    check_files(folder)
    for model in bundle.all_models:
        load_scorer(model.text, model.spec)
    return bundle


def nothing_promoted(out: Path) -> ConfigError:
    """Why there is no bundle to score with: nothing was fitted yet, or everything is held back or withdrawn."""
    acts = read_acts(out)
    if not acts:
        return ConfigError(f"nothing was fitted yet under {out}", code="bundle-missing", hint="Run `tamis fit` first.")
    states = ", ".join(f"{act.bundle} is {state_of(acts, act.bundle)}" for act in acts)
    return ConfigError(
        f"no bundle under {out} is promoted: {states}",
        code="bundle-missing",
        hint="See `tamis bundle list`; `tamis bundle promote` takes one in spite of its gate.",
    )


def unknown_bundle(out: Path, name: str, suggestion: str = "") -> ConfigError:
    """The error for a name that no bundle has."""
    return ConfigError(
        f"there is no bundle {name!r}{suggestion} under {out}",
        code="bundle-unknown",
        hint="`tamis bundle list` prints the ids.",
    )
