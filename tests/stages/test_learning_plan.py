from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config
from engine.errors import ConfigError
from engine.events.record import IngestRecord
from engine.features.catalogue import catalogue
from engine.features.windows import day_number
from engine.rollups.bucket import Shelf
from engine.rollups.ranges import key_ranges
from engine.stages.learning import ClustersTask, MatrixRecord, ScalesTask, TargetTask
from engine.stages.learning_plan import (
    categories,
    check_columns,
    cluster_features,
    cluster_order,
    learn_tasks,
    matrix_tasks,
    model_features,
)
from engine.stages.preparation import Prepared
from tests.features.logs import spec_of

AS_OF = date(2024, 3, 1)
DAY = day_number(AS_OF)
SPEC = spec_of(("purchase", "open", "click", "visit"), open="open", click="click")
TEXT = {"city": pl.String(), "age": pl.Int64()}


def config_with(**sections: Any) -> Config:
    columns = {"user_id": "u", "event_type": "t", "event_time": "e"}
    source = {"name": "log", "path": "log.parquet", "columns": columns}
    return Config.model_validate({"sources": (source,), **sections})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            (
                "days_since_last_event",
                "tenure_days",
                "active_days_30d",
                "purchase_count_30d",
                "purchase_amount_30d",
                "open_count_30d",
                "click_count_30d",
            ),
        ),
        (
            {"purchase": None, "open": None},
            ("days_since_last_event", "tenure_days", "active_days_30d", "click_count_30d"),
        ),
        (
            {"windows": (1, 90), "open": "purchase", "click": None},
            (
                "days_since_last_event",
                "tenure_days",
                "active_days_90d",
                "purchase_count_90d",
                "purchase_amount_90d",
            ),
        ),
    ],
)
def test_default_clusters_are_made_of_what_there_is(changes: dict[str, Any], expected: tuple[str, ...]) -> None:
    spec = spec_of(("purchase", "open", "click"), **{"open": "open", "click": "click", **changes})
    found = cluster_features(config_with(), spec)
    assert found == expected
    assert set(found) <= {feature.name for feature in catalogue(spec)}


def test_purchases_without_amounts_leave_the_amount_out() -> None:
    found = cluster_features(config_with(), spec_of(priced=()))
    assert "purchase_count_30d" in found
    assert "purchase_amount_30d" not in found


def test_configured_cluster_features_come_first() -> None:
    config = config_with(clusters={"features": ("tenure_days", "open_count_7d")})
    assert cluster_features(config, SPEC) == ("tenure_days", "open_count_7d")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("tenure_days", "open_count_7d", "purchase_amount_30d"), "purchase_amount_30d"),
        (("tenure_days", "rfm_monetary", "open_count_7d"), "rfm_monetary"),
        (("active_days_7d", "open_count_7d"), "open_count_7d"),
        (("tenure_days", "active_days_7d"), "active_days_7d"),
        (("tenure_days", "days_since_open"), "tenure_days"),
    ],
)
def test_cluster_ids_fall_with_spend_or_what_comes_closest(names: tuple[str, ...], expected: str) -> None:
    assert cluster_order(names) == expected


def test_models_learn_from_every_feature_and_the_attributes_that_are_allowed() -> None:
    contacts = {"path": "c.parquet", "user_id": "u", "columns": ("city", "age"), "model_columns": ("age",)}
    found = model_features(config_with(contacts=contacts), SPEC)
    assert found == (*(feature.name for feature in catalogue(SPEC)), "age")
    assert "rfm_monetary_minor" not in found


