from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.propensity.drift import Reference, count, fit_reference
from engine.propensity.psi import psi_table
from engine.stages.drift import compare


@pytest.fixture
def users() -> pl.DataFrame:
    return pl.DataFrame({"orders": [row % 7 for row in range(90)], "region": ["nord", "sud", None] * 30})


@pytest.fixture
def reference(users: pl.DataFrame) -> Reference:
    return fit_reference(users.head(60), ["orders"], ["region"], 4)


def test_the_buckets_of_a_run_are_one_population(users: pl.DataFrame, reference: Reference) -> None:
    buckets = [count(users[start : start + size], reference) for start, size in ((0, 50), (50, 0), (50, 40))]
    found = compare(reference, buckets)
    assert found is not None
    assert_frame_equal(found, psi_table(reference, count(users, reference)), check_exact=True)
    assert found["rows"].to_list() == [90, 90]


def test_a_bundle_without_reference_has_nothing_to_compare(users: pl.DataFrame, reference: Reference) -> None:
    assert compare(None, [None, None]) is None
    assert compare(reference, []) is None
