from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.bundle import load_bundle
from engine.config import Config, CustomerValue, Model, Rfm, Target
from engine.errors import DataError
from engine.execution.local import LocalExecutor
from engine.features.registry import FAMILIES
from engine.features.spec import FeatureSpec
from engine.features.windows import day_number
from engine.pipeline import fit_run
from engine.rollups.bucket import Bucket
from engine.rollups.ranges import key_ranges
from engine.stages.features import bucket_rows
from engine.stages.features import features_at as features_on
from engine.stages.learning import (
    MatrixRecord,
    MatrixTask,
    Scales,
    ScalesTask,
    TargetUsers,
    ValueTask,
    build_matrices,
    check_history,
    learn,
)
from engine.stages.target_learning import label_column
from engine.value.model import ValueModel
from tests.features.logs import Event, at, bucket_of, features_at, ingested, spec_of
from tests.samples import AS_OF, TOML, configuration, files, write_sample

DAY = date(2024, 3, 20)
SPEC = spec_of(("purchase", "visit"), windows=(7, 30))
BUYS = Target(name="buys", event="purchase", horizon_days=10)
BIG = Target(name="big", event="purchase", where="amount >= 50", horizon_days=20)
GONE = Target(name="gone", event="purchase", absent=True, population="purchase_count_total > 2", horizon_days=20)
TARGETS = (BUYS, BIG, GONE)
FULL = spec_of(
    ("purchase", "visit", "refund"),
    refund="refund",
    families=tuple(family.name for family in FAMILIES if family.grain == "daily"),
)
ANCHORS = (60, 40, 30, 20, 10)


@pytest.fixture(scope="module")
def log() -> list[Event]:
    random = Random(11)
    return [
        at(
            f"2024-{random.randint(1, 3):02}-{random.randint(1, 28):02} {random.randint(0, 23):02}:00:00",
            random.randrange(25),
            random.choice(["purchase", "visit"]),
            random.choice([None, 100, 4_999, 5_000, 90_000]),
        )
        for _ in range(300)
    ]


def matrices(events: list[Event], folder: Path, *, buckets: int = 1, spec: FeatureSpec = SPEC) -> list[MatrixRecord]:
    folder.mkdir(exist_ok=True)
    shelf = replace(ingested(events, spec, folder, TARGETS), end_day=day_number(DAY))
    day = day_number(DAY)
    return [
        build_matrices(
            MatrixTask(
                bucket=index,
                keys=keys,
                shelf=shelf,
                contacts=None,
                contact_columns=(),
                as_of_day=day,
                anchors=tuple(day - before for before in ANCHORS),
                spec=spec,
                targets=TARGETS,
                model=Model(train_anchors=1),
                folder=str(folder),
            )
        )
        for index, keys in enumerate(key_ranges(buckets))
    ]


def at_anchor(records: list[MatrixRecord], days_before: int) -> pl.DataFrame:
    anchor = day_number(DAY) - days_before
    frames = [pl.read_parquet(file) for record in records for day, file, _ in record.rows if day == anchor]
    return pl.concat(frames).sort("user_id")


def users_with(events: list[Event], anchor: date, horizon: int, least: int | None) -> set[int | str]:
    return {
        event.user
        for event in events
        if event.type == "purchase"
        and anchor <= event.time.date() < anchor + timedelta(days=horizon)
        and (least is None or (event.amount is not None and event.amount >= least))
    }


@pytest.mark.parametrize("days_before", [10, 20, 30, 40, 60])
def test_rows_at_an_anchor_are_its_features_and_the_labels_after_it(
    days_before: int, log: list[Event], tmp_path: Path
) -> None:
    records = matrices(log, tmp_path)
    frame = at_anchor(records, days_before)
    anchor = DAY - timedelta(days=days_before)
    features = features_at(bucket_of(ingested(log, SPEC, tmp_path), anchor), anchor, SPEC)
    assert_frame_equal(frame.select(features.columns), features, check_exact=True)
    assert frame["anchor"].unique().to_list() == [anchor]
    # A training, a validation and a test anchor of each target.
    labels = {name for name in frame.columns if name.startswith("label_")}
    assert labels == {
        *(["label_buys"] if days_before in {10, 20, 30} else []),
        *(["label_big", "label_gone"] if days_before in {20, 40, 60} else []),
    }
    for target, least in ((BUYS, None), (BIG, 5_000)):
        if label_column(target) in labels:
            positive = frame.filter(label_column(target))["user_id"].to_list()
            expected = users_with(log, anchor, target.horizon_days, least) & set(frame["user_id"])
            assert positive == sorted(expected)
            assert 0 < len(positive) < frame.height


