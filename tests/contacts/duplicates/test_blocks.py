from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.contacts.duplicates.blocks import BlockKey, Part, block_numbers, parse_blocks, soundex
from engine.contacts.duplicates.candidates import blocks_of, crowded, pairs_of, stars
from engine.contacts.duplicates.normal import exact, folded, is_comparable
from engine.contacts.duplicates.order import id_order, order_of
from engine.contacts.duplicates.values import numbered, together, values_of


def one(expr: pl.Expr, text: str | None) -> object:
    return pl.DataFrame({"t": [text]}, {"t": pl.String}).select(expr).item()


@pytest.mark.parametrize(
    ("text", "plain", "equal"),
    [
        ("  Île-de-France ", "ile de france", "île-de-france"),
        ("I\u0302le", "ile", "île"),
        ("STRASSE", "strasse", "strasse"),
        ("Straße", "strasse", "strasse"),
        ("Œuvre, l'", "oeuvre l", "œuvre, l'"),
        # Another mailbox than that of `lars.osti`.
        ("Łars.Østi", "lars osti", "łars.østi"),
        ("\uff21\uff22\uff11", "ab1", "\uff41\uff42\uff11"),
        ("Σίσυφος", "σισυφοσ", "σίσυφοσ"),
        ("İ", "i", "i̇"),
        ("a.b@x.org", "a b x org", "a.b@x.org"),
        ("--", None, "--"),
        (" \t", None, None),
        (None, None, None),
    ],
)
def test_texts_as_they_are_compared(text: str | None, plain: str | None, equal: str | None) -> None:
    assert one(folded("t"), text) == plain
    assert one(exact("t"), text) == equal


@pytest.mark.parametrize(
    ("name", "code"),
    # The examples of the US National Archives, and of Knuth.
    [
        ("Washington", "w252"),
        ("Lee", "l000"),
        ("Gutierrez", "g362"),
        ("Pfister", "p236"),
        ("Jackson", "j250"),
        ("Tymczak", "t522"),
        ("VanDeusen", "v532"),
        ("Ashcraft", "a261"),
        ("Robert", "r163"),
        ("Rupert", "r163"),
        ("Rubin", "r150"),
        ("Euler", "e460"),
        ("Lloyd", "l300"),
        ("Hilbert", "h416"),
        ("Éluard", "e463"),
        ("12", None),
    ],
)
def test_soundex(name: str, code: str | None) -> None:
    assert one(soundex(folded("t")), name) == code


def test_block_keys_are_read() -> None:
    assert parse_blocks(["soundex( last ) + first(zip,2)+digits(phone, 6)", "last"], ["last", "zip", "phone"]) == (
        BlockKey(
            "soundex( last ) + first(zip,2)+digits(phone, 6)",
            (Part("soundex", "last"), Part("first", "zip", 2), Part("digits", "phone", 6)),
        ),
        BlockKey("last", (Part("value", "last"),)),
    )


def test_blocks_are_of_contacts_that_agree_in_all_parts() -> None:
    texts: dict[str, list[str | None]] = {
        "last": ["Martin", "Marten", "martin", None, "Durand", "Mar tin"],
        "phone": ["+33 6 12 34 56 78", "0612345678", "06 12", "1", "x", "612345678"],
    }
    columns = {name: values_of(pl.Series(name, column, pl.String), folded) for name, column in texts.items()}
    [key] = parse_blocks(["first(last, 4)+digits(phone, 9)"], list(columns))
    numbers = block_numbers(key, columns)
    assert numbers[0] == numbers[1] == numbers[5] >= 0
    assert (numbers[3], numbers[4]) == (-1, -1)
    assert numbers[2] not in {-1, numbers[0]}


def test_pairs_of_blocks() -> None:
    numbers = np.array([2, -1, 2, 0, 1, 1, 2, 1, 1, 3, 3], np.int32)
    blocks = blocks_of(numbers, 3)
    assert (blocks.large, blocks.pairs) == ((4,), 4)
    for limit in (1, 2, 100):
        found = [
            pair
            for first, second in pairs_of(blocks, [], limit)
            for pair in zip(first.tolist(), second.tolist(), strict=True)
        ]
        assert found == [(0, 2), (0, 6), (2, 6), (9, 10)]
    seen = np.array([5, -1, 5, 0, 0, 0, 4, 0, 0, -1, -1], np.int32)
    [(first, second)] = pairs_of(blocks, [seen], 100)
    assert (first.tolist(), second.tolist()) == ([0, 2, 9], [6, 6, 10])


def test_groups_of_equal_values() -> None:
    numbers = np.array([1, 0, -1, 1, 1, 0, 2], np.int32)
    usual, crowd = crowded(numbers, 2)
    assert (usual.tolist(), crowd.tolist()) == ([-1, 0, -1, -1, -1, 0, -1], [1, -1, -1, 1, 1, -1, -1])
    assert [half.tolist() for half in stars(usual)] == [[1], [5]]
    assert [half.tolist() for half in stars(crowd)] == [[0, 0], [3, 4]]
    nobody = np.array([], np.int32)
    assert [half.tolist() for half in stars(nobody)] == [[], []]
    assert blocks_of(nobody, 5).pairs == 0


def test_numbers_of_texts() -> None:
    assert numbered(pl.Series(["b", None, "a", "b"])).tolist() == [1, -1, 0, 1]
    first, second = np.array([0, 0, -1, 1], np.int32), np.array([3, 2, 3, 3], np.int32)
    assert together(first, second).tolist() == [1, 0, -1, 2]


def test_the_order_of_ids() -> None:
    ids = ["b", "10", "-1", "9", "007", "a", "é", "0"]
    ordered = ["-1", "0", "9", "10", "007", "a", "b", "é"]
    assert sorted(ids, key=order_of) == ordered
    assert pl.DataFrame({"user_id": ids}).sort(*id_order("user_id"))["user_id"].to_list() == ordered


def test_what_can_be_compared() -> None:
    assert all(map(is_comparable, (pl.String(), pl.Int8(), pl.Float64(), pl.Date(), pl.Boolean(), pl.Null())))
    assert not any(map(is_comparable, (pl.List(pl.String()), pl.Struct({}), pl.Binary())))
