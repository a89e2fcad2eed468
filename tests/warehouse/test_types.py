from __future__ import annotations

import pyarrow as pa
import pytest

from engine.errors import ConfigError
from engine.warehouse.types import DIALECTS, arrow_type, column_type, type_name

CASES = [
    ("Boolean", pa.bool_(), ("BOOL", "BOOLEAN", "BOOLEAN", "Bool", "BOOLEAN", "BOOLEAN", "BOOLEAN")),
    ("Int8", pa.int16(), ("INT64", "NUMBER(38, 0)", "SMALLINT", "Int16", "SMALLINT", "SMALLINT", "SMALLINT")),
    ("UInt16", pa.int32(), ("INT64", "NUMBER(38, 0)", "INTEGER", "Int32", "INTEGER", "INTEGER", "INT")),
    ("Int64", pa.int64(), ("INT64", "NUMBER(38, 0)", "BIGINT", "Int64", "BIGINT", "BIGINT", "BIGINT")),
    (
        "List(String)",
        pa.list_(pa.string()),
        ("ARRAY<STRING>", "ARRAY", "SUPER", "Array(String)", "VARCHAR[]", "TEXT[]", "ARRAY<STRING>"),
    ),
    (
        "Datetime(time_unit='ms', time_zone='UTC')",
        pa.timestamp("us", "UTC"),
        ("TIMESTAMP", "TIMESTAMP_TZ", "TIMESTAMPTZ", "DateTime64(6, 'UTC')", "TIMESTAMPTZ", "TIMESTAMPTZ", "TIMESTAMP"),
    ),
    (
        "Decimal(precision=12, scale=2)",
        pa.decimal128(12, 2),
        (
            "BIGNUMERIC",
            *(
                "NUMBER(12, 2)",
                "DECIMAL(12, 2)",
                "Decimal(12, 2)",
                "DECIMAL(12, 2)",
                "NUMERIC(12, 2)",
                "DECIMAL(12, 2)",
            ),
        ),
    ),
]


@pytest.mark.parametrize(("dtype", "arrow", "names"), CASES)
def test_types(dtype: str, arrow: pa.DataType, names: tuple[str, ...]) -> None:
    found = column_type(dtype, "x")
    assert arrow_type(found) == arrow
    assert tuple(type_name(found, dialect) for dialect in DIALECTS) == names


@pytest.mark.parametrize("dtype", ["Struct({'a': Int64})", "List(List(String))", "Object", "Array(Int64, shape=(3,))"])
def test_types_that_no_warehouse_has(dtype: str) -> None:
    with pytest.raises(ConfigError, match="column 'x' is of type") as raised:
        column_type(dtype, "x")
    assert raised.value.code == "warehouse-type"