@pytest.mark.parametrize("days_before", [20, 40, 60])
def test_labels_of_an_absence_are_null_outside_the_population(
    days_before: int, log: list[Event], tmp_path: Path
) -> None:
    [record] = matrices(log, tmp_path)
    frame = at_anchor([record], days_before)
    anchor = DAY - timedelta(days=days_before)

    def orders(user: object, before: date) -> int:
        return sum(event.user == user and event.type == "purchase" and event.time.date() < before for event in log)

    buyers = users_with(log, anchor, 20, None)
    expected = [user not in buyers if orders(user, anchor) > 2 else None for user in frame["user_id"]]
    assert frame["label_gone"].to_list() == expected
    assert None in expected
    assert days_before > 20 or {True, False} <= set(expected)
    now = pl.read_parquet(record.current)
    assert now["population_gone"].to_list() == [orders(user, DAY) > 2 for user in now["user_id"]]
    assert "population_buys" not in now.columns


def test_whose_events_the_labels_are_made_of_is_counted(log: list[Event], tmp_path: Path) -> None:
    def counted(target: Target, kinds: int, least: int | None) -> TargetUsers:
        days = [DAY - timedelta(days=target.horizon_days * step) for step in range(1, kinds + 1)]
        came = [(user, day) for day in days for user in users_with(log, day, target.horizon_days, least)]
        visited = {
            (event.user, day) for event in log for day in days if event.type == "visit" and event.time.date() < day
        }
        return TargetUsers(
            len({user for user, _ in came}),
            len({user for user, day in came if (user, day) in visited}),
            len({user for user, day in visited if day == days[0]}),
        )

    records = matrices(log, tmp_path, buckets=4)
    found = [
        TargetUsers(*(sum(getattr(users, name) for users in parts) for name in TargetUsers.__dataclass_fields__))
        for parts in zip(*(record.targets for record in records), strict=True)
    ]
    assert found == [counted(BUYS, 3, None), counted(BIG, 3, 5_000), counted(GONE, 3, None)]
    assert all(0 < users.with_both < users.with_event for users in found[1:2])


def test_ids_that_do_not_match_are_counted_apart(tmp_path: Path) -> None:
    events = [
        at(f"2024-03-{day:02}", user + (1_000 if kind == "purchase" else 0), kind, 6_000)
        for user in range(10)
        for day in range(1, 20)
        for kind in ("purchase", "visit")
    ]
    [record] = matrices(events, tmp_path)
    assert record.targets[0] == TargetUsers(with_event=10, with_both=0, with_others=10)


def test_what_happens_at_or_after_an_anchor_changes_its_labels_and_none_of_its_features(
    log: list[Event], tmp_path: Path
) -> None:
    anchor = DAY - timedelta(days=20)

    def altered() -> Iterator[Event]:
        for event in log:
            if event.time.date() < anchor:
                yield event
            elif event.user != 3:
                yield event._replace(type="purchase" if event.type == "visit" else "visit", amount=70_000)
                yield event._replace(type="visit")

    honest = at_anchor(matrices(log, tmp_path / "honest"), 20)
    leaking = at_anchor(matrices(list(altered()), tmp_path / "altered"), 20)
    labels = ["label_buys", "label_big", "label_gone"]
    assert_frame_equal(
        leaking.drop(labels, "user", "user_key"), honest.drop(labels, "user", "user_key"), check_exact=True
    )
    assert not leaking.select(labels).equals(honest.select(labels))


ROW = st.tuples(
    st.integers(0, 4),
    st.integers(0, len(FULL.types) - 1),
    st.integers(-12, 11),
    st.integers(1, 3),
    st.integers(0, 90_000),
)


