from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config, CustomerValue
from engine.errors import ConfigError
from engine.events.record import IngestRecord
from engine.features.catalogue import catalogue
from engine.features.windows import day_number
from engine.rollups.bucket import Shelf
from engine.rollups.ranges import key_ranges
from engine.stages.learning import MatrixRecord, ScalesTask, TargetUsers, ValueTask
from engine.stages.learning_plan import (
    attribute_warnings,
    categories,
    check_columns,
    cluster_features,
    cluster_order,
    drift_task,
    learn_tasks,
    matrix_tasks,
    model_features,
)
from engine.stages.preparation import Prepared
from engine.stages.target_learning import TargetTask
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
        (
            {"targets": ({"name": "buys", "event": "purchase", "population": "tenure_day > 5"},)},
            ("population_buys",),
            ["'population_buys'", "targets.buys.population: no column 'tenure_day'", "'tenure_days'"],
        ),
        (
            {"targets": ({"name": "buys", "event": "purchase", "population": "age > 5 AND r_score = 5"},)},
            (),
            ["targets.buys.population: no column 'age'", "targets.buys.population: no column 'r_score'"],
        ),
        ({"model": {"monotone": {"tenure_day": "increasing"}}}, (), ["model.monotone: no feature 'tenure_day'"]),
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


def test_the_class_of_one_target_is_not_the_probability_of_another() -> None:
    names = ("buys", "buys_class", "buys_now")
    config = config_with(targets=tuple({"name": name, "event": "purchase"} for name in names))
    with pytest.raises(ConfigError) as caught:
        check_columns(config, SPEC, {})
    assert caught.value.code == "feature-names"
    assert caught.value.message.splitlines()[1:] == [
        "  targets: two of them give the column 'propensity_buys_class'; rename one"
    ]


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
    targets = ({"name": "buys", "event": "purchase", "horizon_days": 10, "population": "city = 'Nîmes'"},)
    contacts = {"path": "c.parquet", "user_id": "u", "model_columns": ("age",)}
    config = config_with(targets=targets, model={"train_anchors": 2}, contacts=contacts)
    attributes = {**TEXT, "shoe_size": pl.Int64()}
    tasks = matrix_tasks(config, SPEC, prepared(DAY - days_of_history), AS_OF, attributes, Path("work"))
    assert [task.bucket for task in tasks] == [0, 1]
    assert [task.keys for task in tasks] == key_ranges(2)
    for task in tasks:
        assert task.anchors == tuple(DAY - days for days in expected)
        # What a model learns from and what a population names.
        assert (task.as_of_day, task.shelf, task.contact_columns) == (DAY, SHELF, ("city", "age"))


MATCHED = TargetUsers(50, 50, 60)


def record(bucket: int, anchors: tuple[int, ...], users: TargetUsers = MATCHED) -> MatrixRecord:
    rows = tuple((DAY - days, f"{days}-{bucket}", 10 * days + bucket) for days in anchors)
    return MatrixRecord(7, 0, 0, f"current-{bucket}", rows, (users, users))


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
    scales, soon, late = learn_tasks(config, SPEC, matrices, AS_OF, TEXT, 3, Path("in-use"))
    assert isinstance(scales, ScalesTask)
    assert isinstance(soon, TargetTask)
    assert isinstance(late, TargetTask)
    assert scales.files == soon.current_files == ("current-0", "current-1")
    assert soon.users == 14
    assert soon.train_files == ("30-0", "30-1", "40-0", "40-1")
    assert soon.valid_files == ("20-0", "20-1")
    assert soon.test_files == ("10-0", "10-1")
    assert late.train_files == ("60-0", "60-1")
    assert late.valid_files == ("40-0", "40-1")
    assert late.test_files == ("20-0", "20-1")
    assert (soon.apart, late.apart) == ("dates", "dates")
    assert soon.categorical == late.categorical == ("city",)
    assert soon.features[-2:] == ("city", "age")
    assert (soon.seed, soon.threads, soon.incumbent, soon.alarms) == (5, 3, "in-use", ())


