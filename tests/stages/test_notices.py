from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from engine.config import Config, Segment
from engine.features.windows import day_number
from engine.stages.notices import empty_segments, missing_types, stale_log, weak_models

SOURCE = {"name": "log", "path": "log.parquet", "columns": {"user_id": "u", "event_type": "t", "event_time": "at"}}


def config(**values: Any) -> Config:
    return Config.model_validate({"sources": [SOURCE], "features": {"windows": [7, 30]}, **values})


@pytest.mark.parametrize(
    ("last", "warns"),
    [(date(2026, 1, 31), False), (date(2026, 1, 25), False), (date(2026, 1, 24), True), (None, False)],
)
def test_a_log_that_ends_before_the_shortest_window(last: date | None, warns: bool) -> None:
    lines = stale_log(config(), None if last is None else day_number(last), date(2026, 2, 1))
    assert bool(lines) is warns
    if warns:
        assert lines == [
            "the last event is of 2026-01-24, 8 days before as_of; the log would be complete as of 2026-01-25"
        ]


@pytest.mark.parametrize(("log_loss", "warns"), [(0.2, False), (0.3, True), (0.4, True)])
def test_a_model_that_is_no_better_than_the_base_rate(log_loss: float, warns: bool) -> None:
    spec: Any = SimpleNamespace(
        target=SimpleNamespace(name="click"), metrics=SimpleNamespace(log_loss=log_loss, base_log_loss=0.3)
    )
    lines = weak_models([spec])
    assert len(lines) == warns
    assert all("'click'" in line and "0.300" in line for line in lines)


def test_a_segment_that_nobody_is_in() -> None:
    segments = (Segment(name="full", where="a > 1"), Segment(name="empty", where="a > 2"))
    lines = empty_segments(config(segments=segments), {"full": 3, "empty": 0})
    assert lines == ["nobody is in segment 'empty': a > 2"]


def test_a_segment_name_is_compared_in_nfc() -> None:
    decomposed = "I\u0302le"
    assert empty_segments(config(segments=(Segment(name=decomposed, where="a > 1"),)), {"\u00cele": 3}) == []


def test_event_types_that_the_log_has_no_more() -> None:
    assert missing_types(["view"]) == ["the log has no event of type 'view'; the features over it are 0 or null"]
