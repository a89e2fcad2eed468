"""Bundles without ids of some people: the edges of RFM ranks name users, and nothing else of a bundle does.

An edge by rank says "up to this user" among equal values. The largest id below it that stays says the same of everybody
else, so it takes the place. A bundle is named by its content: the changed one is a new bundle under a new id, which
takes the place of the old one in the record of bundles and in manifests. What models and clusters learnt from rows of
the people stays as it is, and is told in the receipt: their coefficients and coordinates name nobody.

A bundle in which a name still stands (an address as a category, say) is taken away; the next run fits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.bundle import bundle_id, damages, identity_of, is_bundle_id
from engine.bundle_pointer import read_acts, write_acts
from engine.erasure.held import Held, Place, Removed
from engine.erasure.journal import Journal
from engine.erasure.named import is_named
from engine.errors import IntegrityError
from engine.tables import disk
from engine.tables.durable import canonical_json, durable_bytes
from engine.tables.layout import bundles_folder, manifest_path
from engine.tables.manifest import read_manifest
from engine.why.published import published_dates

_META: Final = "bundle.json"
_LISTING: Final = "files.json"
_STAGED: Final = ".erasing"
_LEAST: Final = -(2**63)


def find_in_bundles(place: Place) -> Iterator[Held]:
    """Bundles that name one of the people: as an edge of ranks, or anywhere else."""
    for folder in _folders(place.out):
        where = [
            name
            for name in sorted(disk.list_files(folder))
            if (name == _META and _edges_of(folder, place))
            or is_named(name, (folder / name).read_bytes(), place.people)
        ]
        if where:
            files = tuple((folder / name).relative_to(place.out).as_posix() for name in where)
            rows = pl.DataFrame({"bundle": [folder.name] * len(where), "file": where})
            yield Held(f"bundle {folder.name}", rows, files)


def erase_in_bundles(place: Place, journal: Journal) -> Removed:
    """Write bundles that name the people anew, without them; those they replace go with `remove_old_bundles`."""
    removed = Removed()
    for folder in _folders(place.out):
        if folder.name in journal.work.bundles or damages(folder):
            continue
        edges = _edges_of(folder, place)
        if edges:
            new = _rewrite(place, folder)
            journal.note(bundles={**journal.work.bundles, folder.name: new})
            removed += Removed(rows=edges, rewritten=1)
        elif _is_named(place, folder):
            journal.note(bundles={**journal.work.bundles, folder.name: ""})
            removed += Removed(rows=1, removed=1)
    if journal.work.bundles:
        _rename_acts(place.out, journal)
    return removed


def remove_old_bundles(place: Place, journal: Journal) -> None:
    """Remove bundles that were replaced or taken away, once nothing names them."""
    for name, new in journal.work.bundles.items():
        if new and not (bundles_folder(place.out) / new).is_dir():
            continue
        disk.remove_tree(bundles_folder(place.out) / name)
    for path in disk.list_folder(bundles_folder(place.out)):
        if path.name.startswith(_STAGED):
            disk.remove_tree(path)


def learnt_from(out: Path, first: date | None) -> list[dict[str, Any]]:
    """The bundles that may have learnt from somebody whose first event was on a day: fitted after it.

    Returns:
        One entry per bundle, sorted: `bundle`, `as_of`, and the names of its `models`.
    """
    found = []
    for folder in _folders(out):
        try:
            meta = json.loads((folder / _META).read_bytes())
            fitted, targets = date.fromisoformat(meta["as_of"]), list(meta["targets"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if first is None or fitted > first:
            found.append({"bundle": folder.name, "as_of": fitted.isoformat(), "models": targets})
    return found


def _folders(out: Path) -> list[Path]:
    return [path for path in disk.list_folder(bundles_folder(out)) if path.is_dir() and is_bundle_id(path.name)]


def _meta(folder: Path) -> dict[str, Any]:
    try:
        meta = json.loads((folder / _META).read_bytes())
    except (OSError, ValueError):
        return {}
    return meta if isinstance(meta, dict) else {}


def _edges(meta: dict[str, Any]) -> list[dict[str, Any]]:
    edges = meta.get("rfm_edges")
    return [one for one in edges.values() if isinstance(one, dict)] if isinstance(edges, dict) else []


def _edges_of(folder: Path, place: Place) -> int:
    """How many edges are one of the people."""
    ids = set(place.people.values.to_list())
    return sum(user in ids for edge in _edges(_meta(folder)) for user in edge.get("users", ()))


def _is_named(place: Place, folder: Path) -> bool:
    return any(is_named(name, (folder / name).read_bytes(), place.people) for name in disk.list_files(folder))


def _rewrite(place: Place, folder: Path) -> str:
    """A bundle as `folder` has it with other ids in its edges; the id of the new one."""
    meta = _meta(folder)
    gone = set(place.people.values.to_list())
    wanted = sorted({user for edge in _edges(meta) for user in edge.get("users", ()) if user in gone})
    neighbours = dict(zip(wanted, _neighbours(place, wanted), strict=True))
    for edge in _edges(meta):
        edge["users"] = [neighbours.get(user, user) for user in edge.get("users", ())]
    content = {name: (folder / name).read_bytes() for name in sorted(disk.list_files(folder)) if name != _LISTING}
    content[_META] = canonical_json(meta).encode()
    checksums = {name: hashlib.sha256(text).hexdigest() for name, text in sorted(content.items())}
    content[_LISTING] = canonical_json(checksums).encode()
    new = identity_of(content[_LISTING])
    staged, target = folder.with_name(f"{_STAGED}-{new}"), folder.with_name(new)
    if not target.exists():
        disk.remove_tree(staged)
        for name, text in content.items():
            durable_bytes(text, staged / name)
        disk.sync_tree(staged)
        disk.rename(staged, target)
        disk.sync_folder(target.parent)
    if bundle_id(target) != new:
        raise IntegrityError(
            f"the bundle {target} is damaged", code="bundle-damaged", hint="Remove it, and erase again."
        )
    return new


def _neighbours(place: Place, users: Sequence[Any]) -> list[Any]:
    """Of each id, the largest one below it that stays, among all users that are published; less than all without."""
    values = place.people.values
    best: dict[Any, Any] = {}
    for day in published_dates(place.out):
        for table in read_manifest(manifest_path(place.out, day)).tables:
            if table.name != "features":
                continue
            for record in table.records:
                ids = pl.read_parquet(
                    place.out / record.path, columns=["user_id"], glob=False, hive_partitioning=False
                )["user_id"].cast(values.dtype, strict=False)
                others = ids.filter(~ids.is_in(values.implode()))
                for user in users:
                    below = others.filter(others < user).max()
                    if below is not None and (user not in best or below > best[user]):
                        best[user] = below
    return [best.get(user, "" if isinstance(user, str) else _LEAST) for user in users]


def _rename_acts(out: Path, journal: Journal) -> None:
    """The record of bundles with the new ids; those that were taken away are not in it."""
    try:
        acts = read_acts(out)
    except IntegrityError:
        # The next fit makes the record anew.
        return
    names = journal.work.bundles
    renamed = [replace(act, bundle=names.get(act.bundle, act.bundle)) for act in acts]
    left = [act for act in renamed if act.bundle]
    if left != list(acts):
        write_acts(out, left)
