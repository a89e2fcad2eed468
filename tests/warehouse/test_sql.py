from __future__ import annotations

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp
from sqlglot.tokens import TokenType

from engine.errors import ConfigError
from engine.warehouse.sql import check_names, known_as, quoted, table_name, text
from engine.warehouse.types import DIALECTS, Dialect

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=80) | st.text("\"`'\\;-/* \nax", min_size=1)
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def quoted_or_none(name: str, dialect: Dialect) -> str | None:
    try:
        return quoted(name, dialect)
    except ConfigError:
        return None


@each_dialect
@given(name=NAMES)
def test_a_quoted_name_is_one_name_or_refused(name: str, dialect: Dialect) -> None:
    sql = quoted_or_none(name, dialect)
    if sql is None:
        assert not name.isalnum()
        return
    (token,) = sqlglot.tokenize(sql, read=dialect)
    assert token.token_type == TokenType.IDENTIFIER
    (parsed,) = sqlglot.parse(f"SELECT {sql} FROM t", read=dialect)
    assert isinstance(parsed, exp.Select)
    column = parsed.selects[0]
    # sqlglot reads doubled backslashes in ClickHouse's names as they stand.
    expected = known_as(name, dialect)
    assert column.name in {expected, expected.replace("\\", "\\\\")}


@each_dialect
@given(value=st.text(st.characters(codec="utf-8")) | st.text("'\\;-\n\r\t\0x"))
def test_a_text_is_one_text(value: str, dialect: Dialect) -> None:
    sql = text(value, dialect)
    (token,) = sqlglot.tokenize(sql, read=dialect)
    assert token.token_type == TokenType.STRING
    (parsed,) = sqlglot.parse(f"SELECT {sql}", read=dialect)
    assert isinstance(parsed, exp.Select)
    assert parsed.selects[0].name == value.replace("\0", "")


@pytest.mark.parametrize(
    ("name", "dialect", "expected"),
    [
        ("group", "postgres", '"group"'),
        ("group", "snowflake", '"GROUP"'),
        ("Prénom", "snowflake", '"Prénom"'),
        ('a"b', "duckdb", '"a""b"'),
        ("a`b", "spark", "`a``b`"),
        ("a`b\\", "clickhouse", "`a``b\\\\`"),
    ],
)
def test_quotes(name: str, dialect: Dialect, expected: str) -> None:
    assert quoted(name, dialect) == expected


@pytest.mark.parametrize(
    ("name", "dialect"),
    [("", "duckdb"), ("a\0b", "postgres"), ("a\nb", "spark"), ("a`b", "bigquery"), ("a.b", "bigquery")],
)
def test_names_that_no_column_can_have(name: str, dialect: Dialect) -> None:
    with pytest.raises(ConfigError, match="cannot be a name"):
        quoted(name, dialect)


def test_long_names_are_cut_and_stay_different() -> None:
    names = [f"event_count_{'é' * 60}_{end}" for end in ("a", "b")]
    short = [known_as(name, "postgres") for name in names]
    assert [len(name.encode()) <= 63 for name in short] == [True, True]
    assert short[0] != short[1]
    assert short == [known_as(name, "postgres") for name in names]
    assert known_as(names[0], "duckdb") == names[0]


@pytest.mark.parametrize(
    ("schema", "dialect", "expected"),
    [
        (None, "postgres", '"t"'),
        ("a.b", "postgres", '"a.b"."t"'),
        ("project-1.crm", "bigquery", "`project-1`.`crm`.`t`"),
        ("db.crm", "snowflake", '"DB"."CRM"."T"'),
    ],
)
def test_schemas(schema: str | None, dialect: Dialect, expected: str) -> None:
    assert table_name(schema, "t", dialect) == expected


@pytest.mark.parametrize(("dialect", "refused"), [("duckdb", True), ("bigquery", True), ("postgres", False)])
def test_columns_that_differ_in_case_alone(dialect: Dialect, refused: bool) -> None:
    columns = ["Region", "x", "region"]
    if not refused:
        check_names("features", columns, dialect)
        return
    with pytest.raises(ConfigError, match="'Region' and 'region'"):
        check_names("features", columns, dialect)
