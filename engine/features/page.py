"""The reference of the feature table, as Markdown: every column there can be, with its unit and meaning.

`python -m engine.features.page configs/demo.toml > docs/features.md` writes it; the configuration is the example at its
end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from engine.config_file import load_config
from engine.events.machines import machine_type
from engine.events.schema import FIELDS
from engine.features.accounts import ACCOUNT_FAMILY, ACCOUNT_NEEDS
from engine.features.catalogue import families
from engine.features.choice import ROLES, feature_spec
from engine.features.configured import configured_types
from engine.features.feature import Feature
from engine.features.registry import FAMILIES, NEEDS
from engine.features.spec import EventType, FeatureSpec

_INTRODUCTION = """# Features

The table `features` has one row per user with an event before `as_of`; its key is `user_id`. A window of w days is
`[as_of − w, as_of)`, cut at midnight of the configured time zone: an event at the first instant of the window counts,
one at `as_of` does not. What has no window covers the whole history before `as_of`. Counts, days, points and flags are
Int64; money (major units), ratios and means are Float64, divided once from exact integers. Contact attributes stand
behind the features.

Which columns a configuration has follows from its event types, their roles (`[events]`), the canonical columns that its
sources map, and the windows. The first five families are always there. The others are computed when they are listed in
`features.families`, or when a segment's rule or `clusters.features` names one of their columns; those of accounts when
there is a section `[accounts]`.
`tamis features list -c FILE` prints the columns of a configuration, with `--all` those it could have;
`tamis features describe NAME` tells everything of one.

This page shows windows of 30 and 365 days and event types that are called like their roles; `open_machine` counts the
opens of machines apart. An event type stands in column names in lower case, without accents, and with `_` for spaces
and punctuation: `Ajout panier` is `ajout_panier`. Letters that have no ASCII form are left out and eight digits of a
hash of the name are added, so that names stay apart: `søk` is `sk_4343582a`, `покупка` is `type_5855ad0b`. Of the
columns that every event type has, those of `purchase` (with amounts) and of the derived type `product_page` are shown.
Three lines make such a type, and all features of a type with it:

```toml
[[features.events]]
name = "product_page"
event = "page_view"
where = "page = 'product'"
```

Two conventions of recency and frequency are told apart by their prefix. `rfm_` is segmentation: back from `as_of`,
every purchase counts. `btyd_` is the one of buy-till-you-die models (Fader, Hardie and Lee 2005): purchases of one day
are one, the first such day does not count in the frequency x, the recency t_x is last − first day, and T ends with the
last complete day before `as_of`. Both are null for users without a purchase.

