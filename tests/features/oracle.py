"""Every feature from a list of events, in plain Python: slow, and with nothing in common with the engine."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from engine.features.spec import FeatureSpec
from tests.features.logs import Event

Row = dict[str, float | int | None]
Dated = list[tuple[date, Event]]


def expected_features(events: Iterable[Event], as_of: date, spec: FeatureSpec) -> dict[int | str, Row]:
    zone = ZoneInfo(spec.timezone)
    by_user: dict[int | str, Dated] = {}
    for event in events:
        day = event.time.astimezone(zone).date()
        if day < as_of and event.type in spec.type_names:
            by_user.setdefault(event.user, []).append((day, event))
    return {user: _row(dated, as_of, spec) for user, dated in by_user.items()}


def _row(dated: Dated, as_of: date, spec: FeatureSpec) -> Row:
    days = [day for day, _ in dated]
    row: Row = {"tenure_days": (as_of - min(days)).days, "days_since_last_event": (as_of - max(days)).days}
    for window in spec.windows:
        inside = _inside(dated, as_of, window)
        row[f"active_days_{window}d"] = len({day for day, _ in inside})
        for kind in spec.types:
            of_kind = [event for _, event in inside if event.type == kind.name]
            row[f"{kind.slug}_count_{window}d"] = len(of_kind)
            if kind.priced:
                row[f"{kind.slug}_amount_{window}d"] = _money(of_kind) / 10**spec.currency_digits
        for name, over, under in (
            ("open_rate", spec.open, spec.send),
            ("click_rate", spec.click, spec.send),
            ("click_to_open_rate", spec.click, spec.open),
            ("purchase_rate", spec.purchase, spec.send),
        ):
            if over is not None and under is not None:
                below = sum(event.type == under for _, event in inside)
                above = sum(event.type == over for _, event in inside)
                row[f"{name}_{window}d"] = above / below if below else None
    for kind in spec.types:
        of_kind = [event for _, event in dated if event.type == kind.name]
        row[f"{kind.slug}_count_total"] = len(of_kind)
        if kind.priced:
            row[f"{kind.slug}_amount_total"] = _money(of_kind) / 10**spec.currency_digits
        last = max((day for day, event in dated if event.type == kind.name), default=None)
        row[f"days_since_{kind.slug}"] = None if last is None else (as_of - last).days
    weights = dict(zip(spec.type_names, spec.weights, strict=True))
    row["engagement_points"] = sum(weights[event.type] for _, event in _inside(dated, as_of, spec.engagement_days))
    if spec.purchase is not None:
        row |= _rfm([(day, event) for day, event in dated if event.type == spec.purchase], as_of, spec)
    return row


def _rfm(purchases: Dated, as_of: date, spec: FeatureSpec) -> Row:
    names = ("rfm_recency_days", "rfm_frequency", "rfm_monetary", "rfm_mean_order", "rfm_monetary_minor")
    names += ("btyd_frequency", "btyd_recency_days", "btyd_t_days", "btyd_mean_repeat_spend")
    if not purchases:
        return dict.fromkeys(names)
    minor = 10**spec.currency_digits
    days = sorted({day for day, _ in purchases})
    spent = _money(event for _, event in purchases)
    repeat_spend = _money(event for day, event in purchases if day != days[0])
    repeats = len(days) - 1
    return {
        "rfm_recency_days": (as_of - days[-1]).days,
        "rfm_frequency": len(days) if spec.frequency_unit == "days" else len(purchases),
        "rfm_monetary": spent / minor,
        "rfm_mean_order": spent / (len(purchases) * minor),
        "rfm_monetary_minor": spent,
        "btyd_frequency": repeats,
        "btyd_recency_days": (days[-1] - days[0]).days,
        "btyd_t_days": (as_of - timedelta(days=1) - days[0]).days,
        "btyd_mean_repeat_spend": repeat_spend / (repeats * minor) if repeats else 0.0,
    }


def _inside(dated: Dated, as_of: date, window: int) -> Dated:
    return [(day, event) for day, event in dated if day >= as_of - timedelta(days=window)]


def _money(events: Iterable[Event]) -> int:
    return sum(event.amount or 0 for event in events)
