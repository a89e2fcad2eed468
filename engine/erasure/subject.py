"""Everything that is held about a person, to be handed to them: as JSON, and as one CSV file per table.

It is found by the list that an erasure goes by (`engine.erasure.holdings`). Rows of the tables beside the log are
added: their files are the user's own, and what they say of a person belongs into the answer. Of the log itself the
files are named; what it says of a person is in the rollups.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.config import Config
from engine.erasure.bundles import learnt_from
from engine.erasure.exports import exports_of
from engine.erasure.held import Place
from engine.erasure.holdings import find_everything
from engine.erasure.resolve import check_ids, find_people
from engine.erasure.sources import sources_of, tables_beside
from engine.erasure.store import first_event
from engine.errors import ConfigError
from engine.tables import disk
from engine.tables.durable import durable_bytes, durable_text
from engine.tables.folder import check_empty

INDEX: Final = "subject.json"
FORMAT: Final = 1
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Part:
    """Rows about a person.

    Attributes:
        holding: Where they are held; `sources` for files of the user's own.
        name: The table, date or file.
        files: The files they are in.
        rows: All their columns.
    """

    holding: str
    name: str
    files: tuple[str, ...]
    rows: pl.DataFrame = field(repr=False)


@dataclass(frozen=True)
class Subject:
    """What is held about a person.

    Attributes:
        asked: The id that was asked for.
        ids: All ids that are theirs, as the tables have them.
        parts: Rows, by holding.
        sources: Files of the sources that hold rows of them, by source.
        exports: Exports that may have had them.
        bundles: Bundles that may have learnt from them.
    """

    asked: str = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    parts: tuple[Part, ...]
    sources: Mapping[str, Sequence[str]]
    exports: Sequence[Mapping[str, Any]]
    bundles: Sequence[Mapping[str, Any]]

    @property
    def held(self) -> tuple[Part, ...]:
        """The parts that the project holds: what an erasure takes away."""
        return tuple(part for part in self.parts if part.holding != "sources")

    def to_dict(self) -> dict[str, Any]:
        """Everything as values that JSON has."""
        return {
            "format": FORMAT,
            "asked": self.asked,
            "ids": list(self.ids),
            "held": [_described(part) for part in self.parts],
            "sources": {owner: list(files) for owner, files in self.sources.items()},
            "exports": [dict(one) for one in self.exports],
            "learnt_from": [dict(one) for one in self.bundles],
        }


def subject_of(config: Config, user: str) -> Subject:
    """Everything that is held about a person; nothing is written.

    Args:
        config: The configuration.
        user: An id, as the sources have it or as a pseudonym.

    Raises:
        ConfigError: A key is needed and missing.
        DataError: A table beside the log cannot be read.
        IntegrityError: Something below the output root is damaged.
    """
    config = config.model_copy(update={"out": str(Path(config.out).absolute())})
    check_ids(config, [user])
    people, _ = find_people(config, [user])
    place = Place(config, people)
    parts = [Part(holding.name, held.part, held.files, held.rows) for holding, held in find_everything(place)]
    beside = [
        Part("sources", f"{one.owner} {Path(one.file).name}", (one.file,), one.rows) for one in tables_beside(place)
    ]
    is_held = bool(parts)
    return Subject(
        asked=user,
        ids=people.ids,
        parts=(*parts, *beside),
        sources=sources_of(place),
        exports=exports_of(place) if is_held else (),
        bundles=learnt_from(place.out, first_event(place)) if is_held else (),
    )


def write_subject(subject: Subject, folder: Path, out: Path) -> tuple[str, ...]:
    """Write everything to a folder that only its owner may open: `subject.json`, and a CSV file per part.

    Args:
        subject: What is held.
        folder: Empty or not there; not in the output root, where it would be one more place that holds the person.
        out: The output root.

    Returns:
        The names of the files.

    Raises:
        ConfigError: The folder holds something, or lies in the output root.
        ResourceError: The disk is full or failing.
    """
    check_subject_folder(folder, out)
    disk.make_folder(folder)
    disk.make_private(folder)
    names = []
    for name, part in _named(subject.parts):
        durable_bytes(_csv(part.rows), folder / name)
        names.append(name)
    durable_text(json.dumps(subject.to_dict(), ensure_ascii=False, indent=2, default=str) + "\n", folder / INDEX)
    for name in (*names, INDEX):
        disk.make_private(folder / name)
    return (*names, INDEX)


def check_subject_folder(folder: Path, out: Path) -> None:
    """Stop before any work when a person's data cannot be written to a folder.

    Raises:
        ConfigError: As `write_subject`.
    """
    target, root = folder.resolve(), out.resolve()
    if target == root or root in target.parents or target in root.parents:
        raise ConfigError(
            f"{folder} lies in the folder of the tables or around it ({out})",
            code="subject-folder",
            hint="Name a folder beside it.",
        )
    check_empty(folder)


def _named(parts: Sequence[Part]) -> Iterator[tuple[str, Part]]:
    taken: dict[str, int] = {}
    for part in parts:
        stem = _UNSAFE.sub("-", f"{part.holding}-{part.name}").strip("-")[:150]
        taken[stem] = taken.get(stem, 0) + 1
        yield (f"{stem}.csv" if taken[stem] == 1 else f"{stem}-{taken[stem]}.csv"), part


def _csv(rows: pl.DataFrame) -> bytes:
    nested = [name for name, dtype in rows.schema.items() if dtype.is_nested() or dtype == pl.Binary]
    texts = {
        name: [json.dumps(_plain(value), ensure_ascii=False, default=str) for value in rows[name]] for name in nested
    }
    plain = rows.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in texts.items())
    return plain.write_csv().encode()


def _described(part: Part) -> dict[str, Any]:
    rows = [{name: _plain(value) for name, value in row.items()} for row in part.rows.iter_rows(named=True)]
    return {"holding": part.holding, "part": part.name, "files": list(part.files), "rows": rows}


def _plain(value: Any) -> Any:
    if isinstance(value, pl.Series):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
