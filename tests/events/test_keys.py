from __future__ import annotations

import polars as pl
import pytest

from engine.events.keys import check_hash, user_key


def keys_of(users: pl.Series, *rekeyed: tuple[str, int]) -> list[int | None]:
    keys = pl.select(user_key(pl.lit(users), rekeyed)).to_series()
    assert keys.dtype == pl.UInt64
    return keys.to_list()


def test_the_algorithms_are_fixed() -> None:
    # Stores and bundles of other versions have these keys.
    users = pl.Series(["", "a", "zoë", "x" * 10_000])
    assert keys_of(users) == [0x2D06800538D394C2, 0xE6C632B61E964E1F, 0x602C4A2A8D3F1EA2, 0xCB763E2CCD065FAB]
    checks = pl.select(check_hash(pl.lit(users))).to_series()
    assert checks.dtype == pl.UInt32
    assert checks.to_list() == [0x02CC5D05, 0x550D7456, 0x2FB0FF34, 0xB8FD2E58]


def test_an_integer_has_the_key_of_its_text() -> None:
    numbers = pl.Series([0, -7, 2**63 - 1])
    text = numbers.cast(pl.String)
    assert keys_of(numbers) == keys_of(text)
    assert pl.select(check_hash(pl.lit(numbers))).to_series().equals(pl.select(check_hash(pl.lit(text))).to_series())


@pytest.mark.parametrize("dtype", [pl.String, pl.Int64])
def test_nobody_has_no_key(dtype: type[pl.DataType]) -> None:
    nobody = pl.Series([None], dtype=dtype)
    assert keys_of(nobody) == [None]
    assert keys_of(nobody, ("7", 1)) == [None]
    assert pl.select(check_hash(pl.lit(nobody))).to_series().to_list() == [None]


def test_an_id_that_needs_another_key_gets_one() -> None:
    users = pl.Series([7, 8, 77])
    plain = keys_of(users)
    once, twice = keys_of(users, ("7", 1)), keys_of(users, ("7", 2), ("8", 1))
    assert (once[1:], twice[2]) == (plain[1:], plain[2])
    assert len({plain[0], once[0], twice[0]}) == 3
    assert twice[1] != plain[1]
    assert keys_of(users.cast(pl.String), ("7", 1)) == once
