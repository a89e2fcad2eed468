from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.config import Config
from engine.errors import DataError
from engine.execution.local import LocalExecutor
from engine.execution.records import UnknownValueError, decode, digest, encode, name_of, named
from engine.pipeline import features_run, fit_run, score_run
from engine.rollups.roll import RowsRecord, roll
from engine.rollups.units import Unit
from engine.stages.scoring import ScoreTask
from tests.samples import AS_OF, TOML, configuration, write_sample

# Few rows a task: the units are cut up.
SETTINGS: dict[str, Any] = {"value__min_customers": 20, "model__tune": 1, "execution__rows_per_task": 460}
VALUE = TOML + "\n[value]\nhorizon_days = 30\n"


def through_text(value: object) -> Any:
    return decode(json.loads(json.dumps(encode(value))))


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal in every part, arrays and frames too."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return (
            one.dtype == other.dtype
            and one.flags.c_contiguous == other.flags.c_contiguous
            and bool((one == other).all())
        )
    if isinstance(one, pl.DataFrame | pl.Series):
        return bool(one.equals(other)) and getattr(one, "schema", None) == getattr(other, "schema", None)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        # By position: a key that is NaN is equal to no other one.
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)
    if isinstance(one, DataError):
        return (one.message, one.code, one.hint) == (other.message, other.code, other.hint)
    return bool(one == other) or repr(one) == repr(other) == "nan"


