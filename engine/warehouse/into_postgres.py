"""`tamis load postgres`: tables of a date into PostgreSQL by COPY, in one transaction.

The rows go from Arrow to `COPY … FROM STDIN (FORMAT binary)` through ADBC, in the transaction of the connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from engine.errors import ConfigError, TamisError
from engine.warehouse.ddl import created
from engine.warehouse.evolution import Loaded, lacking, may_hold
from engine.warehouse.postgres_errors import connection_error, statement_error
from engine.warehouse.rows import Rows
from engine.warehouse.sql import known_as, quoted
from engine.warehouse.statements import Asked, comments

LOCK_SECONDS = 60
"""How long a load waits for another one into the same table."""

CONNECT_SECONDS = 10
_ANY = "a table"


def load_postgres(dsn: str, asked: Sequence[Asked], out: Path) -> tuple[Loaded, ...]:
    """Put tables of a date in place of what a database has of that date: all of them, or none.

    Two loads into one table wait for each other, so that running twice at once leaves one copy, too.

    Args:
        dsn: Address (`postgresql://…`) or `key=value` pairs as libpq reads them; what it lacks libpq takes from the
            environment (`PGHOST`, `PGPASSWORD`, …) and from `~/.pgpass`.
        asked: The tables, written down for PostgreSQL; of one without files the date is taken out, if it is there.
        out: The output root.

    Raises:
        ConfigError: The driver is not installed, the login is refused, or a table has columns of other types.
        ConflictError: Another load takes longer than `LOCK_SECONDS`.
        TransientError: The server does not answer.
        DataError: The server refuses a value.
        IntegrityError: A published file is not what was written.
    """
    driver = _driver()
    try:
        connection = driver.connect(dsn or "postgresql://")
    except driver.Error as error:
        raise connection_error(str(error)) from None
    loaded: list[Loaded] = []
    table = _ANY
    with closing(connection):
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                for one in asked:
                    table = one.table.name
                    done = _load(cursor, one, out)
                    loaded += [] if done is None else [done]
                table = _ANY
            connection.commit()
        except driver.Error as error:
            with suppress(driver.Error):
                connection.rollback()
            raise statement_error(str(error), error.sqlstate, table) from None
        except BaseException:
            with suppress(driver.Error):
                connection.rollback()
            raise
    return tuple(loaded)


def with_timeout(dsn: str) -> str:
    """The address with a limit on how long libpq waits for the server, when it has none of its own."""
    if "connect_timeout" in dsn:
        return dsn
    limit = f"connect_timeout={CONNECT_SECONDS}"
    if dsn.startswith(("postgresql://", "postgres://")) or not dsn:
        dsn = dsn or "postgresql://"
        return f"{dsn}{'&' if '?' in dsn else '?'}{limit}"
    return f"{dsn} {limit}"


def _load(cursor: Any, asked: Asked, out: Path) -> Loaded | None:
    _one(cursor, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))::text", f"tamis {asked.name}")
    if not asked.record.records:
        if not may_hold(asked, _columns(cursor, asked)):
            return None
        _take_out(cursor, asked)
        return Loaded(asked.table.name, 0, ())
    if asked.schema and _one(cursor, "SELECT to_regnamespace($1)::text", quoted(asked.schema, "postgres")) is None:
        cursor.execute(f"CREATE SCHEMA {quoted(asked.schema, 'postgres')}")
    there = _columns(cursor, asked)
    added = lacking(asked, {name: kind for name, (kind, _) in there.items()}) if there else ()
    for column in added:
        cursor.execute(f"ALTER TABLE {asked.name} ADD COLUMN {asked.quote(column.name)} {asked.type_of(column)}")
    for statement in _outdated_comments(cursor, asked, there) if there else created(asked):
        cursor.execute(statement)
    _take_out(cursor, asked)
    rows = Rows(asked, out)
    schema = None if asked.schema is None else known_as(asked.schema, "postgres")
    try:
        cursor.adbc_ingest(known_as(asked.table.name, "postgres"), rows.reader(), mode="append", db_schema_name=schema)
    except Exception:
        # The driver tells an error of the files as its own.
        if isinstance(rows.failure, TamisError):
            raise rows.failure from None
        raise
    return Loaded(asked.table.name, rows.rows, tuple(column.name for column in added))


def _take_out(cursor: Any, asked: Asked) -> None:
    cursor.execute(f"DELETE FROM {asked.name} WHERE as_of = $1", (asked.as_of,))


def _one(cursor: Any, query: str, value: str) -> Any:
    cursor.execute(query, (value,))
    return cursor.fetchone()[0]


def _columns(cursor: Any, asked: Asked) -> dict[str, tuple[str, str | None]]:
    """Type and comment of every column of the table that is there, as the catalogue spells them."""
    cursor.execute(
        "SELECT attname::text, format_type(atttypid, atttypmod), col_description(attrelid, attnum) FROM pg_attribute "
        "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (asked.name,),
    )
    return {name: (kind, comment) for name, kind, comment in cursor.fetchall()}


def _outdated_comments(cursor: Any, asked: Asked, there: dict[str, tuple[str, str | None]]) -> list[str]:
    told = _one(cursor, "SELECT obj_description(to_regclass($1), 'pg_class')", asked.name)
    known = [told, *(there.get(known_as(column.name, "postgres"), ("", None))[1] for column in asked.columns)]
    wanted = [asked.table.meaning, *(column.comment for column in asked.columns)]
    return [
        statement
        for statement, has, should in zip(comments(asked), known, wanted, strict=True)
        if has != should.replace("\0", "")
    ]


def _driver() -> Any:
    try:
        import adbc_driver_postgresql.dbapi
    except ImportError:
        raise ConfigError(
            "tamis load postgres needs the ADBC driver of PostgreSQL, which is not installed",
            code="load-not-installed",
            hint="Run `pip install 'tamis[warehouse]'`.",
        ) from None
    return adbc_driver_postgresql.dbapi
