"""DuckDB: tables, or views over the files; both with comments."""

from __future__ import annotations

from engine.warehouse.statements import Asked, block, comments, defined, deleted


def native(asked: Asked) -> list[str]:
    """The table and its comments."""
    return [
        f"CREATE TABLE IF NOT EXISTS {asked.name} {block([defined(asked, column) for column in asked.columns])}",
        *comments(asked),
    ]


def load(asked: Asked) -> list[str]:
    """The date in place of what the table has of it, in one transaction."""
    files = [f"{asked.location}/{part.folder}/{name}" for part in asked.parts for name in part.files]
    return [
        "BEGIN TRANSACTION",
        deleted(asked),
        (
            f"INSERT INTO {asked.name} ({asked.names(asked.columns)})\n"
            f"SELECT {asked.names(asked.columns)}\n"
            f"FROM {_read(asked, '[' + ', '.join(map(asked.text, files)) + ']')}"
        ),
        "COMMIT",
    ]


def external(asked: Asked) -> list[str]:
    """A view over the files of all dates, and its comments."""
    pattern = asked.text(f"{asked.folder}/**/*.parquet")
    return [
        (
            f"CREATE OR REPLACE VIEW {asked.name} AS\n"
            f"SELECT {asked.names(asked.columns)}\n"
            f"FROM {_read(asked, pattern, ', union_by_name = TRUE')}"
        ),
        *comments(asked, "VIEW"),
    ]


def _read(asked: Asked, files: str, more: str = "") -> str:
    types = ", ".join(f"{asked.text(key.name)}: {asked.type_of(key)}" for key in asked.keys)
    return f"read_parquet({files}, hive_partitioning = TRUE, hive_types = {{{types}}}{more})"
