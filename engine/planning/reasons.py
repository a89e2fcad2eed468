"""Why a run does something again: new data, a changed file, the configuration, the model, the code; or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, Literal

from engine.bundle import bundle_id, read_meta
from engine.bundle_pointer import read_acts
from engine.bundle_store import current_bundle
from engine.config import Config
from engine.config_file import config_hash
from engine.errors import TamisError
from engine.identity import learning_hashes, run_identity
from engine.planning.census import Census, StaleUnit
from engine.planning.inputs import Due
from engine.rollups.index import Entry
from engine.schedule.late import input_marks
from engine.segments.definitions import definitions
from engine.stages.input import Input, input_fingerprint
from engine.stages.segmenting import segments_hash
from engine.tables.layout import bundles_folder, manifest_path
from engine.tables.manifest import Manifest, read_manifest

Why = Literal["new data", "changed file", "configuration", "model", "code version", "first time", "nothing to do"]

_OF_THE_ID: Final[tuple[str, ...]] = ("config", "input", "bundle", "segments")


@dataclass(frozen=True)
class Reason:
    """Why one item of a run is done.

    Attributes:
        item: `read <source>`, `fit` or `score`.
        why: In a word.
        what: In a sentence.
        units, rows: Units of the log, and their rows; 0 for other items.
    """

    item: str
    why: Why
    what: str
    units: int = 0
    rows: int = 0


def reasons(config: Config, census: Census, due: Due, as_of: date) -> tuple[Reason, ...]:
    """Why each item of a run is done, or that there is nothing to do for it."""
    out = Path(config.out).absolute()
    read = [*_reading(config, census)]
    return (*read, _fit(config, due, out, as_of), *_score(config, census, due, out, as_of))


# ------------------------------------------------------------------------------------------------------------- reading


def _reading(config: Config, census: Census) -> Iterator[Reason]:
    entries = census.index.by_name()
    stale = {(unit.source, unit.label) for unit in census.stale}
    for source in config.sources:
        item = f"read {source.name}"
        own = [unit for unit in census.stale if unit.source == source.name]
        if not own:
            yield Reason(item, "nothing to do", "everything is rolled up")
            continue
        grouped: dict[tuple[Why, str], list[StaleUnit]] = {}
        for unit in own:
            grouped.setdefault(_why(unit, entries.get((unit.source, unit.label)), stale), []).append(unit)
        for (why, what), units in grouped.items():
            yield Reason(item, why, f"{_labels(units)}: {what}", len(units), sum(unit.rows for unit in units))
    if census.gone:
        yield Reason("read", "changed file", f"{census.gone:,} units are not in the log any more", census.gone)


def _why(unit: StaleUnit, entry: Entry | None, stale: set[tuple[str, str]]) -> tuple[Why, str]:
    if entry is None:
        return "new data", "not rolled up yet"
    then, now = {file.path: file for file in entry.sources}, {file.path: file for file in unit.found.unit.files}
    if then.keys() != now.keys():
        more, less = len(now.keys() - then.keys()), len(then.keys() - now.keys())
        if not less:
            return "new data", "files came to a day that was rolled up"
        return "changed file", "files were removed" if not more else "files were replaced by others"
    if then != now:
        return "changed file", "files have another size, time of change or inode"
    if entry.fingerprint == unit.found.fingerprint:
        return "configuration", "event types or columns are needed that were not rolled up"
    if any(source == unit.source and label < unit.label for source, label in stale - {(unit.source, unit.label)}):
        return "changed file", "days that they look back to for repeats have changed, or settings of their source"
    return "configuration", "settings of their source, the time zone or exclusions are others"


def _labels(units: Sequence[StaleUnit]) -> str:
    dated = sorted(unit.label for unit in units if unit.label)
    if not dated:
        return "files without a date"
    days = f"{len(dated):,} days" if len(dated) > 1 else "1 day"
    return f"{days}, {dated[0]}" + (f" to {dated[-1]}" if len(dated) > 1 else "")


# ------------------------------------------------------------------------------------------------------------- fitting


def _fit(config: Config, due: Due, out: Path, as_of: date) -> Reason:
    if due.bundle is not None:
        fitted = _fitted_on(due.bundle)
        return Reason("fit", "nothing to do", f"the bundle {due.bundle.name} of {fitted} is taken")
    metas = _metas(out)
    if not metas:
        return Reason("fit", "first time", "nothing was fitted yet")
    wanted = learning_hashes(config)
    usable = {name: meta for name, meta in metas.items() if date.fromisoformat(str(meta["as_of"])) <= as_of}
    if not usable:
        return Reason("fit", "model", f"every bundle was fitted after {as_of}")
    same = [name for name, meta in usable.items() if meta["learnt_from"] == wanted]
    latest = max(same or usable, key=lambda name: (str(usable[name]["as_of"]), name))
    if not same:
        then = usable[latest]["learnt_from"]
        others = [
            section for section in wanted if not isinstance(then, Mapping) or then.get(section) != wanted[section]
        ]
        listed = ", ".join(others) or "its version"
        return Reason("fit", "configuration", f"{listed}: not as in the bundle {latest}")
    age = (as_of - date.fromisoformat(str(usable[latest]["as_of"]))).days
    if age >= config.refit_after_days:
        return Reason("fit", "model", f"the last fit is {age} days old; refit_after_days is {config.refit_after_days}")
    return Reason("fit", "model", f"the bundle {latest} cannot be taken: see `tamis bundle list`")


def _metas(out: Path) -> dict[str, Mapping[str, object]]:
    metas: dict[str, Mapping[str, object]] = {}
    with suppress(TamisError):
        for name in dict.fromkeys(act.bundle for act in read_acts(out)):
            with suppress(TamisError, OSError, ValueError, KeyError):
                metas[name] = read_meta(bundles_folder(out) / name)
    return metas


def _fitted_on(folder: Path) -> str:
    with suppress(TamisError, OSError, ValueError, KeyError):
        return str(read_meta(folder)["as_of"])
    return "an unknown day"


# ------------------------------------------------------------------------------------------------------------- scoring


def _score(config: Config, census: Census, due: Due, out: Path, as_of: date) -> Iterator[Reason]:
    path = manifest_path(out, as_of)
    if not path.exists():
        yield Reason("score", "first time", f"{as_of} is not published yet")
        return
    manifest = read_manifest(path)
    found = [*_differences(config, census, due, out, as_of, manifest)]
    if found:
        yield from found
    else:
        yield Reason("score", "nothing to do", f"{as_of} is published from the same data, settings, bundle and code")


def _differences(
    config: Config, census: Census, due: Due, out: Path, as_of: date, manifest: Manifest
) -> Iterator[Reason]:
    plain = config.model_copy(update={"out": str(out)})
    now = {
        "config": config_hash(plain),
        "input": input_fingerprint(plain, Input(tuple(census.found.values()), {}, "")),
    }
    then = manifest.fingerprints
    if then.get("input") != now["input"] and not _is_beside(plain, census, as_of, then):
        yield Reason("score", "new data", f"the files of the log or of contacts are not those that {as_of} was made of")
    if then.get("config") not in {now["config"], config_hash(config)}:
        yield Reason("score", "configuration", "the configuration is another one")
    folder = due.bundle
    if due.fits:
        current = current_bundle(out)
        which = "" if current is None else f" after {current.name}"
        yield Reason("score", "model", f"a new bundle{which} is fitted first")
        return
    if folder is not None and then.get("bundle") != bundle_id(folder):
        yield Reason(
            "score", "model", f"{as_of} was scored with the bundle {then.get('bundle')}, now it is {folder.name}"
        )
        return
    if then.get("segments") != segments_hash(definitions(plain)):
        yield Reason("score", "configuration", "rules or the files of lists are others")
        return
    # What a manifest says beside these is no part of the run's id.
    named: dict[str, str] = {name: then[name] for name in _OF_THE_ID if name in then}
    if run_identity("score", as_of, named) != manifest.run_id:
        yield Reason("score", "code version", "other versions of tamis or of the packages that write its numbers")


def _is_beside(config: Config, census: Census, as_of: date, then: Mapping[str, str]) -> bool:
    """Whether other files than before have the same events before the date."""
    stale = {(unit.source, unit.label) for unit in census.stale}
    entries = [entry for name, entry in census.index.by_name().items() if name in census.found and name not in stale]
    marks = input_marks(config, entries, as_of)
    return not stale and bool(marks) and all(then.get(name) == mark for name, mark in marks.items())
