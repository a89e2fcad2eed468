from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import chdb.session
import duckdb
import polars as pl
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp
from sqlglot.tokens import TokenType

from engine.errors import ConfigError
from engine.warehouse.ddl import Place, asked_of, location_for, script, statements
from engine.warehouse.dialects.redshift import manifests
from engine.warehouse.dictionary import Column, Table
from engine.warehouse.statements import Asked
from engine.warehouse.types import DIALECTS, Dialect, column_type
from tests.samples import AS_OF
from tests.warehouse.postgres_server import Server
from tests.warehouse.sample import LOCATIONS, SEGMENTS, HandMade, frames

# What sqlglot takes for granted without a look, and what it calls the rest.
KINDS = {
    "BEGIN": exp.Transaction,
    "COMMIT": exp.Commit,
    "CREATE": exp.Create,
    "DROP": exp.Drop,
    "DELETE": exp.Delete,
    "INSERT": exp.Insert,
    "COMMENT": exp.Comment,
    "COPY": exp.Copy,
    "ALTER": exp.Alter,
    "LOAD": exp.LoadData,
    "SET": exp.Set,
    "MSCK": exp.Command,
}
each_way = pytest.mark.parametrize(
    ("dialect", "external"),
    [(dialect, way) for dialect in DIALECTS for way in (False, True) if (dialect, way) != ("postgres", True)],
)


def parsed(statement: str, dialect: Dialect) -> exp.Expression:
    """One statement of the kind that its first word says; the one clause that sqlglot does not know is taken out."""
    assert [
        token.text for token in sqlglot.tokenize(statement, read=dialect) if token.token_type == TokenType.SEMICOLON
    ] == []
    known = (
        re.sub(r"\nWITH PARTITION COLUMNS \([^\n]*\)(\n|$)", "\n", statement) if dialect == "bigquery" else statement
    )
    (tree,) = sqlglot.parse(known, read=dialect)
    assert isinstance(tree, KINDS[statement.split(maxsplit=1)[0]]), statement
    return tree


@each_way
def test_every_statement_is_one_of_its_kind(sample: HandMade, dialect: Dialect, external: bool) -> None:
    for asked in sample.asked(dialect, schema="crm"):
        found = statements(asked, external=external)
        trees = [parsed(statement, dialect) for statement in found]
        created = [tree for tree in trees if isinstance(tree, exp.Create) and tree.kind in {"TABLE", "VIEW"}]
        assert created
        assert created[0].find(exp.Table).name.lower() == asked.table.name


@each_way
@settings(max_examples=15)
@given(
    name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
    | st.text("\"`'\\;-\n ax", min_size=1, max_size=9),
    segment=st.text(st.characters(codec="utf-8"), min_size=1, max_size=20) | st.text("'\\;-\n", min_size=1, max_size=9),
)
def test_no_name_ends_a_statement(name: str, segment: str, dialect: Dialect, external: bool) -> None:
    found = statements_or_none(made_up(name, segment, dialect), external)
    if found is None:
        assert not name.isalnum()
        return
    kinds = [type(parsed(statement, dialect)) for statement in found]
    assert kinds == [
        type(parsed(one, dialect)) for one in statements(made_up("plain", "plain", dialect), external=external)
    ]


def statements_or_none(asked: Asked, external: bool) -> list[str] | None:
    try:
        return statements(asked, external=external)
    except ConfigError:
        return None


def made_up(name: str, segment: str, dialect: Dialect) -> Asked:
    from engine.tables.layout import partition_folder
    from engine.tables.manifest import FileRecord, table_record

    try:
        folder = partition_folder(Path("segments/as_of=2026-03-01"), "segment", segment)
    except ConfigError:
        folder = Path("segments/as_of=2026-03-01/segment=x")
    record = table_record(
        "segments", AS_OF, (("x", "Int64"),), [FileRecord(f"{folder}/part-0.parquet", 1, 9, "0" * 64)]
    )
    columns = (
        Column("as_of", column_type("Date", ""), "Day.", required=True, partition=True),
        Column("segment", column_type("String", ""), f"Named {segment}.", required=True, partition=True),
        Column("user_id", column_type("Int64", ""), "User.", required=True),
        Column(name, column_type("String", ""), f"Of {name}.", "count"),
    )
    table = Table("segments", f"Meaning of {name}.", ("as_of", "user_id"), columns)
    return Asked(table, record, AS_OF, dialect, schema="crm", location=LOCATIONS.get(dialect, "/data"))


