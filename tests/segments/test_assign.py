from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.config import Segment
from engine.errors import ConfigError, IntegrityError
from engine.segments.assign import assign_segments, check_segment_names
from engine.segments.rules import compile_rules

SCHEMA: dict[str, pl.DataType] = {"user_id": pl.Int64(), "a": pl.Int64(), "rfm_segment": pl.String()}


def segments(**rules: str) -> list[Segment]:
    return [Segment(name=name, where=where) for name, where in rules.items()]


def frame_of(values: list[int | None]) -> pl.DataFrame:
    columns = {
        "user_id": range(len(values)),
        "a": values,
        "rfm_segment": ["champions" if (value or 0) % 2 else "no_purchase" for value in values],
    }
    return pl.DataFrame(columns, schema=SCHEMA)


def test_the_first_rule_wins_and_every_rule_counts() -> None:
    rules = [
        Segment(name="Très / engagé é", where="a > 80"),
        Segment(name="High value", where="a > 30"),
        Segment(name="empty", where="a > 1000"),
    ]
    result = assign_segments(frame_of([90, 31, 30, None]), compile_rules(rules, SCHEMA), "rfm")
    assert result.users.columns == [*SCHEMA, "segment"]
    assert result.users["segment"].to_list() == ["Très / engagé é", "High value", "no_purchase", "no_purchase"]
    assert result.memberships.rows() == [
        (0, "Très / engagé é"),
        (0, "High value"),
        (1, "High value"),
        (2, "no_purchase"),
        (3, "no_purchase"),
    ]


def test_names_leave_in_nfc() -> None:
    rules = compile_rules([Segment(name="e\u0301", where="a > 1")], SCHEMA)
    result = assign_segments(frame_of([2, 0]), rules, "a\u0300 part")
    assert result.users["segment"].to_list() == ["é", "à part"]
    assert result.memberships["segment"].to_list() == ["é", "à part"]


@given(
    values=st.lists(st.none() | st.integers(-5, 5), max_size=30),
    bounds=st.lists(st.integers(-6, 6), max_size=4, unique=True),
    fallback=st.sampled_from(["rfm", "all others"]),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_rows_are_conserved(values: list[int | None], bounds: list[int], fallback: str, order: object) -> None:
    frame = frame_of(values)
    rules = compile_rules([Segment(name=f"above {bound}", where=f"a > {bound}") for bound in bounds], SCHEMA)
    result = assign_segments(frame, rules, fallback)
    assert_frame_equal(result.users.select(list(SCHEMA)), frame)
    others = frame["rfm_segment"].to_list() if fallback == "rfm" else [fallback] * len(values)
    expected = [
        [f"above {bound}" for bound in bounds if value is not None and value > bound] or [other]
        for value, other in zip(values, others, strict=True)
    ]
    assert result.users["segment"].to_list() == [names[0] for names in expected]
    assert result.memberships.rows() == [(user, name) for user, names in enumerate(expected) for name in names]
    assert result.memberships.schema == {"user_id": pl.Int64, "segment": pl.String}

    shuffled = list(range(len(values)))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    again = assign_segments(frame[shuffled], rules, fallback)
    assert_frame_equal(again.memberships, result.memberships)
    assert_frame_equal(again.users.sort("user_id"), result.users)


def test_a_user_without_segment_is_an_error() -> None:
    frame = frame_of([1, 2]).with_columns(rfm_segment=pl.lit(None, pl.String))
    with pytest.raises(IntegrityError, match="2 of 2 users"):
        assign_segments(frame, compile_rules(segments(x="a > 0"), SCHEMA), "rfm")


@pytest.mark.parametrize(
    ("names", "fallback", "problem"),
    [
        (["Champions"], "rfm", "'Champions' is also the segment 'champions' of the RFM map 'rf_10'"),
        (["NO_purchase"], "rfm", "'NO_purchase' is also the segment 'no_purchase' of the RFM map"),
        (["Others"], "others", "'Others' is also the segment 'others' given as segment_fallback"),
        (["\u00e9", "E\u0301"], "rfm", "is also the rule '\u00e9'"),
        (["Straße", "STRASSE"], "rfm", "'STRASSE' is also the rule 'Straße'"),
        (["é" * 42], "rfm", "the folder name takes 260 bytes when encoded, at most 255 fit"),
        (["~" * 100], "rfm", "the folder name takes 308 bytes when encoded"),
        ([], "é" * 42, "the folder name takes 260 bytes when encoded"),
        (["a\0b"], "rfm", "'a\\x00b' holds a NUL character"),
        ([], "a\ud800", "'a\\ud800' holds half a surrogate pair"),
        ([" \t"], "rfm", "would be read as no name at all"),
        (["__HIVE_DEFAULT_PARTITION__"], "rfm", "is the mark that hive partitions use for null"),
    ],
)
def test_names_that_cannot_be_told_apart_or_stored(names: list[str], fallback: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_segment_names([Segment(name=name, where="a > 1") for name in names], fallback, "rf_10")
    assert problem in caught.value.message
    assert caught.value.code == "segment-names"


def test_all_names_that_cannot_be_used_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check_segment_names([Segment(name=name, where="a > 1") for name in ("a\0", "Champions", " ")], "rfm", "rf_10")
    assert [line[:3] for line in caught.value.message.splitlines()[1:]] == ["  -"] * 3


@pytest.mark.parametrize(
    ("names", "fallback"),
    [(["Champions"], "everybody else"), (["Others"], "rfm"), (["Île-de-France / été", "a=b%"], "rfm"), ([], "rfm")],
)
def test_names_that_can_be_used(names: list[str], fallback: str) -> None:
    check_segment_names([Segment(name=name, where="a > 1") for name in names], fallback, "rf_10")
