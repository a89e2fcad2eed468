"""The bundles of an output root: how one is added, and which one is taken.

    _bundles/<id>/         a bundle
    _bundles/current       the id of the bundle that was written last, and of those before it, in the order of writing

Whoever writes holds the lock of the output root; whoever reads needs none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from engine.bundle import ID_DIGITS, REFIT, Bundle, bundle_files, damages, identity_of, read_meta
from engine.errors import ConfigError, IntegrityError
from engine.tables import disk
from engine.tables.durable import durable_json, durable_text
from engine.tables.layout import bundles_folder

_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")


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


def write_bundle(bundle: Bundle, staging: Path, out: Path) -> Path:
    """Write a bundle under `out` and make it the current one; returns its folder.

    Args:
        bundle: The bundle.
        staging: An empty folder on the same file system.
        out: The output root.
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
        written = _written(out)
    except IntegrityError:
        written = ()
    before = [name for name in written if name != identity and (target.parent / name).exists()]
    pointer = {"bundle": identity, "as_of": bundle.as_of.isoformat(), "before": before}
    durable_json(pointer, bundles_folder(out) / "current")
    return target


def current_bundle(out: Path) -> Path | None:
    """Folder of the bundle that was written last under an output root; None when nothing was fitted yet.

    Raises:
        IntegrityError: The pointer is damaged.
    """
    written = _written(out)
    return bundles_folder(out) / written[-1] if written else None


def _written(out: Path) -> tuple[str, ...]:
    """The ids of the bundles under an output root in the order in which they were written."""
    pointer = bundles_folder(out) / "current"
    if not pointer.exists():
        return ()
    try:
        content = json.loads(pointer.read_bytes())
        written = (*content["before"], content["bundle"])
        if all(_ID.fullmatch(name) for name in written):
            return written
        problem = "an entry is no id"
    except (ValueError, KeyError, TypeError, OSError) as error:
        problem = type(error).__name__
    raise IntegrityError(f"{pointer} does not name a bundle: {problem}", code="bundle-pointer", hint=REFIT)


def find_bundle(out: Path, as_of: date, conditions: Conditions, max_age_days: int | None = None) -> Path | None:
    """Folder of the latest bundle under `out` that can score `as_of`; None when there is none.

    Of several fits of one day, the one that was written last counts. Bundles of other versions, damaged ones and those
    that `write_bundle` did not finish do not count; when the order of writing is lost, none does.

    Args:
        out: The output root.
        as_of: The bundle was fitted on that day or before,
        conditions: under these conditions,
        max_age_days: less than so many days before; however old when None.
    """
    try:
        written = _written(out)
    except IntegrityError:
        return None
    usable: list[tuple[date, int, Path]] = []
    for position, name in enumerate(written):
        folder = bundles_folder(out) / name
        try:
            meta = read_meta(folder)
            fitted = date.fromisoformat(meta["as_of"])
            if not _holds(conditions, meta):
                continue
        except (IntegrityError, ValueError, KeyError, TypeError, OSError):
            continue
        age = (as_of - fitted).days
        if age >= 0 and (max_age_days is None or age < max_age_days):
            usable.append((fitted, position, folder))
    return next((folder for *_, folder in sorted(usable, reverse=True) if not damages(folder)), None)


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
    differences = [section for section in learnt_from if then.get(section) != learnt_from[section]]
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
