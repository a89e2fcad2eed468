from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.propensity.codes import MAX_LEVELS, CodeTable, cut_levels, encode, fit_codes

texts = st.lists(st.one_of(st.none(), st.sampled_from(["", "A", "a", "Île", "Île", "Z", "z"])), max_size=30)


@given(texts, texts)
def test_the_code_of_a_value_is_its_position_among_the_known(seen: list[str | None], new: list[str | None]) -> None:
    tables = fit_codes(pl.DataFrame({"city": seen}, schema={"city": pl.String}), ["city"])
    known = sorted({value for value in seen if value is not None})
    assert tables == (CodeTable("city", tuple(known)),)
    codes = encode(pl.DataFrame({"city": new}, schema={"city": pl.String}), tables).get_column("city")
    assert codes.dtype == pl.Int32
    assert codes.to_list() == [known.index(value) if value in known else None for value in new]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([10, 9, None, 10]), ("10", "9")),
        (pl.Series([True, False, None]), ("false", "true")),
        (pl.Series([date(2024, 2, 29)]), ("2024-02-29",)),
        (pl.Series(["b", "a"], dtype=pl.Enum(["b", "a"])), ("a", "b")),
        (pl.Series(["b", "a"], dtype=pl.Categorical()), ("a", "b")),
        (pl.Series([None, None], dtype=pl.String), ()),
    ],
)
def test_every_type_is_known_by_its_text(values: pl.Series, expected: tuple[str, ...]) -> None:
    frame = pl.DataFrame({"value": values})
    tables = fit_codes(frame, ["value"])
    assert tables == (CodeTable("value", expected),)
    decoded = [None if code is None else expected[code] for code in encode(frame, tables).get_column("value")]
    assert decoded == values.cast(pl.String).to_list()


def test_the_most_frequent_values_are_kept_and_the_smaller_of_equals() -> None:
    once = [f"once-{number:03}" for number in range(MAX_LEVELS)]
    frame = pl.DataFrame({"value": [*reversed(once), "often", "often"]})
    (table,) = fit_codes(frame, ["value"])
    assert table.values == tuple(sorted([*once[:-1], "often"]))
    assert encode(frame, [table]).get_column("value").null_count() == 1


def test_other_columns_and_the_order_of_rows_stay() -> None:
    frame = pl.DataFrame({"key": [3, 1, 2], "city": ["b", "a", "c"]})
    encoded = encode(frame, [CodeTable("city", ("a", "b"))])
    assert encoded.to_dict(as_series=False) == {"key": [3, 1, 2], "city": [1, 0, None]}


def test_columns_that_lost_values_are_named() -> None:
    many = [f"value-{number}" for number in range(MAX_LEVELS + 45)]
    frame = pl.DataFrame({"all": many[:MAX_LEVELS] * 2, "some": [None] * 210 + many})
    tables = fit_codes(frame, ["all", "some"])
    [sentence] = cut_levels(frame, tables)
    assert sentence.startswith("'some' has 300 values; the 255 most frequent are kept, the others (15.0 % of its ")
    assert cut_levels(frame.head(10), fit_codes(frame.head(10), ["all", "some"])) == ()