Every feature knows the purposes that it needs of a user's consent: `profiling`, and `email_tracking` too when opens or
clicks are part of it.
"""

_DERIVED: Final = EventType("product_page", "product_page", priced=False, of="page_view", where="page = 'product'")
_SHOWN: Final = frozenset({"purchase", _DERIVED.name})
_OF_EVERY_TYPE: Final = frozenset({"event types", "type_days", "trend"})

SIGNALS: Final = (
    ("SIG-01", "Opens, clicks, answers and silence after campaigns, opt-outs", """
        funnel_open_rate_30d funnel_click_rate_30d funnel_click_to_open_rate_30d funnel_reply_rate_30d
        funnel_unsubscribe_rate_30d days_since_human_open days_since_human_click reachable"""),
    ("SIG-02", "Time spent per page", "page_duration_mean_ms_30d session_duration_mean_ms_30d"),
    ("SIG-03", "Page sequence, depth of navigation, frequency of visits", """
        last_pages session_depth_mean_30d session_depth_max_30d session_count_30d distinct_pages_30d
        active_days_30d"""),
    ("SIG-04", "Additions to the cart, removals, abandonment", """
        cart_adds_30d cart_removes_30d cart_net_items_30d cart_abandoned_30d carts_abandoned_30d cart_items_left"""),
    ("SIG-05", "Purchases: frequency, mean and total amount, kinds of products, cycle", """
        rfm_frequency rfm_monetary purchase_mean_amount_30d purchase_amount_total favourite_category_365d
        distinct_items_30d purchase_gap_mean_days expected_next_purchase_days"""),
    ("SIG-06", "Seasonality of purchases, reaction to promotions", """
        purchase_count_year_ago_30d purchase_share_month_12 purchase_strongest_month promotion_share_30d
        promotion_orders_30d"""),
    ("SIG-07", "Downloads, registrations, answers to forms, feedback: any event type of the log", """
        product_page_count_30d days_since_product_page product_page_count_trend_30d"""),
    ("SIG-08", "Comments and shares on social networks", """
        social_comment_count_30d social_share_count_30d social_points_30d"""),
    ("SIG-09", "Age, sex, region, profession, family, language", "contact attributes: `[contacts]`"),
    ("SIG-10", "Sector, turnover, headcount, legal form, function", """
        contact attributes: `[contacts]`; what all users of an account did: `[accounts]`, `account_active_users_30d`,
        `account_purchase_amount_30d` and the others of the family account"""),
    ("SIG-11", "Interests, values, way of life, digital maturity", "contact attributes: `[contacts]`"),
    ("SIG-12", "Touch points: web, social networks, events, phone", """
        derived types such as `where = "channel = 'phone'"`, which have all features of a type"""),
    ("SIG-12", "Stages: awareness, consideration, decision, loyalty", """
        funnel_sent_count_30d session_count_30d cart_adds_30d purchase_count_30d rfm_frequency"""),
)  # fmt: skip
"""Signals that marketing segmentation asks for: id, what it is, and the columns that hold it."""


def features_page(spec: FeatureSpec, example: str = "") -> str:
    """The page of a specification: one table per family in the order of the catalogue, then the signals.

    Args:
        spec: The specification whose columns are shown.
        example: A last section.
    """
    return "\n".join([_INTRODUCTION, *_tables(spec), *_signals(), *([example] if example else [])])


def _tables(spec: FeatureSpec) -> Iterator[str]:
    for family, features in families(spec).items():
        shown = [feature for feature in features if family not in _OF_EVERY_TYPE or _is_shown(feature, spec)]
        if shown:
            yield f"## {family[0].upper()}{family[1:].replace('_', ' ')}\n"
            if family in NEEDS:
                yield f'`families = ["{family}"]`; needs {NEEDS[family]}.\n'
            elif family == ACCOUNT_FAMILY:
                yield f"Needs {ACCOUNT_NEEDS}; null for users without an account.\n"
            yield "| column | type | unit | meaning |"
            yield "|---|---|---|---|"
            yield from _rows(shown)
            yield ""


def _is_shown(feature: Feature, spec: FeatureSpec) -> bool:
    return _DERIVED not in spec.types or set(feature.types) <= _SHOWN


def _rows(features: Iterable[Feature]) -> Iterator[str]:
    # Windows of one quantity follow each other and share a row.
    for (dtype, unit, meaning, _), group in groupby(features, key=_quantity):
        names = ", ".join(f"`{feature.name}`" for feature in group)
        # Event types have any name they like.
        escaped = meaning.replace("|", "\\|")
        yield f"| {names} | {dtype} | {unit} | {escaped} |"


def _quantity(feature: Feature) -> tuple[str, str, str, bool]:
    return str(feature.dtype), feature.unit, feature.meaning, feature.window_days is not None


def _signals() -> Iterator[str]:
    yield "## Signals\n"
    yield "What segmentation asks of the data, and where it stands.\n"
    yield "| signal | what | columns |"
    yield "|---|---|---|"
    for name, meaning, columns in SIGNALS:
        yield f"| {name} | {meaning} | {' '.join(columns.split()) if '`' in columns else _ticked(columns)} |"
    yield ""


def _ticked(columns: str) -> str:
    return ", ".join(f"`{column}`" for column in columns.split())


def full_spec() -> FeatureSpec:
    """The specification with every role, column and family, from which the page is made."""
    priced = frozenset({"purchase", "refund", "cart_add", "cart_remove"})
    names = (*ROLES, machine_type("open"), machine_type("click"))
    roles: dict[str, Any] = {role: role for role in ROLES}
    return FeatureSpec(
        types=(*(EventType(name, name, name in priced) for name in names), _DERIVED),
        **roles,
        windows=(30, 365),
        weights=(*(1 if name in ROLES else 0 for name in names), 0),
        engagement_days=90,
        frequency_unit="orders",
        timezone="UTC",
        currency_digits=2,
        families=tuple(family.name for family in FAMILIES),
        columns=tuple(field.name for field in FIELDS),
        half_life_days=30,
        full_click_rate=0.1,
        full_amount_minor=100_000,
        account="company",
    )


def example_section(file: str) -> str:
    """How many columns a configuration has, by family."""
    config = load_config(Path(file)).config
    types = configured_types(config)
    spec = feature_spec(config, types.names, types.priced)
    counts = [f"{family} ({len(features)})" for family, features in families(spec).items() if features]
    total = sum(len(features) for features in families(spec).values())
    return (
        f"## An example\n\n`{file}` has {total} columns: {', '.join(counts)}. "
        f"`tamis features list -c {file}` prints them.\n"
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(features_page(full_spec(), example_section(sys.argv[1])).encode())
