from __future__ import annotations

from benchmarks.plan import sizes_from


def test_sizes_are_written_in_short() -> None:
    [small, large] = sizes_from("4e4:1e6:30 100000:4000000:60")
    assert (small.users, small.events, small.days) == (40_000, 1_000_000, 30)
    assert (large.users, large.events, large.days) == (100_000, 4_000_000, 60)
