"""`tamis load duckdb`: tables of a date into a DuckDB file, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.errors import ConfigError, ConflictError, TamisError
from engine.warehouse.ddl import created
from engine.warehouse.evolution import Loaded, lacking, may_hold
from engine.warehouse.rows import Rows
from engine.warehouse.sql import known_as, quoted
from engine.warehouse.statements import Asked, comments


def load_duckdb(file: Path, asked: Sequence[Asked], out: Path) -> tuple[Loaded, ...]:
    """Put tables of a date in place of what a file has of that date: all of them, or none.

    Args:
        file: The database; made when it is not there.
        asked: The tables, written down for DuckDB; of one without files the date is taken out, if it is there.
        out: The output root.

    Raises:
        ConfigError: DuckDB is not installed, the file is no database, or a table has columns of other types.
        ConflictError: Another process has the file open.
        IntegrityError: A published file is not what was written.
    """
    duckdb = _duckdb()
    is_new = not file.exists()
    connection = _open(duckdb, file)
    try:
        connection.execute("BEGIN TRANSACTION")
        loaded = tuple(done for one in asked if (done := _load(connection, one, out)) is not None)
        connection.execute("COMMIT")
    except BaseException as error:
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        connection.close()
        if is_new:
            file.unlink(missing_ok=True)
        if isinstance(error, duckdb.Error):
            raise _refused(file, error) from error
        raise
    connection.close()
    return loaded


def _load(connection: Any, asked: Asked, out: Path) -> Loaded | None:
    there = _columns(connection, asked)
    if not asked.record.records:
        if not may_hold(asked, there):
            return None
        _take_out(connection, asked)
        return Loaded(asked.table.name, 0, ())
    if asked.schema:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(asked.schema, 'duckdb')}")
    added = lacking(asked, there) if there else ()
    for column in added:
        connection.execute(f"ALTER TABLE {asked.name} ADD COLUMN {asked.quote(column.name)} {asked.type_of(column)}")
    for statement in comments(asked) if there else created(asked):
        connection.execute(statement)
    _take_out(connection, asked)
    rows = Rows(asked, out)
    connection.register("tamis_rows", rows.reader())
    try:
        connection.execute(f"INSERT INTO {asked.name} BY NAME SELECT * FROM tamis_rows")
    except Exception:
        # DuckDB tells an error of the files as its own.
        if isinstance(rows.failure, TamisError):
            raise rows.failure from None
        raise
    connection.unregister("tamis_rows")
    return Loaded(asked.table.name, rows.rows, tuple(column.name for column in added))


def _take_out(connection: Any, asked: Asked) -> None:
    connection.execute(f"DELETE FROM {asked.name} WHERE as_of = ?", [asked.as_of])


def _columns(connection: Any, asked: Asked) -> dict[str, str]:
    """The columns of the table that is there, as DuckDB spells their types."""
    schema = "lower(current_schema())" if asked.schema is None else "lower(?)"
    given = [known_as(asked.table.name, "duckdb"), *([asked.schema] if asked.schema else [])]
    found = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() "
        f"WHERE database_name = current_database() AND lower(table_name) = lower(?) AND lower(schema_name) = {schema}",
        given,
    )
    return dict(found.fetchall())


def _open(duckdb: Any, file: Path) -> Any:
    try:
        return duckdb.connect(str(file))
    except duckdb.Error as error:
        if "lock" in str(error).lower():
            raise ConflictError(
                f"another process has {file} open",
                code="load-busy",
                hint="Close it there and load again: DuckDB lets one process write.",
            ) from error
        raise ConfigError(
            f"{file} cannot be opened as a DuckDB database",
            code="load-file",
            hint="Name a DuckDB file, or one that is not there in a folder that is.",
        ) from error


def _refused(file: Path, error: Exception) -> TamisError:
    # The first line has no values of rows.
    reason = str(error).splitlines()[0]
    return ConfigError(f"DuckDB refused to load into {file}: {reason}", code="load-refused", hint="Nothing was loaded.")


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError:
        raise ConfigError(
            "tamis load duckdb needs DuckDB, which is not installed",
            code="load-not-installed",
            hint="Run `pip install 'tamis[warehouse]'`.",
        ) from None
    return duckdb
