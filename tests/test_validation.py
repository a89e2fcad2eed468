from __future__ import annotations

import math
import random
import shutil
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.errors import ConfigError, DataError, IntegrityError, TamisError
from engine.execution.local import LocalExecutor
from engine.propensity.intervals import bootstrap
from engine.propensity.metrics import measure
from engine.tables.durable import durable_parquet
from engine.tables.layout import partition_folder, table_folder
from engine.tables.lock import writer_lock
from engine.tables.manifest import Manifest, dtypes_of, table_record
from engine.tables.publish import publish
from engine.tables.published_types import published_schema
from engine.tables.workspace import workspace
from engine.validation import Validation, validate_run
from engine.validation_groups import groups_file
from engine.validation_table import validation_file
from tests.samples import TOML, configuration, mail, shop, write_sample

LOCAL = LocalExecutor(threads=1)
DAY = date(2026, 2, 1)
USERS = 80
LAPSES = """
[[targets]]
name = "lapses"
event = "email_open"
absent = true
horizon_days = 20
"""


def scores(users: int = USERS, names: tuple[str, ...] = ("buys",)) -> pl.DataFrame:
    """A score per user, more or less at random; every seventh user is outside the population."""
    columns = {
        f"propensity_{name}": [
            None if user % 7 == 0 else random.Random(f"{name} {user}").random() for user in range(1, users + 1)
        ]
        for name in names
    }
    frame = pl.DataFrame({"user_id": range(1, users + 1), **columns}, schema_overrides={"user_id": pl.Int64})
    return frame.with_columns(propensity_buys_percentile=pl.lit(7, pl.Int8))


