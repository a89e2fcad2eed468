"""Rows in fewer bytes while a run moves them, and back: numbers as wide as their values, repeated texts as numbers.

A row of a published table has half the bytes so. A bucket is narrowed by its own values; where rows of several buckets
are joined, `Form` has the types that hold them all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

MOST_TEXTS: Final = 255
"""Different texts of a column that is kept as numbers: each takes one byte then."""

_SAMPLE_ROWS: Final = 1_024
_INTEGERS: Final = {
    "Int8": (pl.Int8(), 2**7 - 1),
    "Int16": (pl.Int16(), 2**15 - 1),
    "Int32": (pl.Int32(), 2**31 - 1),
    "Int64": (pl.Int64(), 2**63 - 1),
}
_ORDER: Final = tuple(_INTEGERS)
_TEXT: Final = "String"
_KEY: Final = b"tamis.narrow"

Kept = str | tuple[str, ...]
"""How a column is kept: the type of its numbers, all texts it may have, or `String` for texts as they are."""


def narrowed(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows in fewer bytes; `user_id`, by which they are sorted, stays as it is."""
    columns = [name for name in frame.columns if name != "user_id"]
    integers = [name for name in columns if frame.schema[name] in (pl.Int64(), pl.Int32())]
    least, most = frame.select(pl.col(integers).min()), frame.select(pl.col(integers).max())
    types: dict[str, pl.DataType] = {}
    for name in integers:
        dtype = _integer(least[name].item() or 0, most[name].item() or 0)
        if dtype != frame.schema[name]:
            types[name] = dtype
    for name in columns:
        # Ids and addresses are told by their first rows: the others need not be looked at.
        if frame.schema[name] == pl.String() and frame[name].head(_SAMPLE_ROWS).n_unique() <= MOST_TEXTS:
            texts = frame[name].unique().drop_nulls()
            if texts.len() <= MOST_TEXTS:
                types[name] = pl.Enum(texts.sort())
    return frame.cast(types)  # type: ignore[arg-type]


def noted(rows: pa.Table, wide: pl.Schema, narrow: pl.Schema) -> pa.Table:
    """Narrow rows with a note of the types that they had, for `widened` and `common_form`."""
    changed = {name: (str(dtype), _kept(narrow[name])) for name, dtype in wide.items() if dtype != narrow[name]}
    return rows.replace_schema_metadata({_KEY: json.dumps(changed)})


def widened(rows: pa.Table) -> pl.DataFrame:
    """The rows with the types that they had."""
    frame = pl.DataFrame(rows)
    return frame.cast({name: _dtype(wide) for name, (wide, _) in _note(rows.schema).items() if name in frame.columns})


@dataclass(frozen=True)
class Form:
    """What narrow rows of several work files have in common.

    Attributes:
        columns: Of the columns that are narrow in some file, the type that they had, and how the rows of all are kept.
    """

    columns: Mapping[str, tuple[str, Kept]]

    def changes(self, schema: pa.Schema) -> tuple[Change, ...]:
        """What rows of a file need so that they can be joined with those of the others."""
        own = _note(schema)
        found = []
        for name, (wide, common) in self.columns.items():
            _, kept = own.get(name, (wide, wide))
            if kept != common:
                field = _arrow(pl.DataFrame(schema={name: _dtype(common)})).schema.field(0)
                found.append(Change(schema.get_field_index(name), field, _places(kept, common)))
        return tuple(found)

    def widened(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Joined rows with the types that they had; but texts stay numbers, of those that the rows have."""
        types: dict[str, pl.DataType] = {}
        for name, (wide, kept) in self.columns.items():
            if isinstance(kept, str):
                types[name] = _dtype(wide)
                continue
            used = frame[name].to_physical().unique().drop_nulls().sort()
            if used.len() < len(kept):
                types[name] = pl.Enum([kept[place] for place in used])
        return frame.cast(types)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Change:
    """A column of one file, from its own narrow type to the common one.

    Attributes:
        column: Its position.
        field: Its common name and type.
        texts: Of texts that are numbers in the file: all texts of the common type, and the place among them of each
            text of the file; None of other columns.
    """

    column: int
    field: pa.Field
    texts: tuple[pa.Array, pa.Array] | None

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with that column changed."""
        return batch.set_column(self.column, self.field, self._changed(batch.column(self.column)))

    def _changed(self, values: pa.Array) -> pa.Array:
        import pyarrow as pa

        if self.texts is not None:
            texts, places = self.texts
            return pa.DictionaryArray.from_arrays(places.take(values.indices), texts, ordered=True)
        if isinstance(values, pa.DictionaryArray):
            # Arrow cannot look views of texts up.
            return _array(pl.Series(values, dtype=pl.String()))
        return values.cast(self.field.type)


def common_form(schemas: Sequence[pa.Schema]) -> Form:
    """The form in which the rows of files with these schemas can be joined; all have the same columns."""
    # Most files are alike.
    notes = [_note(schema) for schema in {(schema.metadata or {}).get(_KEY): schema for schema in schemas}.values()]
    wide = {name: wide for note in notes for name, (wide, _) in note.items()}
    kept = {name: [note.get(name, (dtype, dtype))[1] for note in notes] for name, dtype in wide.items()}
    return Form({name: (dtype, _common(kept[name])) for name, dtype in wide.items()})


def _common(kept: Sequence[Kept]) -> Kept:
    numbers = [one for one in kept if isinstance(one, str)]
    if _TEXT in numbers:
        return _TEXT
    if numbers:
        return max(numbers, key=_ORDER.index)
    texts = tuple(sorted({text for one in kept for text in one}))
    return texts if len(texts) <= MOST_TEXTS else _TEXT


def _places(own: Kept, common: Kept) -> tuple[pa.Array, pa.Array] | None:
    if isinstance(own, str) or isinstance(common, str):
        return None
    places = {text: place for place, text in enumerate(common)}
    return _array(pl.Series(common)), _array(pl.Series([places[text] for text in own], dtype=pl.UInt8()))


def _integer(low: int, high: int) -> pl.DataType:
    return next(dtype for dtype, most in _INTEGERS.values() if -most - 1 <= low and high <= most)


def _kept(dtype: pl.DataType) -> Kept:
    return tuple(dtype.categories) if isinstance(dtype, pl.Enum) else str(dtype)


def _dtype(kept: Kept) -> pl.DataType:
    if not isinstance(kept, str):
        return pl.Enum(kept)
    return pl.String() if kept == _TEXT else _INTEGERS[kept][0]


def _note(schema: pa.Schema) -> dict[str, tuple[str, Kept]]:
    note = json.loads((schema.metadata or {}).get(_KEY, b"{}"))
    return {name: (wide, kept if isinstance(kept, str) else tuple(kept)) for name, (wide, kept) in note.items()}


def _array(series: pl.Series) -> pa.Array:
    return series.to_arrow(compat_level=pl.CompatLevel.newest())


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.newest())