@pytest.mark.parametrize(
    ("sections", "contacts", "named"),
    [
        ({"clusters": {"features": ("tenure_day",)}}, (), ["clusters.features", "'tenure_day'", "tenure_days"]),
        ({"clusters": {"features": ("user_id",)}}, (), ["'user_id'"]),
        ({}, ("tenure_days",), ["contacts", "'tenure_days'"]),
        ({}, ("r_score", "city", "cluster"), ["'r_score'", "'cluster'"]),
        ({}, ("rfm_monetary_minor",), ["'rfm_monetary_minor'"]),
        (
            {"targets": ({"name": "buys", "event": "purchase"},)},
            ("propensity_buys", "label_buys"),
            ["'propensity_buys'", "'label_buys'"],
        ),
    ],
)
def test_names_that_do_not_fit_are_refused_together(
    sections: dict[str, Any], contacts: tuple[str, ...], named: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_columns(config_with(**sections), SPEC, dict.fromkeys(contacts, pl.String()))
    assert caught.value.code == "feature-names"
    assert all(name in caught.value.message for name in named)
    assert "'city'" not in caught.value.message


@pytest.mark.parametrize("column", ["propensity_now_count_7d", "label_now_count_7d"])
def test_a_target_does_not_take_the_column_of_a_feature(column: str) -> None:
    config = config_with(targets=({"name": "now_count_7d", "event": "purchase"},))
    spec = spec_of(("purchase", column.removesuffix("_now_count_7d") + "_now"))
    with pytest.raises(ConfigError) as caught:
        check_columns(config, spec, {})
    assert caught.value.code == "feature-names"
    assert f"targets: the column {column!r} is a feature already" in caught.value.message


MODEL_COLUMNS = ("city", "age", "vip", "spent", "joined", "tags")
ATTRIBUTES: dict[str, pl.DataType] = {
    "city": pl.String(),
    "age": pl.Int8(),
    "vip": pl.Boolean(),
    "spent": pl.Decimal(10, 2),
    "joined": pl.Date(),
    "tags": pl.List(pl.String()),
}


def test_attributes_that_no_model_can_learn_from_are_refused_before_anything_is_read() -> None:
    config = config_with(contacts={"path": "c.parquet", "user_id": "u", "model_columns": MODEL_COLUMNS})
    with pytest.raises(ConfigError) as caught:
        check_columns(config, SPEC, ATTRIBUTES)
    assert caught.value.code == "feature-names"
    refused = [name for name in MODEL_COLUMNS if f"contacts.model_columns: '{name}'" in caught.value.message]
    assert refused == ["spent", "joined", "tags"]


def test_attributes_that_no_model_learns_from_may_have_any_type() -> None:
    contacts = {"path": "c.parquet", "user_id": "u", "model_columns": MODEL_COLUMNS[:3]}
    config = config_with(contacts=contacts)
    check_columns(config, SPEC, ATTRIBUTES)
    assert categories(config, ATTRIBUTES) == ("city",)


def test_names_that_fit_pass() -> None:
    config = config_with(clusters={"features": ("tenure_days",), "enabled": False})
    check_columns(config, SPEC, dict.fromkeys(("city", "cluster", "propensity_buys", "Label"), pl.String()))


SHELF = Shelf(("users",), ("daily",), (), (), (0,), (), DAY)


def prepared(first_day: int | None) -> Prepared:
    return Prepared(SHELF, (), None, tuple(key_ranges(2)), IngestRecord(first_day=first_day), SPEC.type_names)


@pytest.mark.parametrize(
    ("days_of_history", "expected"), [(100, (40, 30, 20, 10)), (31, (30, 20, 10)), (30, (20, 10)), (11, (10,))]
)
def test_anchors_without_a_day_of_history_are_left_out(days_of_history: int, expected: tuple[int, ...]) -> None:
    targets = ({"name": "buys", "event": "purchase", "horizon_days": 10},)
    contacts = {"path": "c.parquet", "user_id": "u", "model_columns": ("age",)}
    config = config_with(targets=targets, model={"train_anchors": 3}, contacts=contacts)
    tasks = matrix_tasks(config, SPEC, prepared(DAY - days_of_history), AS_OF, TEXT, Path("work"))
    assert [task.bucket for task in tasks] == [0, 1]
    assert [task.keys for task in tasks] == key_ranges(2)
    for task in tasks:
        assert task.anchors == tuple(DAY - days for days in expected)
        assert (task.as_of_day, task.shelf, task.contact_columns) == (DAY, SHELF, ("age",))


def record(bucket: int, anchors: tuple[int, ...]) -> MatrixRecord:
    rows = tuple((DAY - days, f"{days}-{bucket}", 10 * days + bucket) for days in anchors)
    return MatrixRecord(7, 0, 0, f"current-{bucket}", rows)


def test_every_model_gets_the_files_of_its_anchors() -> None:
    config = config_with(
        seed=5,
        contacts={"path": "c.parquet", "user_id": "u", "model_columns": ("city", "age")},
        targets=(
            {"name": "soon", "event": "purchase", "horizon_days": 10},
            {"name": "late", "event": "purchase", "horizon_days": 20},
        ),
        model={"train_anchors": 2},
    )
    matrices = [record(bucket, (60, 40, 30, 20, 10)) for bucket in (0, 1)]
    scales, clusters, soon, late = learn_tasks(config, SPEC, matrices, AS_OF, TEXT, threads=3)
    assert isinstance(scales, ScalesTask)
    assert isinstance(clusters, ClustersTask)
    assert isinstance(soon, TargetTask)
    assert isinstance(late, TargetTask)
    assert scales.files == clusters.files == ("current-0", "current-1")
    assert clusters.users == 14
    assert soon.train_files == ("30-0", "20-0", "30-1", "20-1")
    assert soon.valid_files == ("10-0", "10-1")
    assert (soon.train_rows, soon.valid_rows) == (300 + 200 + 301 + 201, 100 + 101)
    assert late.train_files == ("60-0", "40-0", "60-1", "40-1")
    assert late.valid_files == ("20-0", "20-1")
    assert soon.categorical == late.categorical == ("city",)
    assert soon.features[-2:] == ("city", "age")
    assert (soon.seed, soon.threads) == (5, 3)


def test_clusters_can_be_off() -> None:
    config = config_with(clusters={"enabled": False})
    [only] = learn_tasks(config, SPEC, [record(0, ())], AS_OF, {}, threads=1)
    assert isinstance(only, ScalesTask)


def test_the_day_before_as_of_is_the_last_of_the_validation_labels() -> None:
    targets = ({"name": "buys", "event": "purchase", "horizon_days": 7},)
    [task, _] = matrix_tasks(config_with(targets=targets), SPEC, prepared(0), AS_OF, {}, Path("work"))
    assert date(1970, 1, 1) + timedelta(days=task.anchors[-1] + 7) == AS_OF