def publish_scores(
    out: Path, frame: pl.DataFrame, as_of: date = DAY, bundle: str | None = None, segments: Sequence[str] = ()
) -> None:
    """Publish a table of scores in three files that have nothing to do with the buckets of the log.

    With `segments` (one per row of `frame`) the users are published in them too.
    """
    with workspace(out, "by-hand") as work:
        folder = table_folder(work, "scores", as_of)
        files = [
            durable_parquet(frame.gather_every(3, start).sort("user_id"), folder, f"part-{start}", root=work)
            for start in range(3)
        ]
        tables = [table_record("scores", as_of, dtypes_of(published_schema(frame.schema)), files)]
        if segments:
            users = frame.select("user_id", name=pl.Series(segments)).partition_by("name", as_dict=True)
            root = table_folder(work, "segments", as_of)
            files = [
                durable_parquet(
                    users[name,].select("user_id"), partition_folder(root, "segment", str(name)), "part-0", root=work
                )
                for name in sorted({*segments})
            ]
            tables.append(table_record("segments", as_of, dtypes_of(frame.select("user_id").schema), files))
        publish(work, out, Manifest("by-hand", as_of, bundle, {"input": "0"}, {}, tuple(tables)))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log whose rollups are made already."""
    file = write_sample(tmp_path_factory.mktemp("log"), toml=TOML + LAPSES)
    config = configuration(file)
    publish_scores(Path(config.out), scores())
    validate_run(config, DAY, executor=LOCAL)
    return file


@pytest.fixture
def config(log: Path, tmp_path: Path) -> Config:
    """The log with an output of its own, in which nothing is published."""
    out = tmp_path / "out"
    shutil.copytree(Path(configuration(log).out) / "_rollups", out / "_rollups")
    return configuration(log, out=str(out))


def buyers(first: date, days: int) -> set[int]:
    """Users who bought for 20 or more in `[first, first + days)`, by a plain loop over the log."""
    found = set()
    for user, _, at, total in shop(USERS).iter_rows():
        if first <= at.date() < first + timedelta(days=days) and total >= 20:
            found.add(user)
    return found


def openers(first: date, days: int) -> set[int]:
    return {
        user
        for user, kind, at, _ in mail(USERS).iter_rows()
        if kind == "email_open" and first <= at.date() < first + timedelta(days=days)
    }


def row_of(validation: Validation, config: Config, target: str = "buys", as_of: date = DAY) -> dict[str, object]:
    file = validation_file(Path(config.out), target, as_of)
    [row] = pl.read_parquet(file, hive_partitioning=False).to_dicts()
    told = validation.record.counts["targets"][target]
    assert {**row, "as_of": row["as_of"].isoformat()} == told
    return row


def test_realised_figures_are_those_of_a_plain_loop_over_the_log(config: Config) -> None:
    frame = scores(names=("buys", "lapses"))
    publish_scores(Path(config.out), frame)
    validation = validate_run(config, DAY, executor=LOCAL)
    came = {"buys": buyers(DAY, 14), "lapses": {*range(1, USERS + 1)} - openers(DAY, 20)}
    assert [entry.target.name for entry in validation.matured] == ["buys", "lapses"]
    for name, users in came.items():
        known = frame.filter(pl.col(f"propensity_{name}").is_not_null())
        predicted = known[f"propensity_{name}"].to_list()
        labels = [user in users for user in known["user_id"]]
        metrics, intervals = measure(labels, predicted), bootstrap(labels, predicted, config.seed)
        row = row_of(validation, config, name)
        assert row["rows"] == row["measured_rows"] == len(labels) == USERS - USERS // 7
        assert row["unscored"] == USERS // 7
        assert row["unknown"] == 0
        assert row["positives"] == sum(labels) > 0
        assert row["base_rate"] == sum(labels) / len(labels)
        assert (row["base_rate_low"], row["base_rate_high"]) == (
            intervals["base_rate"].low,
            intervals["base_rate"].high,
        )
        assert row["predicted_rate"] == pytest.approx(math.fsum(predicted) / len(predicted), abs=1e-9)
        for figure in ("auc", "average_precision", "log_loss", "brier", "ece"):
            assert row[figure] == getattr(metrics, figure)
            assert (row[f"{figure}_low"], row[f"{figure}_high"]) == (intervals[figure].low, intervals[figure].high)
        assert row["lift"] == metrics.lift_by_decile[0]
        assert row["lift_by_decile"] == list(metrics.lift_by_decile)
        assert row["auc_at_training"] is None
    assert not [line for line in validation.record.counts["warnings"] if "predicted" in line and "lapses" in line]


def test_validating_again_gives_the_same_bytes_and_replaces_the_row(config: Config) -> None:
    out = Path(config.out)
    publish_scores(out, scores())
    validate_run(config, DAY, executor=LOCAL)
    file = validation_file(out, "buys", DAY)
    first = file.read_bytes()
    before = row_of(validate_run(config, DAY, executor=LOCAL), config)
    assert file.read_bytes() == first
    publish_scores(out, scores().with_columns(pl.col("propensity_buys") / 2))
    after = row_of(validate_run(config, DAY, executor=LOCAL), config)
    assert after["auc"] == before["auc"]
    assert after["brier"] != before["brier"]
    earlier = DAY - timedelta(days=9)
    publish_scores(out, scores(), earlier)
    validate_run(config, earlier, executor=LOCAL)
    table = pl.read_parquet(out / "validation/**/*.parquet", hive_partitioning=True)
    assert sorted(table.select("target", "as_of").rows()) == [("buys", earlier), ("buys", DAY)]


def test_buckets_change_no_byte(config: Config, log: Path, tmp_path: Path) -> None:
    publish_scores(Path(config.out), scores())
    validate_run(config, DAY, executor=LOCAL)
    other = configuration(log, out=str(tmp_path / "other"), execution__rows_per_task=10_000)
    publish_scores(Path(other.out), scores())
    validate_run(other, DAY, executor=LOCAL)
    one, two = (validation_file(Path(run.out), "buys", DAY).read_bytes() for run in (config, other))
    assert one == two


@pytest.mark.parametrize(("as_of", "refused"), [(date(2026, 2, 15), False), (date(2026, 2, 16), True)])
def test_a_horizon_must_have_passed(config: Config, as_of: date, refused: bool) -> None:
    # The last event is of 2026-02-28, which ends the 14 days that begin on the 15th.
    publish_scores(Path(config.out), scores(names=("buys", "lapses")), as_of)
    if refused:
        with pytest.raises(DataError, match="ends on 2026-03-02") as caught:
            validate_run(config, as_of, executor=LOCAL)
        assert caught.value.code == "not-matured"
        assert "2026-03-01" in caught.value.hint
        return
    validation = validate_run(config, as_of, executor=LOCAL)
    assert [entry.target.name for entry in validation.matured] == ["buys"]
    assert [line for line in validation.record.counts["warnings"] if "'lapses'" in line and "not validated yet" in line]
    assert validation.matured[0].counts.positives == len(
        buyers(as_of, 14) & {*scores().drop_nulls("propensity_buys")["user_id"]}
    )


@pytest.mark.parametrize(("share", "warns"), [(0.98, True), (None, False)])
def test_rates_that_are_twice_apart_are_warned_of(config: Config, share: float | None, warns: bool) -> None:
    rate = len(buyers(DAY, 14)) / USERS if share is None else share
    publish_scores(Path(config.out), scores().with_columns(propensity_buys=pl.lit(rate)))
    warnings = validate_run(config, DAY, executor=LOCAL).record.counts["warnings"]
    assert any("was predicted on average" in line for line in warnings) is warns


@pytest.mark.slow
def test_more_rows_than_the_limit_are_sampled_and_counted_whole(tmp_path: Path) -> None:
    file = write_sample(tmp_path, users=300)
    config = configuration(file, model__max_rows=100)
    publish_scores(Path(config.out), scores(300))
    [entry] = validate_run(config, DAY, executor=LOCAL).matured
    assert entry.counts.rows == 300 - 300 // 7
    metrics = entry.realised.metrics
    assert metrics is not None
    assert 60 < metrics.rows < 140
    full = configuration(file, out=str(tmp_path / "full"))
    publish_scores(Path(full.out), scores(300))
    [whole] = validate_run(full, DAY, executor=LOCAL).matured
    assert whole.counts == entry.counts
    assert whole.realised.metrics is not None
    assert whole.realised.metrics.rows == entry.counts.rows


def test_users_who_are_gone_from_the_log_are_left_out_and_told(config: Config) -> None:
    gone = pl.DataFrame({"user_id": [1001, 1002], "propensity_buys": [0.5, None]}).with_columns(
        propensity_buys_percentile=pl.lit(7, pl.Int8)
    )
    publish_scores(Path(config.out), pl.concat([scores(), gone]))
    validation = validate_run(config, DAY, executor=LOCAL)
    row = row_of(validation, config)
    assert (row["published"], row["unknown"], row["rows"]) == (82, 2, USERS - USERS // 7)
    assert any(
        "2 of 82 published users are no longer in the log" in line for line in validation.record.counts["warnings"]
    )


def grouped_scores() -> pl.DataFrame:
    """Scores beside a column of text and one of whole numbers, of two groups each and users without a value."""
    return scores(names=("buys", "lapses")).with_columns(
        rfm_segment=pl.Series([NAMES[0] if user <= 60 else NAMES[1] if user <= 75 else None for user in ALL]),
        cluster=pl.Series([10 if user <= 60 else 9 if user <= 75 else None for user in ALL], dtype=pl.Int32),
    )


ALL = range(1, USERS + 1)
NAMES = ("Grands / été", "rest")


def test_groups_have_the_figures_of_their_own_users(config: Config) -> None:
    frame, out = grouped_scores(), Path(config.out)
    publish_scores(out, frame, segments=[NAMES[0] if user <= 60 else NAMES[1] for user in ALL])
    asked = ["rfm_segment", "segment", "cluster", "segment"]
    validation = validate_run(config, DAY, executor=LOCAL, by=asked)
    came = {"buys": buyers(DAY, 14), "lapses": {*ALL} - openers(DAY, 20)}
    expected: dict[str, dict[str | None, range]] = {
        "rfm_segment": {NAMES[0]: range(1, 61), NAMES[1]: range(61, 76), None: range(76, 81)},
        "segment": {NAMES[0]: range(1, 61), NAMES[1]: range(61, 81)},
        "cluster": {"9": range(61, 76), "10": range(1, 61), None: range(76, 81)},
    }
    for target, users in came.items():
        told = validation.record.counts["targets"][target]["by"]
        assert list(told) == list(expected)
        for column, groups in expected.items():
            rows = pl.read_parquet(groups_file(out, target, column, DAY), hive_partitioning=False).to_dicts()
            assert [{key: row[key] for key in row if key not in {"as_of", "bundle"}} for row in rows] == told[column]
            assert [(row["as_of"], row["value"]) for row in rows] == [(DAY, value) for value in groups]
            for row, members in zip(rows, groups.values(), strict=True):
                known = frame.filter(pl.col("user_id").is_in(members) & pl.col(f"propensity_{target}").is_not_null())
                predicted = known[f"propensity_{target}"].to_list()
                labels = [user in users for user in known["user_id"]]
                assert (row["rows"], row["positives"]) == (len(labels), sum(labels))
                if len(labels) < 50:
                    assert row["measured_rows"] == 0
                    assert [row[name] for name in ("base_rate", "predicted_rate", "auc", "auc_low", "lift")] == [
                        None
                    ] * 5
                    continue
                metrics, intervals = measure(labels, predicted), bootstrap(labels, predicted, config.seed)
                assert (row["base_rate"], row["measured_rows"]) == (sum(labels) / len(labels), len(labels))
                assert row["predicted_rate"] == pytest.approx(math.fsum(predicted) / len(predicted), abs=1e-9)
                assert (row["auc"], row["lift"]) == (metrics.auc, metrics.lift_by_decile[0])
                for name in ("base_rate", "auc", "lift"):
                    assert (row[f"{name}_low"], row[f"{name}_high"]) == (intervals[name].low, intervals[name].high)
        assert sum(row["rows"] for row in told["segment"]) == validation.record.counts["targets"][target]["rows"]
    assert validation.record.tables["validation_segments"].files == 6
    assert validation.record.tables["validation_segments"].rows == 16


def test_a_group_of_one_class_has_rates_alone(config: Config) -> None:
    came = buyers(DAY, 14)
    frame = scores().with_columns(came=pl.col("user_id").is_in(came).cast(pl.Int8), propensity_buys=pl.lit(0.25))
    publish_scores(Path(config.out), frame)
    validation = validate_run(config, DAY, executor=LOCAL, by=["came"])
    never, always = validation.record.counts["targets"]["buys"]["by"]["came"]
    assert (never["value"], never["rows"], never["positives"]) == ("0", USERS - len(came), 0)
    assert (always["value"], always["rows"], always["positives"]) == ("1", len(came), len(came))
    assert never["rows"] >= 50 > always["rows"]
    assert (never["base_rate"], never["predicted_rate"], never["auc"], never["base_rate_low"]) == (0, 0.25, None, None)
    assert always["base_rate"] is None


def test_validating_by_groups_again_gives_the_same_bytes_in_any_buckets(
    config: Config, log: Path, tmp_path: Path
) -> None:
    frame = grouped_scores()
    segments = [NAMES[user % 2] for user in ALL]
    publish_scores(Path(config.out), frame, segments=segments)
    by = ["segment", "cluster"]
    first = validate_run(config, DAY, executor=LOCAL, by=by)
    files = [groups_file(Path(config.out), "buys", column, DAY) for column in by]
    before = [file.read_bytes() for file in files]
    assert validate_run(config, DAY, executor=LOCAL, by=by).record.run_id == first.record.run_id
    assert [file.read_bytes() for file in files] == before
    other = configuration(log, out=str(tmp_path / "other"), execution__rows_per_task=10_000)
    publish_scores(Path(other.out), frame, segments=segments)
    validate_run(other, DAY, executor=LOCAL, by=by)
    assert [groups_file(Path(other.out), "buys", column, DAY).read_bytes() for column in by] == before
    # Without the question the table is left alone.
    validate_run(config, DAY, executor=LOCAL)
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize(
    ("by", "says"),
    [
        (["rfm_segmnt"], "no column 'rfm_segmnt' (did you mean 'rfm_segment'?)"),
        (["propensity_buys"], "column 'propensity_buys' (Float64) does not tell groups of users apart"),
        (["user_id"], "column 'user_id' (Int64) does not tell groups of users apart"),
        (["cluster", "row"], "column 'row' has more than 100 values"),
        (["segment"], "no column 'segment'"),
    ],
)
def test_columns_that_make_no_groups_are_refused(config: Config, by: list[str], says: str) -> None:
    frame = pl.concat([grouped_scores()] * 2)
    users = range(1, frame.height + 1)
    publish_scores(Path(config.out), frame.with_columns(user_id=pl.Series(users), row=pl.Series(users)))
    with pytest.raises(ConfigError) as caught:
        validate_run(config, DAY, executor=LOCAL, by=by)
    assert caught.value.code == "validation-column"
    assert says in caught.value.message
    assert "rfm_segment, cluster" in caught.value.hint
    assert not (Path(config.out) / "validation").exists()


def with_text_ids(folder: Path) -> Config:
    """The sample, its users named `u1`, `u2`, …"""
    file = write_sample(folder)
    for path in [folder / "shop/000.parquet", folder / "mail/000.parquet", folder / "contacts.parquet"]:
        frame = pl.read_parquet(path, glob=False)
        frame.with_columns(customer=pl.format("u{}", "customer")).write_parquet(path)
    return configuration(file)


@pytest.mark.parametrize("prefix", ["u", "crm-u"])
def test_published_ids_with_a_prefix_raise_the_alarm(tmp_path: Path, prefix: str) -> None:
    config = with_text_ids(tmp_path)
    named = scores().with_columns(user_id=pl.format(f"{prefix}{{}}", "user_id"))
    publish_scores(Path(config.out), named)
    if prefix == "u":
        assert validate_run(config, DAY, executor=LOCAL).matured[0].counts.positives > 0
        return
    with pytest.raises(DataError, match="0 of 80 published users are in the log") as caught:
        validate_run(config, DAY, executor=LOCAL)
    assert caught.value.code == "validation-identifiers"
    assert "'crm-u1'" in caught.value.message
    assert "'u1'" in caught.value.message
    assert "String" in caught.value.message
    assert not (Path(config.out) / "validation").exists()


def test_published_ids_of_another_type_raise_the_alarm(config: Config) -> None:
    publish_scores(Path(config.out), scores().with_columns(pl.col("user_id").cast(pl.String)))
    with pytest.raises(DataError, match="published ids are String, those of the log Int64") as caught:
        validate_run(config, DAY, executor=LOCAL)
    assert caught.value.code == "validation-identifiers"


def test_a_source_that_ends_early_is_warned_of(tmp_path: Path) -> None:
    file = write_sample(tmp_path)
    cut = DAY + timedelta(days=4)
    shop().filter(pl.col("at").dt.date() < cut).write_parquet(tmp_path / "shop/000.parquet")
    config = configuration(file)
    publish_scores(Path(config.out), scores())
    warnings = validate_run(config, DAY, executor=LOCAL).record.counts["warnings"]
    assert any("the source 'shop' with its events ends on 2026-02-04" in line for line in warnings)


def test_a_date_without_scores_is_refused_with_the_dates_that_have_some(config: Config) -> None:
    publish_scores(Path(config.out), scores())
    with pytest.raises(ConfigError, match="no scores are published for 2026-01-05") as caught:
        validate_run(config, date(2026, 1, 5), executor=LOCAL)
    assert (caught.value.code, caught.value.hint) == ("not-published", "Published dates: 2026-02-01.")


def test_scores_of_targets_that_nobody_knows_are_refused(config: Config) -> None:
    publish_scores(Path(config.out), scores().rename({"propensity_buys": "propensity_other"}))
    with pytest.raises(ConfigError, match="no column of a target that is known") as caught:
        validate_run(config, DAY, executor=LOCAL)
    assert caught.value.code == "target-unknown"


def test_without_its_bundle_a_date_is_validated_by_the_configuration(config: Config) -> None:
    publish_scores(Path(config.out), scores(), bundle="0123456789ab")
    validation = validate_run(config, DAY, executor=LOCAL)
    assert validation.record.bundle is None
    assert row_of(validation, config)["bundle"] == "0123456789ab"
    assert any("the bundle 0123456789ab is gone" in line for line in validation.record.counts["warnings"])


def test_damaged_scores_are_refused(config: Config) -> None:
    publish_scores(Path(config.out), scores())
    file = next((Path(config.out) / "scores").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(IntegrityError) as caught:
        validate_run(config, DAY, executor=LOCAL)
    assert caught.value.code == "table-mismatch"


def test_another_run_holds_the_output(config: Config) -> None:
    publish_scores(Path(config.out), scores())
    with writer_lock(Path(config.out), "other"), pytest.raises(TamisError) as caught:
        validate_run(config, DAY, executor=LOCAL)
    assert caught.value.code == "out-locked"
