from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from engine.bundle_store import write_bundle
from engine.features.spec import FeatureSpec
from engine.incumbent import incumbent_model, incumbent_value
from tests.bundles import LEARNT_FROM, bundle, full_bundle, model, spec, target

AVAILABLE = {
    "tenure_days": pl.Int64(),
    "view_count_30d": pl.Int64(),
    "view_count_total": pl.Int64(),
    "region": pl.String(),
    "age": pl.Int64(),
    "more": pl.Float64(),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(full_bundle("buys", "sells"), tmp_path / "staging", tmp_path / "out")


def test_the_model_of_the_same_target(folder: Path) -> None:
    for place, name in enumerate(("buys", "sells")):
        assert incumbent_model(folder, target(name), AVAILABLE, spec()) == model(name, place)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"event": "buy"},
        {"where": "amount > 5"},
        {"absent": True},
        {"population": "tenure_days > 5"},
        {"horizon_days": 15},
    ],
)
def test_another_target(changes: dict[str, object], folder: Path) -> None:
    assert incumbent_model(folder, target(**{"name": "buys", **changes}), AVAILABLE, spec()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, True),
        ({"more": None}, True),
        ({"region": pl.Categorical()}, True),
        ({"region": pl.Int64()}, False),
        ({"age": pl.Float64()}, False),
        ({"age": None}, False),
        ({"tenure_days": None}, False),
        ({"tenure_days": pl.Int32()}, False),
    ],
)
def test_other_columns(changes: dict[str, pl.DataType | None], found: bool, folder: Path) -> None:
    available = {name: dtype for name, dtype in {**AVAILABLE, **changes}.items() if dtype is not None}
    assert (incumbent_model(folder, target(), available, spec()) is not None) is found


def with_sections(**sections: object) -> FeatureSpec:
    # Specifications are kept by what they were asked for, and tables are no keys.
    return spec.__wrapped__(**sections)


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (with_sections(features={"windows": [7, 30, 90]}), True),
        (with_sections(features={"windows": [30], "families": ["trend"]}), True),
        # No model here learns from the points.
        (with_sections(engagement={"weights": {"view": 50}}), True),
        (with_sections(features={"windows": [7]}), False),
        (with_sections(timezone="Europe/Paris"), False),
        (with_sections(currency_digits=0), False),
        (with_sections(rfm={"frequency_unit": "days"}), False),
        (with_sections(features={"windows": [30], "session_gap_minutes": 5}), False),
    ],
)
def test_other_definitions_of_features(now: FeatureSpec, found: bool, folder: Path) -> None:
    assert now != spec()
    assert (incumbent_model(folder, target(), AVAILABLE, now) is not None) is found


def test_no_usable_bundle(folder: Path, tmp_path: Path) -> None:
    assert incumbent_model(tmp_path / "none", target(), AVAILABLE, spec()) is None
    without = write_bundle(bundle(), tmp_path / "staging", tmp_path / "out")
    assert incumbent_model(without, target(), AVAILABLE, spec()) is None
    (folder / "drift.json").write_text("{}")
    assert incumbent_model(folder, target(), AVAILABLE, spec()) is None


@pytest.mark.parametrize(
    ("settings_hash", "now", "found"),
    [
        ("3", spec(), True),
        ("4", spec(), False),
        # Value is made of purchases alone, whatever the windows and weights are.
        ("3", with_sections(features={"windows": [7]}, engagement={"weights": {"view": 50}}), True),
        ("3", with_sections(currency_digits=0), False),
        ("3", with_sections(events={"purchase": "view"}), False),
    ],
)
def test_value_of_the_same_settings(settings_hash: str, now: FeatureSpec, found: bool, tmp_path: Path) -> None:
    valued = replace(full_bundle(), learnt_from=(*LEARNT_FROM, ("value", "3")))
    folder = write_bundle(valued, tmp_path / "staging", tmp_path / "out")
    assert incumbent_value(folder, settings_hash, now) == (valued.value if found else None)


def test_no_value_to_keep(folder: Path, tmp_path: Path) -> None:
    assert incumbent_value(tmp_path / "none", "3", spec()) is None
    # Fitted when the configuration had no such part.
    assert incumbent_value(folder, "3", spec()) is None
