from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.execution.local import LocalExecutor
from engine.features.measure import EventRef, Measure
from engine.pipeline import run
from engine.tables.layout import TABLES, table_folder
from engine.tables.manifest import dtypes_of
from engine.warehouse.dictionary import Column, Table, describe
from engine.warehouse.measures import measure_text
from engine.why.published import Published, open_published
from tests.samples import AS_OF, TOML, configuration, shop, write_sample

POINTS = """
[[points]]
name = "activity"
[[points.rules]]
name = "bought"
event = "purchase"
points = 5
window_days = 45

[[segments]]
name = "vip"
where = "event_amount('purchase', 45) > 100"
group = "value"
"""
EARLIER = AS_OF - timedelta(days=20)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Published]:
    folder = tmp_path_factory.mktemp("run")
    file = write_sample(folder, toml=TOML + POINTS)
    bad = shop(2).with_columns(at=pl.lit(None, pl.Datetime("us", "UTC")))
    bad.write_parquet(folder / "shop" / "bad.parquet")
    config = configuration(file)
    executor = LocalExecutor(threads=1)
    for day in (EARLIER, AS_OF):
        run(config, day, executor=executor)
    return config, open_published(Path(config.out).absolute(), AS_OF, ())


def test_every_table_of_a_run_is_described(published: tuple[Config, Published]) -> None:
    config, date = published
    found = {table.name: table for table in describe(date, config)}
    assert set(found) == {record.name for record in date.manifest.tables}
    assert set(found) == set(TABLES)
    for record in date.manifest.tables:
        table = found[record.name]
        in_files = [column.name for column in table.columns if not column.partition]
        assert in_files == [name for name, _ in record.schema]
        assert set(table.key) <= {column.name for column in table.columns}
        assert [column.name for column in table.columns if "another version" in column.meaning] == []
        assert [column.name for column in table.columns if not column.meaning.endswith(".")] == []
        first = table_folder(date.out, record.name, AS_OF)
        assert dtypes_of(pl.read_parquet_schema(next(first.rglob("*.parquet")))) == record.schema


def test_columns_that_the_configuration_names(published: tuple[Config, Published]) -> None:
    config, date = published
    columns = {table.name: {column.name: column for column in table.columns} for table in describe(date, config)}
    assert columns["features"]["region"].meaning == "Contact attribute, as the contacts have it."
    assert columns["features"]["tenure_days"].unit == "days"
    (asked,) = [column for name, column in columns["features"].items() if name.startswith("event_amount_purchase")]
    assert asked.comment == (
        "Sum of the amounts of events of type purchase in the 45 days before as_of; 0 without. Unit: money."
    )
    assert "'buys'" in columns["scores"]["propensity_buys_decile"].meaning
    assert columns["scores"]["points_activity_class"].meaning.startswith("Class that the points")
    assert columns["scores"]["value"].meaning.startswith("The segment of the group 'value'")


def test_rows_of_a_date_have_one_key(published: tuple[Config, Published]) -> None:
    config, date = published
    for table in describe(date, config):
        folder = table_folder(date.out, table.name, AS_OF)
        rows = pl.read_parquet(
            f"{folder}/**/*.parquet", hive_partitioning=True, hive_schema={"as_of": pl.Date, "segment": pl.String}
        )
        assert rows.select(table.key).is_duplicated().sum() == 0, table.name
        required = [column.name for column in table.columns if column.required]
        assert rows.select(required).null_count().row(0) == (0,) * len(required), table.name


def test_the_order_is_that_of_the_layout(published: tuple[Config, Published]) -> None:
    config, date = published
    assert [table.name for table in describe(date, config, ["segments", "drift"])] == ["drift", "segments"]
    assert [column.name for column in described_columns(describe(date, config, ["segments"])[0])] == [
        "as_of",
        "segment",
    ]


def described_columns(table: Table) -> list[Column]:
    return [column for column in table.columns if column.partition]


@pytest.mark.parametrize(
    ("measure", "says", "unit"),
    [
        (Measure("event_count", (EventRef("a"),)), "Events of type a; 0 without.", "count"),
        (Measure("event_days", (EventRef("a", "amount > 3"),), days=7), "type a with amount > 3 in the 7 days", "days"),
        (Measure("first_time", (EventRef("a"),), days=7), "lies in the 7 days before as_of.", "flag"),
        (Measure("first_time", (EventRef("a"),)), "lies in the whole history.", "flag"),
        (Measure("stopped", (EventRef("a"),), days=90, recent=30), "none in the last 30 days", "flag"),
        (
            Measure("followed_by", (EventRef("a"), EventRef("b")), days=9, within=2),
            "within 2 days by one of type b",
            "flag",
        ),
        (
            Measure("event_count", (EventRef("a"),), days=30, until=7),
            "in the 30 days up to 7 days before as_of",
            "count",
        ),
    ],
)
def test_measures(measure: Measure, says: str, unit: str) -> None:
    text = measure_text(measure)
    assert says in text.meaning
    assert text.unit == unit
