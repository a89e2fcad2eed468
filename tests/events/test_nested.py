from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Param
from engine.events.nested import inside, parameter

VALUE = pa.struct(
    [
        ("string_value", pa.string()),
        ("int_value", pa.int64()),
        ("float_value", pa.float32()),
        ("double_value", pa.float64()),
    ]
)
PARAMS = pa.list_(pa.struct([("key", pa.string()), ("value", VALUE)]))
ITEMS = pa.list_(pa.struct([("item_id", pa.string()), ("price", pa.float64())]))
ECOMMERCE = pa.struct([("transaction_id", pa.string()), ("deep", pa.struct([("a.b", pa.int64())]))])


def pair(key: str, **value: object) -> dict[str, Any]:
    return {"key": key, "value": {name.replace("_", "") + "_value": item for name, item in value.items()} or None}


ROWS: list[dict[str, Any]] = [
    {
        "event_params": [pair("page", string="/a"), pair("n", int=5), pair("x", double=1.5), pair("whole", double=2.0)],
        "items": [{"item_id": "i1", "price": 2.5}, {"item_id": "i2", "price": None}],
        "ecommerce": {"transaction_id": "t1", "deep": {"a.b": 7}},
        "tags": [("k", "v")],
    },
    {
        "event_params": [pair("n", string="6"), pair("x", float=0.5), pair("page", int=3), pair("whole", string="z")],
        "items": [],
        "ecommerce": {"transaction_id": None, "deep": None},
        "tags": [],
    },
    {"event_params": [pair("n", string=""), pair("n", int=9), pair("page")], "items": None, "ecommerce": None},
    {"event_params": [], "items": [None], "ecommerce": None, "tags": None},
    {"event_params": None, "items": None, "ecommerce": None, "tags": [("j", "w"), ("k", "u")]},
]
SCHEMA = pa.schema(
    [("event_params", PARAMS), ("items", ITEMS), ("ecommerce", ECOMMERCE), ("tags", pa.map_(pa.string(), pa.string()))]
)


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pl.LazyFrame:
    file = tmp_path_factory.mktemp("nested") / "log.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS, SCHEMA), file)
    return pl.scan_parquet(file)


def values(frame: pl.LazyFrame, found: object) -> list[object]:
    assert isinstance(found, tuple), found
    expression, dtype = found
    done = frame.select(x=expression).collect()["x"]
    assert done.dtype == dtype
    return done.to_list()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Param(param="page"), ["/a", "3", None, None, None]),
        (Param(param="n"), ["5", "6", "", None, None]),
        (Param(param="n", type="integer"), [5, 6, None, None, None]),
        (Param(param="n", type="float"), [5.0, 6.0, None, None, None]),
        (Param(param="x"), ["1.5", "0.5", None, None, None]),
        (Param(param="x", type="integer"), [None, None, None, None, None]),
        (Param(param="x", type="float"), [1.5, 0.5, None, None, None]),
        (Param(param="whole", type="integer"), [2, None, None, None, None]),
        (Param(param="nosuch"), [None] * 5),
        (Param(param="k", of="tags"), ["v", None, None, None, "u"]),
    ],
)
def test_parameters(frame: pl.LazyFrame, entry: Param, expected: list[object]) -> None:
    assert values(frame, parameter(entry, frame.collect_schema())) == expected


@pytest.mark.parametrize(
    ("value", "type_", "expected"),
    [
        (pl.String(), "string", ["7", None]),
        (pl.Int64(), "string", ["7", None]),
        (pl.Float64(), "integer", [7, None]),
        (pl.String(), "float", [7.0, None]),
        (pl.Struct({"int_value": pl.Int64}), "string", ["7", None]),
    ],
)
def test_plain_values_and_fewer_fields(value: pl.DataType, type_: Any, expected: list[object]) -> None:
    plain = {pl.String(): "7", pl.Int64(): 7, pl.Float64(): 7.0}.get(value, {"int_value": 7})
    dtype = pl.List(pl.Struct({"key": pl.String, "value": value}))
    lazy = pl.LazyFrame({"p": [[{"key": "k", "value": plain}], [{"key": "k", "value": None}]]}, {"p": dtype})
    assert values(lazy, parameter(Param(param="k", of="p", type=type_), lazy.collect_schema())) == expected


