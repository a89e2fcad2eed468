from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.config import Rfm, RfmCell
from engine.segments.rfm_cells import all_codes, boxes, cell_problems, cell_table, describe
from engine.segments.rfm_maps import segment_table

THREE = (
    RfmCell(name="best", r=(3, 3), f=(2, 3)),
    RfmCell(name="fair", r=(2, 3), f=(1, 1)),
    RfmCell(name="fair", r=(2, 2), f=(2, 3)),
    RfmCell(name="gone", r=(1, 1)),
)


def test_a_map_names_every_code() -> None:
    assert cell_problems(THREE, 3, None) == ()
    table = cell_table(THREE, 3, None)
    assert list(table) == [int(f"{r}{f}{m}") for r, f, m in product("123", repeat=3)]
    assert (table[331], table[311], table[233], table[133]) == ("best", "fair", "fair", "gone")


def test_what_is_left_open_has_the_name_of_others() -> None:
    rfm = Rfm(segment_map="own", bins=3, map=THREE[:1], others="e\u0301tc.")
    table = segment_table(rfm)
    assert {code for code, name in table.items() if name == "best"} == {321, 322, 323, 331, 332, 333}
    assert set(table.values()) == {"best", "étc."}


@pytest.mark.parametrize(
    ("cells", "bins", "others", "problems"),
    [
        (
            [RfmCell(name="a", r=(2, 5)), RfmCell(name="b", f=(5, 5)), RfmCell(name="c", r=(1, 1), f=(1, 4))],
            5,
            None,
            ["r 2–5, f 5, m any is both of 'a' (r 2–5) and of 'b' (f 5–5)"],
        ),
        (
            [RfmCell(name="a", r=(3, 5)), RfmCell(name="b", r=(1, 2), f=(1, 4))],
            5,
            None,
            ["no cell has r 1–2, f 5, m any", "name what is left open in others"],
        ),
        ([], 5, None, ["no cell has r any, f any, m any", "name what is left open in others"]),
        (
            [RfmCell(name="a", r=(1, 5), m=(0, 2)), RfmCell(name="b", f=(4, 3))],
            4,
            "x",
            [
                "'a' (r 1–5, m 0–2): r 1–5 must ascend and lie in 1–4",
                "'a' (r 1–5, m 0–2): m 0–2 must ascend and lie in 1–4",
                "'b' (f 4–3): f 4–3 must ascend and lie in 1–4",
            ],
        ),
        (
            [RfmCell(name="A", r=(1, 1)), RfmCell(name="a", r=(2, 2))],
            2,
            " ",
            ["'a' and 'A' differ by upper and lower case alone", "' ' would be read as no name at all"],
        ),
        (
            [RfmCell(name="No_purchase")],
            2,
            None,
            ["'No_purchase' is the segment of those who have never bought"],
        ),
    ],
)
def test_what_is_no_map(cells: list[RfmCell], bins: int, others: str | None, problems: list[str]) -> None:
    assert list(cell_problems(cells, bins, others)) == problems


def test_many_problems_of_one_kind_are_counted() -> None:
    problems = cell_problems([RfmCell(name="a")] * 10, 5, None)
    assert len(problems) == 21
    assert problems[-1] == "and 25 more"


def test_all_problems_are_told_when_the_configuration_is_read() -> None:
    with pytest.raises(ValidationError) as caught:
        Rfm(segment_map="own", bins=3, map=(*THREE, RfmCell(name="x", m=(3, 3))), cuts={"recency": (1, 2, 3)})
    text = str(caught.value)
    assert "is both of 'best' (r 3–3, f 2–3) and of 'x' (m 3–3)" in text
    assert "cuts.recency: expected 2 ascending numbers for 3 bins" in text
    with pytest.raises(ValidationError, match="map and others are keys of segment_map = 'own'"):
        Rfm(others="x")


ranges = st.tuples(st.integers(1, 4), st.integers(1, 4)).map(lambda pair: (min(pair), max(pair)))
cells = st.lists(st.builds(RfmCell, name=st.sampled_from("ab"), r=ranges, f=ranges | st.none(), m=ranges), max_size=4)


@given(cells=cells, others=st.none() | st.just("rest"))
@settings(max_examples=100)
def test_a_map_is_accepted_when_every_code_is_in_one_cell(cells: list[RfmCell], others: str | None) -> None:
    hits = {
        code: [cell.name for cell in cells if all(inside(score, span) for score, span in spans(code, cell))]
        for code in all_codes(4)
    }
    fits = all(len(names) <= 1 for names in hits.values()) and (others is not None or all(hits.values()))
    assert (cell_problems(cells, 4, others) == ()) == fits
    if fits:
        assert cell_table(cells, 4, others) == {code: [*names, others][0] for code, names in hits.items()}


def spans(code: int, cell: RfmCell) -> list[tuple[int, tuple[int, int] | None]]:
    return list(zip(map(int, str(code)), (cell.r, cell.f, cell.m), strict=True))


def inside(score: int, span: tuple[int, int] | None) -> bool:
    return span is None or span[0] <= score <= span[1]


@given(codes=st.sets(st.sampled_from(all_codes(3))))
@settings(max_examples=60)
def test_boxes_cover_each_code_once(codes: set[int]) -> None:
    covered = [
        100 * r + 10 * f + m
        for box in boxes(codes)
        for r, f, m in product(*(range(low, high + 1) for low, high in box))
    ]
    assert sorted(covered) == sorted(codes)


def test_ranges_are_told_as_people_write_them() -> None:
    assert [describe(box, 5) for box in boxes({151, 152, 251, 252, 333})] == ["r 1–2, f 5, m 1–2", "r 3, f 3, m 3"]
