"""ClickHouse: tables, or views over the files."""

from __future__ import annotations

from engine.warehouse.dictionary import Column
from engine.warehouse.statements import Asked, Part, block


def native(asked: Asked) -> list[str]:
    """The table, one partition per date, sorted by its key, with comments."""
    key = [asked.quote(name) for name in asked.table.key if _is_required(asked, name)]
    columns = [
        f"{asked.quote(column.name)} {_type(asked, column)} COMMENT {asked.text(column.comment)}"
        for column in asked.columns
    ]
    return [
        (
            f"CREATE TABLE IF NOT EXISTS {asked.name} {block(columns)}\n"
            f"ENGINE = MergeTree\nPARTITION BY {asked.quote('as_of')}\nORDER BY ({', '.join(key)})\n"
            f"COMMENT {asked.text(asked.table.meaning)}"
        )
    ]


def load(asked: Asked) -> list[str]:
    """The date in place of the table's partition of it, in one instant: `REPLACE PARTITION` is atomic."""
    day = asked.text(asked.as_of.isoformat())
    inserts = [
        f"INSERT INTO {asked.loading} ({asked.names(asked.columns)})\n"
        f"SELECT {asked.values(part)}, {asked.names(asked.inner)}\n"
        f"FROM {_files(asked, part)}"
        for part in asked.parts
    ]
    return [
        f"DROP TABLE IF EXISTS {asked.loading}",
        f"CREATE TABLE {asked.loading} AS {asked.name}",
        *inserts,
        f"ALTER TABLE {asked.name} REPLACE PARTITION {day} FROM {asked.loading}",
        f"DROP TABLE {asked.loading}",
    ]


def external(asked: Asked) -> list[str]:
    """A view over the files of all dates; the keys are taken from their paths."""
    keys = []
    for key in asked.keys:
        found = f"decodeURLComponent(extract(_path, {asked.text(f'/{key.name}=([^/]+)/')}))"
        keys.append(f"{f'toDate32({found})' if key.type.kind == 'date' else found} AS {asked.quote(key.name)}")
    source = _source(asked, f"{asked.folder}/**/*.parquet")
    return [
        f"CREATE OR REPLACE VIEW {asked.name} AS\nSELECT {', '.join(keys)}, {asked.names(asked.inner)}\nFROM {source}"
    ]


def _type(asked: Asked, column: Column) -> str:
    name = asked.type_of(column)
    # An array cannot be null; one that is, is read as an empty one.
    return name if column.required or column.type.item is not None else f"Nullable({name})"


def _files(asked: Asked, part: Part) -> str:
    names = part.files[0] if len(part.files) == 1 else "{" + ",".join(part.files) + "}"
    return _source(asked, f"{asked.location}/{part.folder}/{names}")


def _source(asked: Asked, path: str) -> str:
    # Types are told, as those that it infers are all nullable.
    structure = ", ".join(f"{asked.quote(column.name)} {_type(asked, column)}" for column in asked.inner)
    if path.startswith("s3://"):
        # What is in an address is decoded once more than what is in a path.
        return f"s3({asked.text(path.replace('%', '%25'))}, 'Parquet', {asked.text(structure)})"
    return f"file({asked.text(path)}, 'Parquet', {asked.text(structure)})"


def _is_required(asked: Asked, name: str) -> bool:
    return any(column.name == name and column.required for column in asked.columns)