def test_with_two_anchors_validation_and_training_share_one() -> None:
    config = config_with(
        targets=({"name": "soon", "event": "purchase", "horizon_days": 10},), clusters={"enabled": False}
    )
    _, task = learn_tasks(config, SPEC, [record(0, (20, 10))], AS_OF, {}, 1)
    assert isinstance(task, TargetTask)
    assert (task.apart, task.incumbent) == ("users", None)
    assert (task.train_files, task.valid_files, task.test_files) == (("20-0",), ("20-0",), ("10-0",))


def test_ids_that_do_not_match_give_an_alarm_over_all_buckets() -> None:
    targets = ({"name": "soon", "event": "purchase", "horizon_days": 10},)
    config = config_with(targets=targets, clusters={"enabled": False})
    matrices = [record(bucket, (20, 10), TargetUsers(80, 0, 90)) for bucket in (0, 1)]
    _, task = learn_tasks(config, SPEC, matrices, AS_OF, {}, 1)
    assert isinstance(task, TargetTask)
    [alarm] = task.alarms
    assert "'soon'" in alarm
    assert "160" in alarm
    assert "180" in alarm


def test_drift_is_remembered_of_what_models_learn_from() -> None:
    config = config_with(
        contacts={"path": "c.parquet", "user_id": "u", "model_columns": ("city", "age")},
        model={"max_rows": 123},
        drift={"bins": 7},
        targets=({"name": "soon", "event": "purchase", "horizon_days": 10},),
    )
    task = drift_task(config, SPEC, [record(0, ()), record(1, ())], TEXT, (), 2)
    assert (task.files, task.users, task.max_rows, task.bins) == (("current-0", "current-1"), 14, 123, 7)
    assert task.categorical == ("city",)
    assert task.numeric == (*(feature.name for feature in catalogue(SPEC)), "age")
    without = drift_task(config.model_copy(update={"targets": ()}), SPEC, [record(0, ())], TEXT, (), 2)
    assert (without.categorical, without.numeric) == ((), cluster_features(config, SPEC))


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({}, []),
        ({"targets": ({"name": "t", "event": "purchase"},)}, []),
        ({"contacts": ("age", "city")}, []),
        (
            {"contacts": ("age", "city"), "targets": ({"name": "t", "event": "purchase"},)},
            ["age, city (contacts.model_columns)"],
        ),
        (
            {
                "contacts": (),
                "accounts": {"column": "company"},
                "targets": ({"name": "t", "event": "purchase", "population": "city = 'Évry' AND tenure_days > 3"},),
            },
            ["city (populations)", "company (accounts.column)"],
        ),
    ],
)
def test_attributes_of_today_are_warned_of(sections: dict[str, Any], named: list[str]) -> None:
    columns = sections.pop("contacts", None)
    if columns is not None:
        sections["contacts"] = {"path": "c.parquet", "user_id": "u", "model_columns": columns}
    found = attribute_warnings(config_with(**sections), ("city", "age", "company"))
    assert len(found) == bool(named)
    assert all(name in found[0] for name in named)
    assert not found or "tenure_days" not in found[0]


def test_customer_value_is_fitted_where_it_is_wanted() -> None:
    config = config_with(clusters={"enabled": False}, value={"horizon_days": 90}, currency_digits=0)
    spec = spec_of(currency_digits=0)
    _, task = learn_tasks(config, spec, [record(0, ()), record(1, ())], AS_OF, {}, 1)
    assert task == ValueTask(("current-0", "current-1"), CustomerValue(horizon_days=90), 0)
    with pytest.raises(ConfigError) as caught:
        check_columns(config, spec_of(("visit",)), {})
    assert caught.value.code == "value-purchase"


def test_clusters_can_be_off() -> None:
    config = config_with(clusters={"enabled": False})
    [only] = learn_tasks(config, SPEC, [record(0, ())], AS_OF, {}, threads=1)
    assert isinstance(only, ScalesTask)


def test_the_day_before_as_of_is_the_last_of_the_test_labels() -> None:
    targets = ({"name": "buys", "event": "purchase", "horizon_days": 7},)
    [task, _] = matrix_tasks(config_with(targets=targets), SPEC, prepared(0), AS_OF, {}, Path("work"))
    assert date(1970, 1, 1) + timedelta(days=task.anchors[-1] + 7) == AS_OF
