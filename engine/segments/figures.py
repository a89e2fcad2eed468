"""What is summed per segment for its key figures: whole numbers per user, in the window of the figures."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from engine.config import Config
from engine.errors import ConfigError
from engine.features.build import MONETARY_MINOR
from engine.features.money import minor_units
from engine.features.spec import FeatureSpec

_SHORTEST_DAYS: Final = 28


def kpi_window(config: Config) -> int:
    """The window of the key figures in days; when none is configured the shortest of at least 28, else the longest.

    Raises:
        ConfigError: `kpis.window_days` is none of `features.windows`: there are no counts of such a window.
    """
    asked, windows = config.kpis.window_days, config.features.windows
    if asked is None:
        return next((window for window in windows if window >= _SHORTEST_DAYS), windows[-1])
    if asked not in windows:
        raise ConfigError(
            f"kpis.window_days: expected one of features.windows ({', '.join(map(str, windows))}), got {asked}",
            code="kpi-window",
            hint=f"Take one of them, or add {asked} to features.windows and run `tamis fit`.",
        )
    return asked


def figures(spec: FeatureSpec, window: int, columns: Collection[str]) -> dict[str, pl.Expr]:
    """Whole numbers per user (Int64, never null), by name; what the roles and columns do not allow is left out.

    Counts are of the last `window` days before as_of. Money is in minor units.

    Args:
        spec: The features.
        window: One of its windows.
        columns: The columns there are.
    """
    sent, bounced = _count(spec, spec.send, window), _count(spec, spec.bounce, window)
    found: dict[str, pl.Expr | None] = {
        "sent": sent,
        "delivered": sent if sent is None or bounced is None else (sent - bounced).clip(lower_bound=0),
        "opens": _with_machines(spec, spec.open, window),
        "opens_human": _count(spec, spec.open, window),
        "clicks": _with_machines(spec, spec.click, window),
        "clicks_human": _count(spec, spec.click, window),
        "replies": _count(spec, spec.reply, window),
        "unsubscribes": _count(spec, spec.unsubscribe, window),
        "complaints": _count(spec, spec.complaint, window),
        **_purchases(spec, window, columns),
    }
    if "value_clv" in columns:
        found["clv_users"] = pl.col("value_clv").is_not_null()
        found["clv"] = minor_units(pl.col("value_clv"), spec.currency_digits)
    if "days_since_reactivation" in columns:
        reactivated = (pl.col("days_since_reactivation") <= window).fill_null(value=False)
        away = pl.col("days_since_last_event") >= spec.reactivated_after_days
        found["reactivated"] = reactivated
        found["inactive"] = reactivated | away
    return {name: expr.cast(pl.Int64).fill_null(0) for name, expr in found.items() if expr is not None}


def _purchases(spec: FeatureSpec, window: int, columns: Collection[str]) -> dict[str, pl.Expr | None]:
    orders = _count(spec, spec.purchase, window)
    if orders is None or spec.purchase is None:
        return {}
    slug = spec.slug(spec.purchase)
    found: dict[str, pl.Expr | None] = {
        "orders": orders,
        "buyers": orders > 0,
        # Whoever bought in the window alone bought for the first time in it.
        "first_buyers": (orders > 0) & (orders == pl.col(f"{slug}_count_total")),
    }
    if spec.types[spec.type_names.index(spec.purchase)].priced:
        found["revenue"] = minor_units(pl.col(f"{slug}_amount_{window}d"), spec.currency_digits)
        found["value"] = pl.col(MONETARY_MINOR)
    if f"distinct_categories_{window}d" in columns:
        found["categories"] = pl.col(f"distinct_categories_{window}d")
    return found


def _count(spec: FeatureSpec, name: str | None, window: int) -> pl.Expr | None:
    return None if name is None else pl.col(f"{spec.slug(name)}_count_{window}d")


def _with_machines(spec: FeatureSpec, name: str | None, window: int) -> pl.Expr | None:
    human, machine = _count(spec, name, window), _count(spec, spec.machine(name), window)
    return human if human is None or machine is None else human + machine