def test_duckdb_runs_it(sample: HandMade) -> None:
    with duckdb.connect() as connection:
        for _ in range(2):
            connection.execute(script(sample.asked("duckdb")))
        assert_is_published(connection, sample)
        told = connection.execute("SELECT comment FROM duckdb_tables() WHERE table_name = 'segments'").fetchone()
        assert told is not None
        assert told[0].startswith("One row per user")


def test_duckdb_runs_the_views(sample: HandMade) -> None:
    with duckdb.connect() as connection:
        connection.execute(script(sample.asked("duckdb"), external=True))
        assert_is_published(connection, sample)


def assert_is_published(connection: Any, sample: HandMade) -> None:
    for name, frame in frames(60).items():
        columns = ["as_of", *frame.columns]
        names = ", ".join(f'"{column}"' for column in columns)
        # As Arrow, for DuckDB makes times of Python with a package of its own.
        found = pl.DataFrame(pl.from_arrow(connection.sql(f"SELECT {names} FROM {name}").to_arrow_table()))
        expected = frame.select(pl.lit(AS_OF).alias("as_of"), pl.all()).rows()
        assert sorted(found.rows(), key=repr) == sorted(expected, key=repr), name


def test_clickhouse_runs_it(sample: HandMade, tmp_path: Path) -> None:
    session = chdb.session.Session(str(tmp_path))
    try:
        for asked in sample.asked("clickhouse"):
            # ClickHouse takes one statement at a time; twice leaves one copy.
            for statement in [*statements(asked), *statements(asked)]:
                session.query(statement)
        rows = "SELECT segment, user_id, engagement_score FROM {} ORDER BY user_id"
        expected = frames(60)["segments"].select("segment", "user_id", "engagement_score").sort("user_id")
        table = session.query(rows.format("segments"), "ArrowTable")
        assert pl.DataFrame(pl.from_arrow(table)).rows() == expected.rows()
        features = session.query('SELECT "Prénom" FROM features ORDER BY user_id', "ArrowTable")
        assert features.column(0).to_pylist() == frames(60)["features"]["Prénom"].to_list()
        session.query("CREATE DATABASE over_files")
        for asked in sample.asked("clickhouse", schema="over_files"):
            for statement in statements(asked, external=True):
                session.query(statement)
        table = session.query(rows.format("over_files.segments"), "ArrowTable")
        assert pl.DataFrame(pl.from_arrow(table)).rows() == expected.rows()
    finally:
        session.close()


def test_postgres_runs_it(sample: HandMade, postgres: Server) -> None:
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(postgres.dsn, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA by_hand")
        for asked in sample.asked("postgres", schema="by_hand"):
            for statement in [*statements(asked), *statements(asked)]:
                cursor.execute(statement)
        cursor.execute("SELECT obj_description('by_hand.segments'::regclass)")
        assert cursor.fetchone()[0].startswith("One row per user")
        cursor.execute("DROP SCHEMA by_hand CASCADE")


def test_redshift_manifests_name_every_file(sample: HandMade) -> None:
    (asked,) = sample.asked("redshift", "segments")
    found = manifests(asked)
    loading = "\n".join(statements(asked))
    assert [f"s3://b/t/{path}" in loading for path in found] == [True] * len(SEGMENTS)
    entries = [entry for text in found.values() for entry in json.loads(text)["entries"]]
    record = asked.record
    assert {(entry["url"], entry["meta"]["content_length"]) for entry in entries} == {
        (f"s3://b/t/{file.path}", file.bytes) for file in record.records
    }


@pytest.mark.parametrize(
    ("dialect", "location", "expected"),
    [
        ("duckdb", "/data/out/", "/data/out"),
        ("snowflake", "gs://b/x", "gcs://b/x"),
        ("bigquery", "gs://b/x//", "gs://b/x"),
    ],
)
def test_locations(dialect: Dialect, location: str, expected: str) -> None:
    assert location_for(dialect, location) == expected


@pytest.mark.parametrize(
    ("dialect", "location"), [("bigquery", "s3://b"), ("snowflake", "/data"), ("redshift", "gs://b")]
)
def test_a_warehouse_that_does_not_see_the_files(dialect: Dialect, location: str) -> None:
    with pytest.raises(ConfigError, match="reads files at"):
        location_for(dialect, location)


def test_an_unknown_table_and_one_like_it(sample: HandMade) -> None:
    with pytest.raises(ConfigError, match=r"'segment' \(did you mean 'segments'") as raised:
        asked_of(sample.published(), sample.config, "duckdb", Place(), ["segment", "segments"])
    assert raised.value.code == "table-unknown"


def test_postgres_has_no_tables_over_files(sample: HandMade) -> None:
    with pytest.raises(ConfigError, match="no tables over Parquet files"):
        script(sample.asked("postgres"), external=True)
