from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.warehouse.dbt import dbt_sources
from engine.warehouse.dictionary import Column, Table, describe
from engine.warehouse.types import column_type
from tests.warehouse.sample import HandMade


def test_a_yaml_parser_reads_every_column_back(sample: HandMade) -> None:
    tables = describe(sample.published(), sample.config)
    read = yaml.safe_load(dbt_sources(tables, schema="crm"))
    assert read["version"] == 2
    (source,) = read["sources"]
    assert (source["name"], source["schema"]) == ("tamis", "crm")
    assert [table["name"] for table in source["tables"]] == [table.name for table in tables]
    for written, table in zip(source["tables"], tables, strict=True):
        assert [(column["name"], column["description"]) for column in written["columns"]] == [
            (column.name, column.meaning) for column in table.columns
        ]
        assert [column["name"] for column in written["columns"] if "data_tests" in column] == [
            column.name for column in table.columns if column.required
        ]


@given(name=st.text(min_size=1), meaning=st.text(), unit=st.text())
def test_whatever_a_column_is_called(name: str, meaning: str, unit: str) -> None:
    column = Column(name, column_type("Int64", name), meaning, unit, required=True)
    read = yaml.safe_load(dbt_sources([Table("features", meaning, (name,), (column,))]))
    (found,) = read["sources"][0]["tables"][0]["columns"]
    assert (found["name"], found["description"]) == (name, meaning)
    assert found.get("meta", {}).get("unit", "") == unit
