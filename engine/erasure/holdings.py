"""Every place below an output root where the project writes: those that hold people, and those that do not, with why.

What `tamis subject` hands out and what `tamis erase` takes away are one list, so that neither forgets what the other
knows. A path that belongs to nothing here fails a test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import polars as pl

from engine.erasure.bundles import erase_in_bundles, find_in_bundles
from engine.erasure.converted import erase_in_converted, find_in_converted
from engine.erasure.exports import erase_in_exports, find_in_exports
from engine.erasure.files import erase_in_contacts, find_in_contacts, texts
from engine.erasure.held import Held, Holding, Place, Removed
from engine.erasure.journal import Journal
from engine.erasure.named import Known
from engine.erasure.store import erase_in_store, find_in_store
from engine.erasure.tables import NO_PERSON, erase_in_tables, find_in_tables
from engine.remote.fetch import cache_folder, clear, leavings
from engine.tables import disk
from engine.tables.layout import TABLES, work_root

_DAY: Final = r"as_of=\d{4}-\d{2}-\d{2}"
_PEOPLE: Final = "|".join(name for name in TABLES if name not in NO_PERSON)


def _find_in_formats(place: Place) -> Iterator[Held]:
    from engine.formats.erasure import rows_in_formats

    for one in rows_in_formats(place.config, place.people.values, Known(place.people)):
        version = "" if one.is_current else " earlier"
        yield Held(f"{one.format} {one.table}{version} {one.path}", one.rows, (one.path,))


def _erase_in_formats(place: Place, _: Journal) -> Removed:
    from engine.formats.erasure import erase_in_formats

    done = erase_in_formats(place.config, place.people.values, Known(place.people))
    return Removed(done.rows, sum(one.rewritten for one in done.tables), sum(one.removed for one in done.tables))


def _find_in_work(place: Place) -> Iterator[Held]:
    """What killed runs left: all of it goes, whether the people are in it or not."""
    for path in disk.list_folder(work_root(place.out)):
        names = sorted(disk.list_files(path)) if path.is_dir() else []
        if names:
            where = path.relative_to(place.out).as_posix()
            yield Held(f"work {path.name}", pl.DataFrame({"folder": [where]}), (where,), is_about_people=False)
    for folder in leavings(cache_folder(place.out)):
        where = folder.relative_to(place.out).as_posix()
        yield Held(f"fetched {folder.name}", pl.DataFrame({"folder": [where]}), (where,), is_about_people=False)


def _erase_in_work(place: Place, _: Journal) -> Removed:
    # Taking the lock has completed or removed what killed runs left.
    found = list(_find_in_work(place))
    for held in found:
        if held.part.startswith("work "):
            disk.remove_tree(place.out / held.files[0])
    clear(cache_folder(place.out))
    return Removed(removed=len(found))


HOLDINGS: Final[tuple[Holding, ...]] = (
    Holding(
        "rollups",
        (r"_rollups/(?!rejects/|ids/).*",),
        "Sums of events by user, type and day, single events, ids and links of ids.",
        find_in_store,
        erase_in_store,
    ),
    Holding(
        "converted",
        (r"_converted/(?!\.lock$).*",),
        "Text files of the sources, converted to Parquet.",
        find_in_converted,
        erase_in_converted,
    ),
    Holding(
        "bundles",
        (r"_bundles/(?!current$).*",),
        "What fits have learnt; the edges of RFM ranks name users.",
        find_in_bundles,
        erase_in_bundles,
    ),
    Holding(
        "tables",
        (rf"(?:{_PEOPLE})/{_DAY}/.*", rf"_manifests/{_DAY}\.json"),
        "Published tables of all dates, and their manifests.",
        find_in_tables,
        erase_in_tables,
    ),
    Holding(
        "formats",
        (r"_delta/.*", r"_iceberg/.*", r"_formats/.*"),
        "Delta and Iceberg tables with their earlier versions, here or at an address, and what is known of them.",
        _find_in_formats,
        _erase_in_formats,
    ),
    Holding(
        "contacts",
        (r"_contacts/(?!\.lock$).*",),
        "Pairs of contacts that may be one person, and what was decided about them.",
        find_in_contacts,
        erase_in_contacts,
    ),
    Holding(
        "exports",
        (r"_exports/.*",),
        "The list of exports, and files of exports that are still where they were written.",
        find_in_exports,
        erase_in_exports,
    ),
    texts("reports", "_reports", r"_reports/.*", "Pages for people, made of figures.", remake=True),
    texts("runs", "_runs", r"_runs/.*", "Records of runs: counts, warnings, failures.", remake=False),
    texts("register", "_register", r"_register/.*", "Records of processing: sources, purposes, counts.", remake=False),
    Holding(
        "work",
        (r"_work/(?!lock$|holder\.json$|ledger\.json$|retention\.json$).*", r"_remote/.*"),
        "What runs keep between tasks, and copies of remote files; gone when they end, left when they are killed.",
        _find_in_work,
        _erase_in_work,
    ),
)
"""Where people are, in the order in which they are erased: what the next run reads goes first."""

NO_PERSON_PATHS: Final[Mapping[str, str]] = {
    **{rf"{name}/{_DAY}/.*": NO_PERSON[name] for name in TABLES if name in NO_PERSON},
    r"_rollups/rejects/.*": "where a rejected row stands in its file, and the rule: never what is in it",
    r"_rollups/ids/.*": "64-bit hashes of user, type and event id together; nothing leads back from them",
    r"_bundles/current": "which bundle was fitted, promoted or withdrawn",
    r"_privacy/tombstones\.json": "keyed hashes of people who were erased: without the key they are of nobody",
    r"_privacy/opposed\.json": "keyed hashes of people who object: kept so that they are honoured",
    r"_privacy/receipts/.*": "counts of what was erased",
    r"_privacy/unfinished/.*": "the people of an erasure that is under way; the last thing that goes with it",
    r"_work/(?:lock|(?:holder|ledger|retention)\.json)": "which process writes, and dates that it was changing",
    r"(?:_converted|_contacts)/\.lock": "an empty file",
    r"_privacy/\.lock": "an empty file",
}
"""Paths below an output root that tell of nobody, and why."""


def owners(path: str) -> list[str]:
    """What a path below an output root belongs to: names of holdings, or the reason why it tells of nobody."""
    found = [one.name for one in HOLDINGS if any(re.fullmatch(pattern, path) for pattern in one.patterns)]
    return found + [why for pattern, why in NO_PERSON_PATHS.items() if re.fullmatch(pattern, path)]


def find_everything(place: Place) -> Iterator[tuple[Holding, Held]]:
    """Everything that is held about people, holding by holding."""
    for holding in HOLDINGS:
        for held in holding.find(place):
            yield holding, held
