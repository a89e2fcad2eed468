"""The reference of the feature table, as Markdown: every column of a specification with its unit and meaning.

`python -m engine.features.page configs/demo.toml > docs/features.md` writes it for the demo.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from engine.config import Config
from engine.config_file import load_config
from engine.features.catalogue import Feature, families
from engine.features.choice import feature_spec
from engine.features.spec import FeatureSpec

_INTRODUCTION = """# Features

The table `features` has one row per user with an event before `as_of`; its key is `user_id`. A window of w days is
`[as_of − w, as_of)`, cut at midnight of the configured time zone: an event at the first instant of the window counts,
one at `as_of` does not. What has no window covers the whole history before `as_of`. Counts, days and points are Int64;
money (major units) and ratios are Float64, divided once from exact integers. Contact attributes stand behind the
features.

The columns follow from the event types, their roles and the windows. These are the ones of `configs/demo.toml`; the
page is the output of `python -m engine.features.page configs/demo.toml`. An event type stands in column names in lower
case, without accents, and with `_` for spaces and punctuation: `Ajout panier` is `ajout_panier`. Letters that have no
ASCII form are left out and eight digits of a hash of the name are added, so that names stay apart: `søk` is
`sk_4343582a`, `покупка` is `type_5855ad0b`.

Two conventions of recency and frequency are told apart by their prefix. `rfm_` is segmentation: back from `as_of`,
every purchase counts. `btyd_` is the one of buy-till-you-die models (Fader, Hardie and Lee 2005): purchases of one day
are one, the first such day does not count in the frequency x, the recency t_x is last − first day, and T ends with the
last complete day before `as_of`. Both are null for users without a purchase.
"""


def features_page(spec: FeatureSpec) -> str:
    """The page of a specification, one table per family in the order of the catalogue."""
    return "\n".join([_INTRODUCTION, *_tables(spec)])


def _tables(spec: FeatureSpec) -> Iterator[str]:
    for family, features in families(spec).items():
        if features:
            yield f"## {family[0].upper()}{family[1:]}\n"
            yield "| column | type | unit | meaning |"
            yield "|---|---|---|---|"
            yield from _rows(features)
            yield ""


def _rows(features: Iterable[Feature]) -> Iterator[str]:
    # Windows of one quantity follow each other and share a row.
    for (dtype, unit, meaning, _), group in groupby(features, key=_quantity):
        names = ", ".join(f"`{feature.name}`" for feature in group)
        # Event types have any name they like.
        escaped = meaning.replace("|", "\\|")
        yield f"| {names} | {dtype} | {unit} | {escaped} |"


def _quantity(feature: Feature) -> tuple[str, str, str, bool]:
    return str(feature.dtype), feature.unit, feature.meaning, feature.window_days is not None


def demo_spec(config: Config) -> FeatureSpec:
    """The features of a configuration that lists its event types, as if purchases alone had amounts."""
    purchase = config.events.purchase
    return feature_spec(config, config.events.types, frozenset() if purchase is None else frozenset({purchase}))


if __name__ == "__main__":
    sys.stdout.buffer.write(features_page(demo_spec(load_config(Path(sys.argv[1])).config)).encode())
