from __future__ import annotations

from datetime import date

import polars as pl

from engine.reporting.sections.rfm import section
from engine.segments.rfm_grid import RFM_GRID_SCHEMA
from tests.reporting.samples import made, side, told

NOW = date(2026, 3, 1)


def grid(cells: dict[tuple[int | None, int | None], int]) -> pl.DataFrame:
    total = sum(cells.values())
    rows = [(r, f, users, users / total, 2.0 * users, 2.0, 3.0) for (r, f), users in cells.items()]
    return pl.DataFrame(rows, RFM_GRID_SCHEMA, orient="row")


def test_cells_are_masked_and_complete() -> None:
    table = grid({(1, 1): 60, (1, 2): 3, (2, 1): 30, (2, 2): 100, (None, None): 7})
    facts = made(side(NOW, 200, {"a": (200, 1.0)}, rfm_grid=table))
    (figure,) = section(facts).figures
    assert figure.table.select("r_score", "f_score", "users").rows() == [
        (2, 1, None),
        (2, 2, 100),
        (1, 1, 60),
        (1, 2, None),
    ]
    assert figure.table["mean_value"].to_list() == [None, 2.0, 2.0, None]
    said = told(section(facts), facts)
    assert "100 people (50.0%) bought last and most often (scores 2 and 2): €2.00 of spend per head." in said
    assert "Most people are at recency 2, frequency 2: 100 (50.0%)" in said


def test_without_a_grid() -> None:
    facts = made(side(NOW, 200, {"a": (200, 1.0)}))
    assert "There is no RFM grid" in told(section(facts), facts)[1]
    few = made(side(NOW, 200, {"a": (200, 1.0)}, rfm_grid=grid({(1, 1): 3})))
    assert "No cell of the grid is of 10 people or more." in told(section(few), few)
