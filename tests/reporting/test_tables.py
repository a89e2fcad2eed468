from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.reporting.message import say
from engine.reporting.model import Field
from engine.reporting.tables import csv_text, figures_of, shown_table, write_tables
from tests.reporting.figures import KINDS, figure, report


def test_every_figure_is_a_table_in_two_files(tmp_path: Path) -> None:
    made = report(*map(figure, KINDS))
    written = write_tables(made, tmp_path / "new" / "tables")
    assert list(written) == [f"{kind}_figure" for kind in KINDS]
    assert sorted(path.name for path in (tmp_path / "new" / "tables").iterdir()) == sorted(
        f"{kind}_figure.{ending}" for kind in KINDS for ending in ("csv", "parquet")
    )
    for of in figures_of(made):
        frame = pl.read_parquet(written[of.key].parquet)
        assert frame.equals(shown_table(of))
        assert written[of.key].rows == of.table.height
        rows = list(csv.reader(io.StringIO(written[of.key].csv.read_text(encoding="utf-8"), newline="")))
        assert rows[0] == frame.columns
        assert len(rows) == frame.height + 1


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b", "b"):
        write_tables(report(figure("bars"), figure("lines")), tmp_path / folder)
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab")
    assert first == second


def test_what_the_page_does_not_show_is_not_written() -> None:
    of = figure("bars")
    hidden = replace(of, table=of.table.with_columns(secret=pl.lit(1)))
    assert shown_table(hidden).columns == ["segment", "users"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_text_is_not_computed_by_a_spreadsheet(start: str) -> None:
    text = csv_text(pl.DataFrame({"segment": [f"{start}1+1"], "users": [-3]}))
    assert list(csv.reader(io.StringIO(text)))[1] == [f"'{start}1+1", "-3"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0.1 + 0.2, None, 1e20], ["0.3", "", "100000000000000000000"]),
        ([date(2026, 1, 2), None, None], ["2026-01-02", "", ""]),
        ([True, False, None], ["true", "false", ""]),
        (['a "b", c', "x\ny", None], ['a "b", c', "x\ny", ""]),
    ],
)
def test_cells(values: list[object], told: list[str]) -> None:
    text = csv_text(pl.DataFrame({"key": [1, 2, 3], "value": values}))
    assert [row[1] for row in csv.reader(io.StringIO(text, newline=""))] == ["value", *told]


def test_lists_are_text() -> None:
    of = figure("bars")
    table = pl.DataFrame({"segment": ["a"], "users": [1], "clauses": [["x > 1", "y"]]})
    listed = replace(of, table=table, fields=(*of.fields, Field("clauses", say("index.users"))))
    assert shown_table(listed)["clauses"].to_list() == ["x > 1, y"]