class Collecting(LocalExecutor):
    """Keeps the tasks and records of a run, a few per function."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        object.__setattr__(self, "seen", {})

    def map(self, function: Any, tasks: Sequence[Any], **more: Any) -> Any:
        results = super().map(function, tasks, **more)
        pairs = [(task, getattr(done, "result", done)) for task, done in zip(tasks, results, strict=True)]
        self.seen.setdefault(function.__name__, []).extend(pairs[:3])  # type: ignore[attr-defined]
        return results


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, Any]]]:
    folder, executor = tmp_path_factory.mktemp("records"), Collecting()
    file = write_sample(folder / "log", users=50, toml=VALUE)
    config = configuration(file, **SETTINGS)
    fit_run(config, AS_OF, executor=executor)
    score_run(config, AS_OF, executor=executor)
    features_run(configuration(file), AS_OF, folder / "to", executor=executor)
    return executor.seen  # type: ignore[attr-defined, no-any-return]


def odd(collected: dict[str, list[tuple[Any, Any]]]) -> list[str]:
    """Functions with a task or record that is another one when it comes back."""
    return [
        name
        for name, pairs in collected.items()
        for task, record in pairs
        if not (same(through_text(record), record) and same(through_text(task), task))
    ]


def test_every_task_and_record_of_a_run_has_a_form(collected: dict[str, list[tuple[Any, Any]]]) -> None:
    assert len(collected) >= 20
    expected = {"roll", "encode_part", "score_bucket", "learn", "visit", "try_settings", "write_features"}
    assert expected <= collected.keys()
    assert odd(collected) == []


ACCOUNTS = TOML.replace("\n[execution]\n", '\n[accounts]\ncolumn = "region"\n\n[execution]\n')


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["kmeans", "mixture", "ward", "hdbscan"])
def test_tasks_of_other_settings(tmp_path: Path, algorithm: str) -> None:
    executor = Collecting()
    file = write_sample(tmp_path / "log", toml=ACCOUNTS)
    config = configuration(file, clusters__algorithm=algorithm)
    fit_run(config, AS_OF, executor=executor)
    fit_run(config, AS_OF + timedelta(days=1), executor=executor, if_drifted=True)
    score_run(config, AS_OF, executor=executor)
    assert odd(executor.seen) == []  # type: ignore[attr-defined]
    assert {"sum_accounts", "watch_bucket"} <= executor.seen.keys()  # type: ignore[attr-defined]


def test_a_task_that_went_to_another_process_has_the_same_digest(
    collected: dict[str, list[tuple[Any, Any]]],
) -> None:
    shared: dict[int, tuple[object, Any]] = {}
    tasks = [task for pairs in collected.values() for task, _ in pairs]
    told = [digest(task, shared) for task in tasks]
    assert told == [digest(through_text(task), {}) for task in tasks]
    assert len(set(told)) > len(tasks) / 2


simple = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates()
hashable = simple | st.tuples(simple, simple) | st.timedeltas() | st.datetimes()
values = st.recursive(
    hashable | st.sets(hashable.filter(lambda value: "nan" not in repr(value))) | st.frozensets(st.integers()),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(hashable, inner) | inner.map(lambda value: (value,))
    ),
)


@given(values)
@example({float("nan"): None})
def test_plain_values(value: object) -> None:
    assert same(through_text(value), value)
    assert digest(value, {}) == digest(through_text(value), {})


@pytest.mark.parametrize(
    "value",
    [
        Path("/a/é"),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([[1 << 90, -1], [0, 3]], dtype=object),
        np.float64(0.1),
        np.int64(-3),
        pl.DataFrame({"a": [1, None], "b": ["x", "é"]}, schema_overrides={"b": pl.Enum(["x", "é"])}),
        pl.Series("s", [date(2026, 1, 1)]),
        pl.Schema({"a": pl.List(pl.Int8), "b": pl.Datetime("us", "UTC")}),
        pl.Decimal(38, 0),
        datetime(2026, 1, 1, 12),
        timedelta(microseconds=-1),
        "\ud800",
        -0.0,
        {1: "one", (2, "b"): {"data": "engine.errors:DataError"}},
        DataError("m", code="c", hint="h"),
        roll,
    ],
)
def test_values_that_are_not_plain(value: object) -> None:
    assert same(through_text(value), value)


def test_what_differs_has_another_digest() -> None:
    given_ = [
        1, 1.0, True, "1", None, "null", (), [], {}, (1,), [1], ((1,),), (1, 2), (2, 1), {"a": 1}, {"a": 1.0}, b"1",
        ("x" * 200,), ("x" * 201,), [("x" * 200,)], Path("1"), date(1, 1, 1), frozenset({1}), {1},
    ]  # fmt: skip
    assert len({digest(value, {}) for value in given_}) == len(given_)


def test_settings_keep_what_was_given(tmp_path: Path) -> None:
    config = configuration(write_sample(tmp_path, users=3))
    back = through_text(config)
    assert isinstance(back, Config)
    assert back == config
    assert back.model_dump() == config.model_dump()
    assert back.features.model_fields_set == config.features.model_fields_set


@dataclass(frozen=True)
class Elsewhere:
    """Of a package that no record may name."""

    value: int


OBJECTS = [
    pl.DataFrame({"a": [object()]}),
    pl.Series([object()]),
    np.zeros(1, dtype=[("a", "i4"), ("b", "O")]),
    np.array([object()]),
]


@pytest.mark.parametrize("value", [Elsewhere(1), Elsewhere, lambda: 1, object(), pl.col("a"), Path.cwd, *OBJECTS])
def test_what_has_no_form(value: object) -> None:
    for attempt in (encode, lambda one: digest(one, {})):
        with pytest.raises(UnknownValueError):
            attempt((value,))


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"unknown": 1},
        {"data": "os:system", "fields": {}},
        {"data": "engine.errors:DataError", "fields": {}},
        {"data": "engine.rollups.units:Unit", "fields": {"source": 1}},
        {"data": "engine.rollups.units:nothing", "fields": {}},
        {"data": "engine.nothing:Unit", "fields": {}},
        {"data": "engine.rollups.roll:FileRecord", "fields": {}},
        {"model": "engine.rollups.units:Unit", "fields": {}, "given": []},
        {"model": "engine.config:Config", "fields": {}, "given": []},
        {"function": "subprocess:run"},
        {"function": "engine.rollups.units:Unit"},
        {"error": "engine.errors:ExitCode", "of": ["", "", ""]},
        {"error": "engine.errors:DataError", "of": []},
        {"enum": "engine.errors:ExitCode", "name": "NOTHING"},
        {"frame": "AAAA"},
        {"array": "AAAA"},
        {"array": "not base64"},
        {"date": "yesterday"},
    ],
)
def test_what_is_no_form(plain: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(plain)


def test_names() -> None:
    assert name_of(roll) == "engine.rollups.roll:roll"
    assert named("engine.rollups.roll:roll") is roll
    assert named(name_of(RowsRecord)) is RowsRecord
    assert {name_of(kind) for kind in (Unit, ScoreTask)} == {
        "engine.rollups.units:Unit",
        "engine.stages.scoring:ScoreTask",
    }