def daily_of(rows: list[tuple[int, int, int, int, int]], anchor: int) -> pl.DataFrame:
    """Partials from rows of user, type, days after the anchor, events and amount."""
    columns = {"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32, "events": pl.Int64, "amount_minor": pl.Int64}
    return pl.DataFrame([(user, kind, anchor + day, *rest) for user, kind, day, *rest in rows], columns, orient="row")


@given(past=st.lists(ROW, min_size=1, max_size=25), after=st.lists(ROW, max_size=10), other=st.lists(ROW, max_size=10))
@settings(max_examples=10)
def test_features_and_populations_know_nothing_of_the_label_window(
    past: list[tuple[int, int, int, int, int]],
    after: list[tuple[int, int, int, int, int]],
    other: list[tuple[int, int, int, int, int]],
) -> None:
    anchor = day_number(DAY)
    past = [(user, kind, -abs(day) - 1, *rest) for user, kind, day, *rest in past]
    users = pl.DataFrame({"user_key": pl.Series(range(5), dtype=pl.UInt64), "user_id": range(5)})

    def at_day(later: list[tuple[int, int, int, int, int]], day: int) -> pl.DataFrame:
        rows = [*past, *((user, kind, abs(day), *rest) for user, kind, day, *rest in later)]
        return features_on(bucket_rows(Bucket(users, daily_of(rows, anchor), None), FULL), day, FULL)

    assert_frame_equal(at_day(after, anchor), at_day(other, anchor), check_exact=True)
    # The same comparison finds a feature that is computed over the label window.
    if after and not other:
        assert not at_day(after, anchor + 12).equals(at_day(other, anchor + 12))


def test_the_number_of_buckets_changes_no_row(log: list[Event], tmp_path: Path) -> None:
    whole, cut = matrices(log, tmp_path / "1"), matrices(log, tmp_path / "8", buckets=8)
    for days_before in (10, 20, 60):
        assert_frame_equal(
            at_anchor(cut, days_before).drop("user"), at_anchor(whole, days_before).drop("user"), check_exact=True
        )
    assert sum(record.users for record in cut) == whole[0].users == 25
    assert sum(record.kept for record in cut) == whole[0].kept
    assert [sum(rows[index][2] for rows in (record.rows for record in cut)) for index in range(5)] == [
        rows for _, _, rows in whole[0].rows
    ]


def test_a_second_attempt_puts_whole_files_in_place_of_the_first_ones(log: list[Event], tmp_path: Path) -> None:
    folder = tmp_path / "work"
    matrices(log, folder)
    before = {path: path.read_bytes() for path in folder.glob("*-*.parquet")}
    opened = [(path, path.open("rb")) for path in sorted(folder.glob("*-*.parquet"))]
    assert len(opened) == 6
    matrices(log, folder)
    assert {path: path.read_bytes() for path in folder.glob("*-*.parquet")} == before
    for path, handle in opened:
        # Whoever reads the first file keeps it.
        assert os.fstat(handle.fileno()).st_ino != path.stat().st_ino
        assert handle.read() == path.read_bytes()
        handle.close()


@pytest.mark.parametrize(
    ("horizon", "days", "enough"), [(10, 20, False), (10, 21, True), (1, 2, False), (1, 3, True), (30, 365, True)]
)
def test_history_must_be_longer_than_two_horizons(horizon: int, days: int, enough: bool) -> None:
    target = Target(name="t", event="e", horizon_days=horizon)
    if enough:
        check_history((target,), 1000 - days, 999, 1000)
        return
    with pytest.raises(DataError) as caught:
        check_history((target, BUYS, Target(name="fine", event="e", horizon_days=1)), 1000 - days, 999, 1000)
    assert caught.value.code == "history-too-short"
    assert f"{days} days long" in caught.value.message
    assert f"'t': horizon {horizon} days needs more than {2 * horizon} days" in caught.value.message
    assert ("'fine'" in caught.value.message) == (days == 2)


def test_without_targets_any_history_is_long_enough() -> None:
    check_history((), 1000, 1000, 1000)


@pytest.mark.parametrize(("last", "ended"), [(999, False), (990, False), (989, True)])
def test_a_log_that_ends_before_the_labels_begin(last: int, ended: bool) -> None:
    if not ended:
        check_history((BUYS,), 0, last, 1000)
        return
    with pytest.raises(DataError, match="the log ends on 1972-09-16; as of 1972-09-27 no event is left") as caught:
        check_history((BUYS, BIG), 0, last, 1000)
    assert caught.value.code == "history-ended"
    assert "'buys'" in caught.value.message
    assert "'big'" not in caught.value.message
    assert "1972-09-17" in caught.value.hint


def current_file(folder: Path, points: list[int], name: str = "current") -> str:
    file = folder / f"{name}.parquet"
    pl.DataFrame({"user_id": range(len(points)), "engagement_points": points}).write_parquet(file)
    return str(file)


@pytest.mark.parametrize(
    ("points", "full_at", "expected"),
    [
        (list(range(1, 101)), None, 99),
        ([0] * 1000 + list(range(1, 101)), None, 99),
        ([0, 0], None, 1),
        ([5], None, 5),
        (list(range(1, 101)), 7, 7),
    ],
)
def test_the_engagement_scale_is_the_99th_percentile_of_active_users_unless_given(
    points: list[int], full_at: int | None, expected: int, tmp_path: Path
) -> None:
    task = ScalesTask((current_file(tmp_path, points),), spec_of(("visit",)), Rfm(), full_at)
    assert learn(task) == Scales(None, expected)


def test_files_in_any_order_give_the_same_scales(log: list[Event], tmp_path: Path) -> None:
    found = []
    for buckets, reverse in ((1, False), (8, False), (8, True)):
        records = matrices(log, tmp_path / f"{buckets}{reverse}", buckets=buckets)
        current = tuple(record.current for record in records)[:: -1 if reverse else 1]
        found.append(learn(ScalesTask(current, SPEC, Rfm(recency="rank"), None)))
    assert found[0] == found[1] == found[2]


def test_customer_value_is_that_of_the_customers_in_any_order_of_the_files(tmp_path: Path) -> None:
    random = Random(5)
    files = []
    for part in range(2):
        rows: list[tuple[int | float | None, ...]] = [(None, None, None, None)]
        for _ in range(300):
            # Customers as BG/NBD takes them to be: each with a pace, and a chance of leaving after each purchase.
            age, now, repeats, recency = random.randrange(150, 300), 0.0, 0, 0
            pace, leaves = random.gammavariate(0.6, 1 / 30), random.betavariate(0.8, 2.4)
            while (now := now + random.expovariate(pace)) < age:
                repeats, recency = repeats + 1, max(1, int(now))
                if random.random() < leaves:
                    break
            mean = round(random.gammavariate(6, 1 / random.gammavariate(4, 1 / 15)) + 0.01, 2)
            rows.append((repeats, recency, age, mean if repeats else 0.0))
        columns = ["btyd_frequency", "btyd_recency_days", "btyd_t_days", "btyd_mean_repeat_spend"]
        files.append(str(tmp_path / f"current-{part}.parquet"))
        pl.DataFrame(rows, columns, orient="row", infer_schema_length=None).write_parquet(files[-1])
    found = learn(ValueTask(tuple(files), CustomerValue(), 2))
    assert isinstance(found, ValueModel)
    assert found.fit.customers == 600
    assert learn(ValueTask(tuple(files[::-1]), CustomerValue(), 2)) == found


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    # Its anchors are also anchors of the other target, at other positions.
    second = '\n[[targets]]\nname = "opens"\nevent = "email_open"\nhorizon_days = 7\n\n[model]'
    write_sample(folder, toml=TOML.replace("\n[model]", second))
    return folder / "tamis.toml"


def fitted(sample: Path, out: Path, threads: int = 1, **overrides: object) -> dict[str, bytes]:
    config: Config = configuration(sample, out=str(out), **overrides)
    record = fit_run(config, AS_OF, executor=LocalExecutor(threads=threads))
    return {f"{Path(str(record.bundle)).name}/{name}": data for name, data in files(Path(str(record.bundle))).items()}


@pytest.mark.slow
def test_the_bundle_depends_on_neither_portions_nor_threads(sample: Path, tmp_path: Path) -> None:
    one = fitted(sample, tmp_path / "one", execution__rows_per_task=100_000)
    assert fitted(sample, tmp_path / "eight", threads=2, execution__rows_per_task=200) == one
    models = load_bundle(next((tmp_path / "one" / "_bundles").glob("*/"))).models
    assert [model.spec.target.name for model in models] == ["buys", "opens"]
    assert models[0].spec.test_anchors == (AS_OF - timedelta(days=14),)
    assert models[0].spec.valid_anchors == (AS_OF - timedelta(days=28),)
    assert models[1].spec.test_anchors == (AS_OF - timedelta(days=7),)
    assert models[1].spec.valid_anchors == (AS_OF - timedelta(days=14),)
    assert models[1].spec.train_anchors == tuple(AS_OF - timedelta(days=7 * step) for step in (5, 4, 3))


@pytest.mark.slow
def test_sampling_is_by_user_and_does_not_depend_on_portions(sample: Path, tmp_path: Path) -> None:
    overrides = {"model__max_rows": 100, "clusters__max_rows": 100, "contacts__model_columns": ()}
    one = fitted(sample, tmp_path / "one", execution__rows_per_task=100_000, **overrides)
    assert fitted(sample, tmp_path / "four", execution__rows_per_task=300, **overrides) == one
    [model, _] = load_bundle(next((tmp_path / "one" / "_bundles").glob("*/"))).models
    [(part, before, used)] = model.spec.sampled
    assert part == "training"
    assert before > 100
    assert model.spec.train_metrics.rows == used
    assert 60 < used < 140
