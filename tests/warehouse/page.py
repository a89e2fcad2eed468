"""docs/warehouses.md: statements as they are tested, and readers as they are tested.

python -m tests.warehouse.page > docs/warehouses.md
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from engine.tables.manifest import FileRecord, table_record
from engine.warehouse.ddl import statements
from engine.warehouse.dialects.redshift import manifests
from engine.warehouse.dictionary import described
from engine.warehouse.statements import Asked
from engine.warehouse.types import Dialect
from tests.samples import AS_OF
from tests.warehouse.readers import READERS

PAGE = Path(__file__).parents[2] / "docs" / "warehouses.md"
TITLES: dict[Dialect, tuple[str, str]] = {
    "bigquery": (
        "BigQuery",
        (
            "The output folder is copied to a bucket (`--location gs://bucket/folder`) or lies there. `LOAD DATA`"
            " takes the files that the manifest names; the date then changes in one transaction. Names are "
            "percent-encoded in the paths of `segments`: the load puts the names themselves in their place, an "
            "external table shows what BigQuery reads."
        ),
    ),
    "snowflake": (
        "Snowflake",
        (
            "The output folder lies where a stage can see it (`--location s3://…`, `gcs://…` or `azure://…`, "
            "`--stage NAME`). Plain names are in capitals between the quotes, so that queries need none. A date "
            "with more than 1,000 files takes several `COPY`s in the one transaction."
        ),
    ),
    "redshift": (
        "Redshift",
        (
            "`COPY` with a manifest loads exactly the files of the run: `--manifests DIR` writes the manifests, "
            "which are copied to the location. `--role ARN` names the role that reads. External tables need an "
            "external schema."
        ),
    ),
    "clickhouse": (
        "ClickHouse",
        ("A date is one partition, replaced in one instant. With `--location s3://…` the files are read with `s3()`."),
    ),
    "duckdb": (
        "DuckDB",
        "`tamis load duckdb` does the same and checks the files first.",
    ),
    "postgres": (
        "PostgreSQL",
        "PostgreSQL reads no Parquet: these are the tables that `tamis load postgres` fills.",
    ),
    "spark": (
        "Spark",
        "The partition of the date is overwritten.",
    ),
}
LOCATIONS: dict[Dialect, str] = {
    "bigquery": "gs://bucket/tamis",
    "snowflake": "s3://bucket/tamis",
    "redshift": "s3://bucket/tamis",
}
SCHEMA = (("user_id", "String"), ("engagement_score", "Float64"), ("rfm_segment", "String"))
READER_NAMES = ("DuckDB", "PyArrow", "Polars", "pandas", "ClickHouse without a server (chdb)")

INTRODUCTION = """\
# Warehouses

Published tables are Parquet files in folders named after their partition keys, `as_of=…` and, for `segments`,
`segment=…`; the manifest of a date, `_manifests/as_of=….json`, names every file with its rows, bytes and SHA-256.
Three ways lead from there into a warehouse:

- `tamis load duckdb FILE` and `tamis load postgres [DSN]` load a date into a database;
- `tamis ddl WAREHOUSE` prints the statements that make the tables of a date and fill them, with what every column
  means;
- `tamis ddl dbt` prints a `sources.yml` for dbt.

All of them take `--table` (repeatable; all tables without), `--schema` and the configuration; `ddl` takes the latest
date when `--as-of` is not given.

## Loading

```sh
tamis load duckdb crm.duckdb --as-of 2026-03-01
PGPASSWORD=… tamis load postgres postgresql://tamis@db.example/crm --as-of 2026-03-01 --schema marketing
```

One transaction takes the date out of every table and puts it in anew, so that a load can be repeated: running it
twice, or twice at once, leaves one copy. The SHA-256 of every file is compared before its rows are sent. A table gets
the columns that it lacks; a column whose type changed is refused (`load-schema`), as is a table of that name that is
not one of Tamis. Columns that a date no longer has stay, and are null. A date without rows of a table, such as
`rejects`, has no such table: what an earlier run of the date had loaded into it is taken out. Descriptions of tables
and columns are written as comments.

PostgreSQL is loaded by `COPY` in binary form. What the address lacks comes from the environment as libpq reads it
(`PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGPASSWORD`, `PGSSLMODE`, …) and from `~/.pgpass`; a password on the
command line is seen by everybody on the machine. Rows of a date are found by a block range index; there is no primary
key, as the keys were checked when the date was published. Names beyond 63 bytes are cut and end in eight digits of
their hash. DuckDB lets one process write: while another has the file open, the load ends with exit code 5.

Both need packages of their own: `pip install 'tamis[warehouse]'`.

## Statements

The statements below are for the table `segments` with a few columns and two segments; `tamis ddl` gives those of a
real date. Of a table that the date has no rows of there are none: when the date was run again, take it out of that
table yourself. Those for DuckDB, PostgreSQL and ClickHouse are run by the tests, all others are parsed in the dialect
of the warehouse.
"""


def page() -> str:
    """The whole page."""
    return "\n".join(_lines())


def example(dialect: Dialect) -> Asked:
    """A small table of a date."""
    files = [
        FileRecord(f"segments/as_of={AS_OF}/segment={segment}/part-00000-0f1e2d3c4b-{digits}.parquet", 1000, size, "")
        for segment, digits, size in (
            ("%C3%89t%C3%A9", "5a6b7c8d9e0f", 23_456),
            ("loyal_customers", "0a1b2c3d4e5f", 34_567),
        )
    ]
    record = table_record("segments", AS_OF, SCHEMA, files)
    return Asked(described(record), record, AS_OF, dialect, "crm", LOCATIONS.get(dialect, "/data/tamis"))


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    for dialect, (title, text) in TITLES.items():
        yield f"### {title}\n"
        yield textwrap.fill(text, 120) + "\n"
        yield from _statements(f"`tamis ddl {dialect}`:", statements(example(dialect)))
        if dialect == "redshift":
            path, content = next(iter(manifests(example(dialect)).items()))
            yield f"The manifest `{path}`:\n"
            yield f"```json\n{content}```\n"
        if dialect != "postgres":
            yield from _statements(f"`tamis ddl {dialect} --external`:", statements(example(dialect), external=True))
    yield "## Reading the files\n"
    yield (
        textwrap.fill(
            "Partition keys are told to be text: libraries guess that the segment `007` is a number. Names are decoded "
            "by all of them but ClickHouse, which is told to. The functions below read one date of `segments` from the "
            "output folder `out`; a test compares what they give.",
            120,
        )
        + "\n"
    )
    for name, reader in zip(READER_NAMES, READERS, strict=True):
        yield f"### {name}\n"
        yield f"```python\n{inspect.getsource(reader)}```\n"


def _statements(title: str, found: list[str]) -> Iterator[str]:
    yield f"{title}\n"
    yield "```sql\n" + "\n\n".join(f"{statement};" for statement in found) + "\n```\n"


if __name__ == "__main__":
    sys.stdout.write(page().rstrip() + "\n")
