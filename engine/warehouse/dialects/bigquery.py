"""BigQuery: tables partitioned by day, or external tables over hive partitions."""

from __future__ import annotations

from engine.warehouse.dictionary import Column
from engine.warehouse.statements import Asked, block, deleted


def native(asked: Asked) -> list[str]:
    """The table, one partition per date, clustered by its key, with descriptions."""
    cluster = [asked.quote(name) for name in asked.table.key if name != "as_of"][:4]
    columns = [_described(asked, column) for column in asked.columns]
    return [
        (
            f"CREATE TABLE IF NOT EXISTS {asked.name} {block(columns)}\n"
            f"PARTITION BY {asked.quote('as_of')}\nCLUSTER BY {', '.join(cluster)}\n"
            f"OPTIONS (description = {asked.text(asked.table.meaning)})"
        )
    ]


def load(asked: Asked) -> list[str]:
    """The files into a table of their own, and from there in one transaction in place of what the table has.

    The path of a file is percent-encoded where a name has other letters than A-Z; names are put in their place.
    """
    columns = block([f"{asked.quote(column.name)} {asked.type_of(column)}" for column in asked.inner])
    keys = ", ".join(f"{asked.quote(key.name)} {asked.type_of(key)}" for key in asked.keys)
    files = ", ".join(
        asked.text(f"{asked.location}/{part.folder}/{name}") for part in asked.parts for name in part.files
    )
    prefix = asked.text(asked.folder)
    values = [_decoded(asked, place, key) for place, key in enumerate(asked.keys)]
    return [
        (
            f"LOAD DATA OVERWRITE {asked.loading} {columns}\n"
            f"FROM FILES (format = 'PARQUET', hive_partition_uri_prefix = {prefix}, uris = [{files}])\n"
            f"WITH PARTITION COLUMNS ({keys})"
        ),
        "BEGIN TRANSACTION",
        deleted(asked),
        (
            f"INSERT INTO {asked.name} ({asked.names(asked.columns)})\n"
            f"SELECT {', '.join(values)}, {asked.names(asked.inner)}\nFROM {asked.loading}"
        ),
        "COMMIT TRANSACTION",
        f"DROP TABLE {asked.loading}",
    ]


def external(asked: Asked) -> list[str]:
    """An external table over the files of all dates."""
    columns = [_described(asked, column, required=False) for column in asked.inner]
    keys = ", ".join(f"{asked.quote(key.name)} {asked.type_of(key)}" for key in asked.keys)
    uris = asked.text(f"{asked.folder}/*.parquet")
    return [
        (
            f"CREATE OR REPLACE EXTERNAL TABLE {asked.name} {block(columns)}\nWITH PARTITION COLUMNS ({keys})\n"
            f"OPTIONS (format = 'PARQUET', uris = [{uris}], hive_partition_uri_prefix = {asked.text(asked.folder)}, "
            f"description = {asked.text(asked.table.meaning)})"
        )
    ]


def _described(asked: Asked, column: Column, *, required: bool = True) -> str:
    # An array is never null in BigQuery.
    null = " NOT NULL" if required and column.required and column.type.item is None else ""
    description = asked.text(column.comment)
    return f"{asked.quote(column.name)} {asked.type_of(column)}{null} OPTIONS (description = {description})"


def _decoded(asked: Asked, place: int, key: Column) -> str:
    name = asked.quote(key.name)
    encoded = {
        part.folder.split("/")[place + 1].partition("=")[2]: part.values[place - 1] for part in asked.parts if place
    }
    cases = [f"WHEN {asked.text(path)} THEN {asked.text(value)}" for path, value in encoded.items() if path != value]
    return f"CASE {name} {' '.join(cases)} ELSE {name} END" if cases else name
