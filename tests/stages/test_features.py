from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config, Target
from engine.features.choice import feature_spec
from engine.features.spec import EventType, FeatureSpec
from engine.features.windows import day_number
from engine.rollups.index import Code
from engine.stages.features import bucket_rows, features_at, provisional_wants, target_positions, wanted_of
from tests.features.logs import at, bucket_of, ingested
from tests.features.specs import spec_of

DERIVED = EventType("dear", "dear", True, "purchase", "amount >= 50")


def spec_with(*derived: EventType, **changes: Any) -> FeatureSpec:
    spec = spec_of(("purchase", "visit"), **changes)
    return replace(spec, types=(*spec.types, *derived), weights=(*spec.weights, *(0 for _ in derived)))


def target(event: str, where: str | None = None) -> Target:
    return Target(name="t", event=event, where=where)


@pytest.mark.parametrize(
    ("targets", "more", "positions"),
    [
        ((), (), ()),
        # A target on all events of a type, derived or not, has no events of its own.
        ((target("purchase"), target("dear")), (), (0, 2)),
        ((target("purchase", "amount >= 50"),), (), (2,)),
        ((target("visit", "channel = 'web'"), target("visit")), (Code("visit", "channel = 'web'"),), (3, 1)),
        (
            (target("dear", "category = 'a'"), target("dear", "category = 'a'")),
            (Code("purchase", "(amount >= 50) AND (category = 'a')"),),
            (3, 3),
        ),
    ],
)
def test_events_that_are_wanted_twice_are_stored_once(
    targets: tuple[Target, ...], more: tuple[Code, ...], positions: tuple[int, ...]
) -> None:
    spec = spec_with(DERIVED)
    own = (Code("purchase"), Code("visit"), Code("purchase", "amount >= 50"))
    assert wanted_of(spec, targets).codes == (*own, *more)
    assert target_positions(spec, targets) == positions


def test_single_events_are_wanted_by_families_that_read_them() -> None:
    plain = wanted_of(spec_with(), ())
    assert (plain.event_types, plain.event_columns) == ((), ())
    sessions = wanted_of(spec_with(page_view="visit", families=("sessions",), columns=("page",)), ())
    assert sessions.event_types == ("visit",)
    assert "page" in sessions.event_columns


def config_with(**sections: Any) -> Config:
    columns = {"user_id": "u", "event_type": "t", "event_time": "e", "amount": "a", "page": "p"}
    return Config.model_validate({"sources": ({"name": "log", "path": "l", "columns": columns},), **sections})


def test_what_a_fit_will_need_is_known_before_the_log_was_read() -> None:
    config = config_with(
        events={"purchase": "purchase", "page_view": "visit"},
        features={"events": [{"name": "dear", "event": "purchase", "where": "amount >= 50"}], "families": ["sessions"]},
        targets=[{"name": "buys", "event": "dear", "where": "page = 'x'"}, {"name": "a", "event": "visit"}],
    )
    types = ("purchase", "visit")
    spec = feature_spec(config, types, frozenset({"purchase"}))
    assert provisional_wants(config, types, ()) == wanted_of(spec, config.targets)


def test_the_positions_of_types_do_not_hang_on_which_of_them_have_amounts() -> None:
    config = config_with(events={"purchase": "purchase"}, targets=[{"name": "buys", "event": "purchase"}])
    provisional = provisional_wants(config, ("purchase", "visit"), ())
    for priced in (frozenset[str](), frozenset({"visit"})):
        assert wanted_of(feature_spec(config, ("purchase", "visit"), priced), config.targets).codes == provisional.codes


def test_roles_and_targets_of_types_that_the_log_lacks_wait_until_it_was_read() -> None:
    config = config_with(events={"purchase": "bought"}, targets=[{"name": "buys", "event": "bought"}])
    assert provisional_wants(config, ("visit",), ()).codes == (Code("visit"),)


def test_derived_types_count_events_under_their_condition(tmp_path: Path) -> None:
    events = [at("2024-01-01", 1, amount=4_999), at("2024-01-02", 1, amount=5_000), at("2024-01-03", 2, amount=None)]
    events += [at("2024-01-09", 2, amount=9_000), at("2024-01-02", 1, "visit", 9_000)]
    spec = spec_with(DERIVED)
    day = date(2024, 1, 9)
    rows = bucket_rows(bucket_of(ingested(events, spec, tmp_path), day), spec)
    found = features_at(rows, day_number(day), spec).select("user", "dear_count_7d", "dear_amount_total")
    assert found.rows() == [(0, 1, 50.0), (1, 0, 0.0)]
    assert found.schema["user"] == pl.UInt32
