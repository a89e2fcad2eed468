from __future__ import annotations

import random
from dataclasses import replace

import polars as pl

from engine.features.spec import EventType, FeatureSpec
from engine.segments.stats import Histogram, SegmentStats, segment_stats

TYPES = ("sent", "bounced", "opened", "opened_machine", "clicked", "opted_out", "spam", "bought", "answered")
SPEC = FeatureSpec(
    types=tuple(EventType(name, name, name == "bought") for name in TYPES),
    purchase="bought",
    send="sent",
    open="opened",
    click="clicked",
    bounce="bounced",
    unsubscribe="opted_out",
    complaint="spam",
    reply="answered",
    windows=(7, 30),
    weights=(1,) * len(TYPES),
    engagement_days=30,
    frequency_unit="orders",
    timezone="UTC",
    currency_digits=2,
    reactivated_after_days=90,
)


def users_of(count: int, seed: int = 1) -> pl.DataFrame:
    draw = random.Random(seed)

    def column(one: object) -> list[object]:
        return [one() for _ in range(count)]  # type: ignore[operator]

    orders = column(lambda: draw.choice((0, 0, 1, 2, 5)))
    before = column(lambda: draw.choice((0, 0, 3)))
    minor = [draw.randrange(-500, 90_000) if n else 0 for n in orders]
    spent = [m + 1000 * int(b) if n or b else None for n, b, m in zip(orders, before, minor, strict=True)]  # type: ignore[call-overload]
    schema: dict[str, pl.DataType] = {
        "user_id": pl.Int64(),
        **{f"{name}_count_30d": pl.Int64() for name in TYPES},
        "bought_count_total": pl.Int64(),
        "bought_amount_30d": pl.Float64(),
        "rfm_monetary_minor": pl.Int64(),
        "distinct_categories_30d": pl.Int64(),
        "value_clv": pl.Float64(),
        "days_since_reactivation": pl.Int64(),
        "days_since_last_event": pl.Int64(),
        "tenure_days": pl.Int64(),
        "engagement_score": pl.Float64(),
        "r_score": pl.Int8(),
        "cluster": pl.Int32(),
        "points_value_class": pl.String(),
        "country": pl.String(),
        "member": pl.Boolean(),
        "mail": pl.String(),
        "age": pl.Int64(),
    }
    return pl.DataFrame(
        {
            "user_id": list(range(count)),
            **{f"{name}_count_30d": column(lambda: draw.randrange(9)) for name in TYPES},
            "bought_count_30d": orders,
            "bought_count_total": [a + b for a, b in zip(orders, before, strict=True)],  # type: ignore[operator]
            "bought_amount_30d": [value / 100 for value in minor],
            "rfm_monetary_minor": spent,
            "distinct_categories_30d": column(lambda: draw.randrange(4)),
            "value_clv": column(lambda: draw.choice((None, round(draw.random() * 300, 6)))),
            "days_since_reactivation": column(lambda: draw.choice((None, draw.randrange(1, 60)))),
            "days_since_last_event": column(lambda: draw.randrange(1, 200)),
            "tenure_days": column(lambda: draw.choice((1, 29, 30, 89, 90, 729, 730, 4000))),
            "engagement_score": column(lambda: draw.choice((0.0, 9.99, 10.0, 55.5, 89.99, 90.0, 100.0))),
            "r_score": column(lambda: draw.choice((None, 1, 2, 3, 4, 5))),
            "cluster": column(lambda: draw.choice((-1, 2, 10))),
            "points_value_class": column(lambda: draw.choice(("high", "low"))),
            "country": column(lambda: draw.choice((None, "FR", "BE", "Île", "CH"))),
            "member": column(lambda: draw.choice((None, True, False))),
            "mail": [f"u{seed}-{number}@example.com" for number in range(count)],
            "age": column(lambda: draw.randrange(90)),
        },
        schema,
    )


def holds_of(count: int, shares: dict[str, float], seed: int = 2) -> pl.DataFrame:
    draw = random.Random(seed)
    return pl.DataFrame(
        {name: [draw.random() < share for _ in range(count)] for name, share in shares.items()},
        dict.fromkeys(shares, pl.Boolean),
    )


def counted(users: pl.DataFrame, holds: pl.DataFrame, **changes: object) -> SegmentStats:
    clauses = [(name, f"{name} holds", int(holds[name].sum())) for name in holds.columns]
    options: dict[str, object] = {"spec": SPEC, "attributes": ("country", "member", "mail", "age"), "cards": ("value",)}
    return segment_stats(users, holds, clauses, window=30, **{**options, **changes})  # type: ignore[arg-type]


def stats_of(
    sizes: dict[str, int],
    users: int = 1000,
    *,
    shared: dict[tuple[str, str], int] | None = None,
    clauses: tuple[tuple[str, str, int], ...] = (),
    bins: dict[str, dict[str | None, int]] | None = None,
) -> SegmentStats:
    names = tuple(sizes)
    pairs = shared or {}
    stats = SegmentStats(
        users=users,
        segments=names,
        sizes=tuple(sizes.values()),
        sums=(),
        shared=tuple(tuple(pairs.get((a, b), 0) for b in names[i + 1 :]) for i, a in enumerate(names)),
        clauses=clauses,
        histograms=(),
    )
    if bins is None:
        return stats
    every = sorted({name for row in bins.values() for name in row if name is not None})
    rows = [tuple(bins.get(segment, {}).get(name, 0) for name in every) for segment in names]
    base = tuple(map(sum, zip(*rows, strict=True)))
    return replace(stats, histograms=(Histogram("country", tuple(every), (base, *rows)),))
