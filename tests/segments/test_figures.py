from __future__ import annotations

import pytest

from engine.config import Config
from engine.errors import ConfigError
from engine.segments.figures import kpi_window


def config_of(windows: list[int], asked: int | None = None) -> Config:
    source = {"name": "log", "path": "x", "columns": {"user_id": "u", "event_time": "t", "event_type": "e"}}
    values = {"sources": [source], "features": {"windows": windows}, "kpis": {"window_days": asked}}
    return Config.model_validate(values)


@pytest.mark.parametrize(
    ("windows", "asked", "expected"),
    [
        ([7, 30, 90], None, 30),
        ([7, 28, 90], None, 28),
        ([7, 14], None, 14),
        ([27], None, 27),
        ([7, 30, 90], 7, 7),
        ([7, 30, 90], 90, 90),
    ],
)
def test_the_window_is_the_one_asked_for_or_about_a_month(windows: list[int], asked: int | None, expected: int) -> None:
    assert kpi_window(config_of(windows, asked)) == expected


def test_a_window_without_features_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        kpi_window(config_of([7, 30], 28))
    assert refused.value.code == "kpi-window"
    assert "7, 30" in refused.value.message
    assert "28" in refused.value.message
