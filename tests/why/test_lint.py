from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest

from engine.config import Config, Segment
from engine.segments.definitions import definitions
from engine.why.lint import lint
from engine.why.lint_data import data_findings
from engine.why.published import open_published
from engine.why.scope import scope_of, spec_of
from tests.samples import AS_OF
from tests.why.published_sample import Sample


def with_segments(config: Config, *segments: dict[str, Any], **more: Any) -> Config:
    made = tuple(Segment.model_validate(segment) for segment in segments)
    return config.model_copy(update={"segments": made, "experiments": (), **more})


def told(config: Config, as_of: date | None = None) -> list[tuple[str, str, str | None]]:
    return [(finding.severity, finding.check, finding.segment) for finding in lint(config, as_of)]


BIG = {"name": "big", "where": "purchase_count_30d > 3"}


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([BIG], []),
        ([{"name": "x", "where": "purchase_cont_30d > 3"}], [("error", "rule", "x")]),
        ([{"name": "x", "where": "purchase_count_30d >"}], [("error", "rule", "x")]),
        ([{"name": "x", "where": "in_segment('nobody')"}], [("error", "rule", "x")]),
        (
            [{"name": "x", "where": "in_segment('y')"}, {"name": "y", "where": "in_segment('x')"}],
            [("error", "segment-cycle", None)],
        ),
        ([BIG, {"name": "x", "where": "purchase_count_30d  >  3"}], [("warning", "unreachable", "x")]),
        (
            [{**BIG, "name": "x"}, {**BIG, "priority": 2}],
            [("warning", "unreachable", "x")],
        ),
        ([BIG, {**BIG, "name": "x", "group": "other"}], []),
        ([{**BIG, "tag": True}, {**BIG, "name": "x", "tag": True}], [("warning", "same rule", "x")]),
        ([{"name": "x", "where": "region = 'sud'"}], [("warning", "demographics", "x")]),
        (
            [{"name": "x", "where": "region <> 'sud' AND purchase_count_30d > 1"}],
            [("warning", "missing values", "x")],
        ),
        (
            [{"name": "x", "where": "NOT region = 'sud' AND purchase_count_30d > 1"}],
            [("warning", "missing values", "x")],
        ),
        ([{"name": "x", "where": "region = 'sud' AND purchase_count_30d > 1"}], []),
        ([{"name": "x", "where": "region IS NOT NULL AND region <> 'sud' AND purchase_count_30d > 1"}], []),
        ([{"name": "x", "where": "NOT days_since_purchase < 9"}], [("note", "missing values", "x")]),
        ([{**BIG, "where": "region LIKE 'n*' AND purchase_count_30d > 1"}], [("note", "pattern", "big")]),
        (
            [{**BIG, "name": "big spenders"}, {"name": "Big-spenders", "where": "purchase_count_7d > 1"}],
            [("warning", "names", "Big-spenders")],
        ),
        (
            [{**BIG, "name": "Été"}, {"name": "été", "where": "purchase_count_7d > 1"}],
            [("error", "segment-names", None)],
        ),
        (
            [{"name": f"s{n}", "where": f"purchase_count_30d > {n}", "campaigns": ["c"]} for n in range(11)],
            [("warning", "campaign", None)],
        ),
    ],
)
def test_findings_without_data(
    sample: Sample, segments: list[dict[str, Any]], expected: list[tuple[str, str, str | None]]
) -> None:
    assert told(with_segments(sample.config, *segments)) == expected


def test_errors_are_drawn_and_come_first(sample: Sample) -> None:
    config = with_segments(
        sample.config,
        {"name": "x", "where": "region = 'sud'"},
        {"name": "y", "where": "purchase_cont_30d > 3"},
    )
    first, second = lint(config)
    assert (first.severity, second.severity) == ("error", "warning")
    assert "^^^^^" in first.message
    assert "purchase_count_30d" in first.message


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        (date(2026, 2, 1), [("warning", "list", "panel")]),
        (date(2026, 2, 20), []),
        (date(2026, 3, 1), [("warning", "list", "panel")]),
        (None, []),
    ],
)
def test_lists_that_are_not_in_force(
    sample: Sample, as_of: date | None, expected: list[tuple[str, str, str | None]]
) -> None:
    [panel] = [segment for segment in sample.config.segments if segment.name == "panel"]
    expiring = panel.model_copy(update={"expires_on": date(2026, 3, 1)})
    config = sample.config.model_copy(update={"segments": (expiring,), "experiments": ()})
    assert told(config, as_of) == expected


