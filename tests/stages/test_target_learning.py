from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest

from engine.config import Model, Target
from engine.errors import DataError
from engine.events.mapping import stable_hash
from engine.execution.local import LocalExecutor
from engine.propensity.classes import score_cuts
from engine.propensity.folds import in_test, in_valid
from engine.propensity.labels import Apart
from engine.propensity.predict import load_scorer, predict
from engine.propensity.train import Frames, TrainedModel
from engine.stages import target_learning
from engine.stages.learning import learn
from engine.stages.target_learning import DriftTask, TargetTask, TrialTask, learn_target, try_settings
from engine.stages.tuning import tuned_tasks
from tests.features.specs import spec_of

FEATURES = ("orders", "days", "city")
BUYS = Target(name="buys", event="purchase", horizon_days=10)
LAPSED = Target(name="lapsed", event="purchase", horizon_days=10, population="days > 20")
SETTINGS = Model(trees=20, leaves=4, min_rows_per_leaf=5, min_rows=50, min_positives=2, gate="warn")
TEST, VALID, TRAIN = date(2024, 3, 20), date(2024, 3, 10), date(2024, 2, 29)
USERS = 600
KEY = pl.col("user_key")


def rows_at(anchor: date | None, users: Sequence[int], seed: int) -> pl.DataFrame:
    random = Random(f"{anchor} {seed}")
    rows = []
    for user in users:
        orders, days = random.randrange(10), random.randrange(60)
        came = random.random() < 0.05 + 0.08 * orders
        rows.append((user, orders, days, random.choice(["sud", "nord-été", None]), came))
    frame = pl.DataFrame(rows, ["user_id", "orders", "days", "city", "came"], orient="row")
    inside = pl.col("days") > 20
    keyed = frame.with_columns(user_key=stable_hash(pl.col("user_id")))
    if anchor is None:
        return keyed.with_columns(population_lapsed=inside).drop("came")
    return keyed.with_columns(anchor=pl.lit(anchor), label_buys="came", label_lapsed=pl.when(inside).then("came")).drop(
        "came"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of two buckets per anchor and of the users at the date of the fit."""
    folder = tmp_path_factory.mktemp("rows")
    for part in range(2):
        users = range(part, USERS, 2)
        for anchor in (TEST, VALID, TRAIN):
            rows_at(anchor, users, part).write_parquet(folder / f"{anchor}-{part}.parquet")
        rows_at(None, users, part).write_parquet(folder / f"current-{part}.parquet")
    return folder


def task_of(
    folder: Path, target: Target = BUYS, *, apart: Apart = "dates", reverse: bool = False, **settings: object
) -> TargetTask:
    def files(name: object) -> tuple[str, ...]:
        return tuple(str(folder / f"{name}-{part}.parquet") for part in (0, 1))[:: -1 if reverse else 1]

    return TargetTask(
        target=target,
        train_files=files(VALID if apart == "users" else TRAIN),
        valid_files=files(VALID),
        test_files=files(TEST),
        current_files=files("current"),
        users=USERS,
        apart=apart,
        alarms=("an alarm",),
        incumbent=None,
        spec=spec_of(),
        features=FEATURES,
        categorical=("city",),
        model=SETTINGS.model_copy(update=settings),
        seed=3,
        threads=1,
    )


def frames_of(task: TargetTask, monkeypatch: pytest.MonkeyPatch) -> Frames:
    """The rows that the training of a task gets."""
    seen: list[Frames] = []

    def stand_in(frames: Frames, *_: object, **__: object) -> None:
        seen.append(frames)
        raise DataError("seen", code="seen")

    monkeypatch.setattr(target_learning, "train", stand_in)
    with pytest.raises(DataError, match="seen"):
        learn_target(task)
    return seen[0]


def users_of(frame: pl.DataFrame) -> set[int]:
    return set(frame["user_id"])


def fold(rule: pl.Expr) -> set[int]:
    users = pl.DataFrame({"user_id": range(USERS)}).with_columns(user_key=stable_hash(pl.col("user_id")))
    return users_of(users.filter(rule))


@pytest.mark.parametrize("apart", ["dates", "users"])
def test_no_test_user_is_learned_from(folder: Path, apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = frames_of(task_of(folder, apart=apart), monkeypatch)
    assert users_of(frames.test) == fold(in_test(KEY, 0.25))
    assert users_of(frames.test).isdisjoint(users_of(frames.train) | users_of(frames.valid))
    assert users_of(frames.train) | users_of(frames.valid) | users_of(frames.test) == set(range(USERS))
    if apart == "users":
        assert users_of(frames.train).isdisjoint(users_of(frames.valid))
        assert users_of(frames.valid) == fold(in_valid(KEY, 0.25))
        anchors = (VALID, VALID, TEST)
    else:
        assert users_of(frames.train) == users_of(frames.valid)
        anchors = (TRAIN, VALID, TEST)
    found = tuple(frame["anchor"].unique().to_list() for frame in (frames.train, frames.valid, frames.test))
    assert found == tuple([anchor] for anchor in anchors)


def test_without_a_test_fold_every_user_is_in_all_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = frames_of(task_of(folder, test_users=0.0), monkeypatch)
    assert users_of(frames.train) == users_of(frames.valid) == users_of(frames.test) == set(range(USERS))
    frames = frames_of(task_of(folder, apart="users", test_users=0.0), monkeypatch)
    assert users_of(frames.train) | users_of(frames.valid) == users_of(frames.test) == set(range(USERS))
    assert users_of(frames.train).isdisjoint(users_of(frames.valid))


def test_rows_outside_the_population_are_in_no_frame(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = frames_of(task_of(folder, LAPSED), monkeypatch)
    for frame in (frames.train, frames.valid, frames.test):
        assert frame.columns == ["user_id", "anchor", *FEATURES, "label"]
        assert frame["label"].null_count() == 0
        assert frame["days"].min() == 21
    everyone = frames_of(task_of(folder), monkeypatch)
    assert everyone.train.filter(pl.col("days") > 20).height == frames.train.height < everyone.train.height


def test_each_kind_of_rows_is_sampled_by_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frames_of(task_of(folder), monkeypatch)
    some = frames_of(task_of(folder, max_rows=200), monkeypatch)
    assert users_of(some.train) == users_of(some.valid) < users_of(whole.train)
    assert 150 < some.train.height < 250
    # There are fewer test rows than that.
    assert some.test.height == whole.test.height


@pytest.fixture(scope="module")
def lapsed(folder: Path) -> TrainedModel:
    return learn_target(task_of(folder, LAPSED))


def test_cuts_are_of_the_calibrated_scores_of_the_population_now(folder: Path, lapsed: TrainedModel) -> None:
    now = pl.concat(rows_at(None, range(part, USERS, 2), part) for part in (0, 1))
    scores = predict(now.filter("population_lapsed"), load_scorer(lapsed.text, lapsed.spec), 1)
    assert lapsed.spec.cuts == score_cuts(scores)
    assert len(set(lapsed.spec.cuts)) > 3
    assert lapsed.spec.alarms[0] == "an alarm"
    assert lapsed.spec.sampled == ()
    sampled = learn_target(task_of(folder, LAPSED, max_rows=100))
    assert [part for part, _, _ in sampled.spec.sampled] == ["training", "validation"]
    assert len(sampled.spec.cuts) == 99


def test_the_order_of_the_files_changes_nothing(folder: Path, lapsed: TrainedModel) -> None:
    assert learn_target(task_of(folder, LAPSED, reverse=True)) == lapsed


def test_a_short_log_trains_on_users_apart(folder: Path) -> None:
    spec = learn(task_of(folder, apart="users")).spec  # type: ignore[union-attr]
    assert (spec.apart, spec.train_anchors, spec.valid_anchors, spec.test_anchors) == (
        "users",
        (VALID,),
        (VALID,),
        (TEST,),
    )


def test_a_planted_leak_raises_an_alarm(folder: Path, tmp_path: Path) -> None:
    honest = task_of(folder)
    assert [alarm for alarm in learn_target(honest).spec.alarms if "feature" in alarm] == []
    for file in folder.glob("*.parquet"):
        frame = pl.read_parquet(file)
        # Counted over the label window instead of the days before it.
        count = pl.col("label_buys").cast(pl.Int64) * 3 if "label_buys" in frame.columns else pl.lit(0, pl.Int64)
        frame.with_columns(purchase_count_10d=count).write_parquet(tmp_path / file.name)
    leaking = replace(task_of(tmp_path), features=(*FEATURES, "purchase_count_10d"))
    [alarm] = [alarm for alarm in learn_target(leaking).spec.alarms if "feature" in alarm]
    assert "'purchase_count_10d'" in alarm


def test_a_bundle_that_is_not_there_is_compared_with_nothing(folder: Path) -> None:
    spec = learn_target(replace(task_of(folder), incumbent=str(folder / "gone"))).spec
    assert spec.verdict.incumbent is None


def test_drift_is_remembered_of_features_and_of_scores_in_the_population(folder: Path, lapsed: TrainedModel) -> None:
    files = tuple(str(folder / f"current-{part}.parquet") for part in (0, 1))
    task = DriftTask(files, USERS, 10_000, ("orders", "days"), ("city",), 5, (lapsed,), 1)
    reference = learn(task)
    assert learn(replace(task, files=files[::-1])) == reference
    assert reference.rows == USERS  # type: ignore[union-attr]
    columns = {column.column: column for column in reference.columns}  # type: ignore[union-attr]
    assert list(columns) == ["orders", "days", "city", "propensity_lapsed"]
    outside = pl.read_parquet(list(files)).filter(~pl.col("population_lapsed")).height
    assert columns["propensity_lapsed"].nulls == outside > 0
    assert columns["city"].kind == "categorical"
    assert learn(replace(task, max_rows=200)).rows in range(140, 260)  # type: ignore[union-attr]


def test_trials_of_several_targets_run_in_rounds_and_the_best_settings_win(folder: Path) -> None:
    pytest.importorskip("optuna")
    tasks = [task_of(folder), task_of(folder, LAPSED)]
    tuned = tuned_tasks(tasks, 5, executor=LocalExecutor(threads=1))
    assert tuned_tasks(tasks, 5, executor=LocalExecutor(threads=2)) == tuned
    for before, after in zip(tasks, tuned, strict=True):
        assert len(after.tuned) == 5
        assert after.tuned[0].settings == before.model
        assert after.tuned[0].loss == try_settings(TrialTask(before, before.model))
        best = min(after.tuned, key=lambda trial: trial.loss)
        assert after.model == best.settings
        assert replace(after, model=before.model, tuned=()) == before
    assert tuned_tasks(tasks, 0, executor=LocalExecutor(threads=1)) == tasks


def test_a_trial_on_too_few_rows_has_the_numbers(folder: Path) -> None:
    task = task_of(folder, min_rows=100_000)
    with pytest.raises(DataError) as caught:
        try_settings(TrialTask(task, task.model))
    assert caught.value.code == "model-too-few-rows"


def test_the_horizon_apart_of_anchors_is_checked_by_the_training(folder: Path) -> None:
    near = BUYS.model_copy(update={"horizon_days": (TEST - VALID).days + 1})
    with pytest.raises(Exception, match=str(VALID + timedelta(days=near.horizon_days))):
        learn_target(task_of(folder, near))
    assert np.isfinite(learn_target(task_of(folder)).spec.metrics.log_loss)