@pytest.mark.parametrize(
    ("of", "message"),
    [
        ("event_param", "no column 'event_param' in the files (did you mean 'event_params'?)"),
        ("ecommerce", "expected a list of structs with the fields key and value in 'ecommerce', got Struct"),
        ("items", "expected a list of structs with the fields key and value in 'items', got List"),
    ],
)
def test_columns_without_parameters(frame: pl.LazyFrame, of: str, message: str) -> None:
    said = parameter(Param(param="page", of=of), frame.collect_schema())
    assert isinstance(said, str)
    assert said.startswith(message)


@pytest.mark.parametrize("value", [pl.List(pl.String), pl.Struct({"text": pl.String})])
def test_values_that_cannot_be_read(value: pl.DataType) -> None:
    schema = {"event_params": pl.List(pl.Struct({"key": pl.String, "value": value}))}
    assert isinstance(parameter(Param(param="k"), schema), str)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ecommerce.transaction_id", ["t1", None, None, None, None]),
        ('ecommerce.deep."a.b"', [7, None, None, None, None]),
        ("items.0.item_id", ["i1", None, None, None, None]),
        ("items.1.item_id", ["i2", None, None, None, None]),
        ("items.0.price", [2.5, None, None, None, None]),
        ("event_params.0.value.int_value", [None, None, None, None, None]),
    ],
)
def test_paths(frame: pl.LazyFrame, path: str, expected: list[object]) -> None:
    assert values(frame, inside(path, frame.collect_schema())) == expected


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nosuch.x", None),
        ("ecommerce", None),
        ("a..b", None),
        ("ecommerce.transaction", "no field 'transaction' in 'ecommerce' (did you mean 'transaction_id'?)"),
        ("ecommerce.transaction_id.x", "'ecommerce.transaction_id' has no fields, it is of type String"),
        ("items.item_id", "'items' is a list: name one of its entries by its number, as in items.0.item_id"),
        ("items.-1", "'items' is a list: name one of its entries by its number, as in items.0.-1"),
    ],
)
def test_paths_that_lead_nowhere(frame: pl.LazyFrame, path: str, said: str | None) -> None:
    assert inside(path, frame.collect_schema()) == said


def test_a_quoted_first_part() -> None:
    lazy = pl.LazyFrame({"shop.order": [{"id": 1}], "shop": [{"order": 2}]})
    assert values(lazy, inside('"shop.order".id', lazy.collect_schema())) == [1]
    assert values(lazy, inside("shop.order", lazy.collect_schema())) == [2]


KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.one_of(st.none(), st.integers(-5, 5), st.sampled_from(["x", "7", ""]))


@given(st.lists(st.lists(st.tuples(KEYS, VALUES), max_size=4), min_size=1, max_size=8))
def test_parameters_are_those_of_a_search(rows: list[list[tuple[str, int | str | None]]]) -> None:
    def cell(value: int | str | None) -> dict[str, object]:
        return {
            "string_value": value if isinstance(value, str) else None,
            "int_value": value if isinstance(value, int) else None,
        }

    dtype = pl.List(
        pl.Struct({"key": pl.String, "value": pl.Struct({"string_value": pl.String, "int_value": pl.Int64})})
    )
    lazy = pl.LazyFrame(
        {"event_params": [[{"key": key, "value": cell(value)} for key, value in row] for row in rows]},
        {"event_params": dtype},
    )
    first = [next((value for key, value in row if key == "a"), None) for row in rows]
    expected = [None if value is None else str(value) for value in first]
    assert values(lazy, parameter(Param(param="a"), lazy.collect_schema())) == expected