def test_a_guard_that_is_off_is_not_told(sample: Sample) -> None:
    guards = sample.config.guards.model_copy(update={"demographics": "off"})
    assert told(with_segments(sample.config, {"name": "x", "where": "region = 'sud'"}, guards=guards)) == []


def test_a_circle_is_told_with_what_to_do(sample: Sample) -> None:
    config = with_segments(
        sample.config, {"name": "x", "where": "in_segment('y')"}, {"name": "y", "where": "in_segment('x')"}
    )
    [found] = lint(config)
    assert "Take one of the questions out of its rule" in found.message


def test_names_that_are_too_much_alike_are_told_with_what_is_required(sample: Sample) -> None:
    [found] = lint(with_segments(sample.config, {**BIG, "name": "Ete"}, {**BIG, "name": "Été"}))
    assert "spelt 'Ete'; names must differ by more than case and accents" in found.message


def with_data(sample: Sample, config: Config) -> list[tuple[str, str | None, str]]:
    published = open_published(sample.out, AS_OF)
    scope = scope_of(published, spec_of(published, config))
    found = data_findings(config, definitions(config), published, scope)
    return [(finding.check, finding.segment, finding.message) for finding in found]


def test_findings_with_data(sample: Sample) -> None:
    config = with_segments(
        sample.config,
        {"name": "nobody", "where": "purchase_count_30d > 1000 OR purchase_count_7d > 1000"},
        {"name": "everybody", "where": "tenure_days >= 0 AND purchase_count_30d > 0"},
        {"name": "unknown", "where": "event_count('purchase', 3) > 0"},
        guards=sample.config.guards.model_copy(update={"min_users": 60}),
    )
    users = sample.table("features").filter(sample.table("features")["purchase_count_30d"] > 0).height
    assert [entry[:2] for entry in with_data(sample, config)] == [
        ("data", "unknown"),
        ("empty", "nobody"),
        ("small", "everybody"),
        ("clause", "nobody"),
        ("clause", "nobody"),
        ("clause", "everybody"),
    ]
    messages = [entry[2] for entry in with_data(sample, config)]
    published_without = "2026-03-01 was published without `event_count('purchase', 3) > 0`"
    assert messages[0] == f"not looked at with data: {published_without}; try `tamis segments preview` with the rule"
    assert messages[2] == f"{users} users on 2026-03-01, at least 60 are expected"
    assert messages[5] == "`tenure_days >= 0` holds for all 80 users"


def test_a_segment_that_others_leave_empty_and_texts_that_nobody_has(sample: Sample) -> None:
    text = "region = 'sud' AND region IN ('sud', 'Nord-Ete')"
    south = Segment.model_validate({"name": "south", "where": text, "tag": True})
    config = sample.config.model_copy(update={"segments": (*sample.config.segments, south)})
    told = {(check, segment): message for check, segment, message in with_data(sample, config)}
    assert told["text", "south"] == "no user has 'Nord-Ete' in region (did you mean 'nord-été'?)"
    taken = sample.table("features").filter(pl.col("region") == "nord-été", pl.col("purchase_amount_30d") > 60).height
    assert taken > 0
    assert told["empty", "Été"].endswith(f"its rule holds for {taken}, all taken by segments tried before it")


def test_segments_with_the_same_users(sample: Sample) -> None:
    guards = sample.config.guards.model_copy(update={"max_overlap": 0.3})
    config = sample.config.model_copy(update={"guards": guards})
    pairs = [(segment, message) for check, segment, message in with_data(sample, config) if check == "overlap"]
    members = sample.table("memberships")
    sets = {name: set(rows["user_id"]) for (name,), rows in members.partition_by("segment", as_dict=True).items()}
    expected = {
        (one, other)
        for one in sets
        for other in sets
        if one < other and len(sets[one] & sets[other]) / len(sets[one] | sets[other]) >= 0.3
    }
    assert {(segment, message.split("'")[1]) for segment, message in pairs} == expected
    assert expected
