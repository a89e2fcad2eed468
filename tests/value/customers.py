from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import polars as pl

from benchmarks.customers import simulate
from engine.value.bgnbd import BgNbd
from engine.value.counts import Counts, count_customers
from engine.value.gamma_gamma import GammaGamma

CDNOW = BgNbd(0.2425945, 4.4136019, 0.7929199, 2.4258881)
CDNOW_SPEND = GammaGamma(6.25, 3.74, 15.44)
LIVELY = BgNbd(0.6, 12.0, 0.8, 2.5)


@lru_cache(maxsize=1)
def simulated() -> pl.DataFrame:
    return simulate(20_000, LIVELY, CDNOW_SPEND, days=560, ahead=280, seed=3)


def btyd(rows: Sequence[tuple[int | None, int | None, int | None, float | None]]) -> pl.DataFrame:
    schema = {
        "btyd_frequency": pl.Int64,
        "btyd_recency_days": pl.Int64,
        "btyd_t_days": pl.Int64,
        "btyd_mean_repeat_spend": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def counted(frame: pl.DataFrame) -> Counts:
    return count_customers(frame.lazy(), 2)
