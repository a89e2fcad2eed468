"""The e-mail funnel: sent, delivered, opened, clicked, answered, and what goes wrong; opens of people and of machines.

A message is delivered when it was sent and did not bounce. Where machine opens or clicks are told apart, columns with
`raw` count them in and the others do not; without them there are no raw columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from engine.features.columns import integer, real
from engine.features.feature import Family, Feature, Reads
from engine.features.spec import FeatureSpec
from engine.features.totals import NEVER, days_since, ratio, window_totals
from engine.features.windows import Ints

_COUNTS = {
    "sent": "Messages sent",
    "delivered": "Messages sent less those that bounced, not below 0",
    "open": "Opens by people",
    "open_raw": "Opens by people and machines",
    "click": "Clicks by people",
    "click_raw": "Clicks by people and machines",
}
_RATES = (
    ("funnel_open_rate", "open", "delivered", "Opens by people per message delivered"),
    ("funnel_open_rate_raw", "open_raw", "delivered", "Opens by people and machines per message delivered"),
    ("funnel_click_rate", "click", "delivered", "Clicks by people per message delivered"),
    ("funnel_click_rate_raw", "click_raw", "delivered", "Clicks by people and machines per message delivered"),
    ("funnel_click_to_open_rate", "click", "open", "Clicks by people per open by people"),
    ("funnel_click_to_open_rate_raw", "click_raw", "open_raw", "Clicks per open, both by people and machines"),
    ("funnel_reply_rate", "reply", "delivered", "Replies per message delivered"),
    ("funnel_bounce_rate", "bounced", "sent", "Bounces per message sent"),
    ("funnel_unsubscribe_rate", "unsubscribe", "delivered", "Opt-outs per message delivered"),
    ("funnel_complaint_rate", "complaint", "delivered", "Spam complaints per message delivered"),
    ("machine_open_share", "open_machine", "open_raw", "Opens by machines, of all opens"),
)
"""Name, stage above, stage below, meaning."""
_UNDER = {
    "sent": "message sent",
    "delivered": "message delivered",
    "open": "open by a person",
    "open_raw": "open",
}


def _stages(spec: FeatureSpec) -> dict[str, tuple[str, ...]]:
    """The stages that the roles allow, each with the event types it is made of."""
    bounce = () if spec.bounce is None else (spec.bounce,)
    stages: dict[str, tuple[str | None, ...]] = {
        "sent": (spec.send,),
        "delivered": (spec.send, *bounce),
        "bounced": (spec.bounce,),
        "open": (spec.open,),
        "open_machine": (spec.machine(spec.open),),
        "open_raw": (spec.open, spec.machine(spec.open)),
        "click": (spec.click,),
        "click_raw": (spec.click, spec.machine(spec.click)),
        "reply": (spec.reply,),
        "unsubscribe": (spec.unsubscribe,),
        "complaint": (spec.complaint,),
    }
    present = {stage: tuple(name for name in types if name is not None) for stage, types in stages.items()}
    return {stage: types for stage, types in present.items() if len(types) == len(stages[stage])}


def _against(spec: FeatureSpec) -> tuple[str, ...]:
    """The event types after which a user is not reachable."""
    return tuple(name for name in (spec.bounce, spec.unsubscribe, spec.complaint) if name is not None)


def features(spec: FeatureSpec) -> tuple[Feature, ...]:
    """The columns that the roles allow."""
    return tuple(_features(spec))


def _features(spec: FeatureSpec) -> Iterator[Feature]:
    stages = _stages(spec)
    for stage, meaning in _COUNTS.items():
        for window in spec.windows if stage in stages else ():
            name = f"funnel_{stage}_count_{window}d"
            yield integer(spec, name, "count", f"{meaning}.", stages[stage], window=window, absent=0)
    for rate, over, under, meaning in _RATES:
        for window in spec.windows if over in stages and under in stages else ():
            types = tuple(dict.fromkeys((*stages[over], *stages[under])))
            text = f"{meaning}; null without any {_UNDER[under]}."
            yield real(spec, f"{rate}_{window}d", "ratio", text, types, window=window, counted=stages[over])
    for stage in ("open", "click"):
        if stage in stages:
            meaning = f"Days from the day of the last {stage} by a person to as_of; null when there is none."
            yield integer(spec, f"days_since_human_{stage}", "days", meaning, stages[stage])
    against = _against(spec)
    if against:
        listed = " or ".join(against)
        sent = "" if spec.send is None else f" on the day of the last {spec.send} or later; without one,"
        meaning = f"0 when a {listed} came{sent} at any time; else 1."
        yield integer(spec, "reachable", "flag", meaning, (*against, spec.send), absent=1)


def reads(spec: FeatureSpec) -> Reads:
    """The types with a part in the funnel."""
    return Reads(frozenset(name for types in _stages(spec).values() for name in types))


def build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    """The funnel of every user with an event of its types; `user` and the columns of `features`."""
    stages = _stages(spec)
    codes = {stage: [spec.code(name) for name in types] for stage, types in stages.items()}
    totals = window_totals(rows, as_of_day, spec.windows, [code for some in codes.values() for code in some])
    counts: dict[str, Ints] = {stage: totals.events(*some) for stage, some in codes.items()}
    if "delivered" in stages:
        counts["delivered"] = np.maximum(counts["sent"] - totals.events(spec.code(spec.bounce)), 0)
    columns: dict[str, Ints | pl.Series] = {"user": totals.users}
    for position, window in enumerate(spec.windows):
        for stage in _COUNTS:
            if stage in counts:
                columns[f"funnel_{stage}_count_{window}d"] = counts[stage][:, position]
        for rate, over, under, _ in _RATES:
            if over in counts and under in counts:
                columns[f"{rate}_{window}d"] = ratio(counts[over][:, position], counts[under][:, position])
    for stage in ("open", "click"):
        if stage in stages:
            columns[f"days_since_human_{stage}"] = days_since(totals.last_day(*codes[stage]), as_of_day)
    against = _against(spec)
    if against:
        worst = totals.last_day(*(spec.code(name) for name in against))
        sent = totals.last_day(spec.code(spec.send))
        columns["reachable"] = np.where((worst > NEVER) & (worst >= sent), 0, 1)
    return pl.DataFrame(columns)


FAMILY = Family("funnel", "daily", features, reads, build)
