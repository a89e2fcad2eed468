from __future__ import annotations

import polars as pl
import pytest

from engine.contacts.text import REPLACEMENT, as_text, by_value, folded, is_broken, is_textual, trimmed


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (" a b ", "a b"),
        ("\u00a0a\u3000", "a"),
        ("\ufeffa\u200bb\u200d", "ab"),
        ("so\u00adft", "soft"),
        ("\u202ea\u2069", "a"),
        ("\t\r\n", None),
        ("\u200b", None),
        ("", None),
        (None, None),
    ],
)
def test_trimmed(given: str | None, expected: str | None) -> None:
    assert pl.select(trimmed(pl.lit(given, pl.String))).item() == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("  Jean \u00a0 Paul\t\n Dupont ", "Jean Paul Dupont"),
        ("Anne\u200dMarie", "Anne\u200dMarie"),
        ("\u2003", None),
        (None, None),
    ],
)
def test_folded(given: str | None, expected: str | None) -> None:
    assert pl.select(folded(pl.lit(given, pl.String))).item() == expected


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["e\u0301", "x"])])
def test_text_of_any_kind_is_composed(dtype: pl.DataType) -> None:
    frame = pl.DataFrame({"a": pl.Series(["e\u0301", "x", None], dtype=dtype)})
    assert is_textual(frame.schema["a"])
    assert frame.select(as_text("a", frame.schema["a"]))["a"].to_list() == ["é", "x", None]


def test_bytes_that_are_no_text_are_told_from_nothing() -> None:
    frame = pl.DataFrame({"a": ["é".encode(), b"caf\xe9", None]})
    texts = frame.select(as_text("a", pl.Binary()))
    assert texts["a"].to_list() == ["é", f"caf{REPLACEMENT}", None]
    assert texts.select(is_broken(pl.col("a")))["a"].to_list() == [False, True, None]


def test_work_is_done_once_per_value() -> None:
    asked = []

    def work(values: pl.Series) -> pl.DataFrame:
        asked.extend(values.to_list())
        return pl.DataFrame({"size": values.str.len_chars()})

    frame = pl.DataFrame({"a": ["x", "yy", None, "x", "yy", "x"]})
    assert by_value(frame, "a", work)["size"].to_list() == [1, 2, None, 1, 2, 1]
    assert sorted(asked) == ["x", "yy"]
