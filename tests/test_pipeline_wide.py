from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.bundle import load_bundle
from engine.config import Config
from engine.events.mapping import stable_hash
from engine.execution.local import LocalExecutor
from engine.execution.protocol import Executor
from engine.features.catalogue import catalogue
from engine.features.registry import FAMILIES as EVERY_FAMILY
from engine.features.spec import FeatureSpec
from engine.ledger.bucket import LEDGER
from engine.pipeline import check_run, fit_run, score_run
from engine.progress import ProgressEvent
from engine.propensity.folds import in_test
from engine.record import RunRecord
from engine.stages.learning_plan import cluster_features
from tests.golden.runs import published
from tests.samples import AS_OF, configuration, files
from tests.wide_sample import (
    FAMILIES,
    MONITOR,
    TOML,
    USERS,
    before,
    links,
    visitor_of,
    wide_log,
    write_wide_sample,
)

LOCAL = LocalExecutor(threads=1)
# Every family over a log of everything: half a minute, and the families have their own tests.
pytestmark = pytest.mark.slow
TABLES = {"features", "scores", "segments", "memberships"}
WITHOUT_MODELS: dict[str, object] = {"targets": [], "clusters__enabled": False}


@dataclass(frozen=True)
class Wide:
    """The sample, and what a fit and a score of it made."""

    file: Path
    config: Config
    fitted: RunRecord
    scored: RunRecord

    @property
    def out(self) -> Path:
        return Path(self.config.out)

    @property
    def spec(self) -> FeatureSpec:
        return load_bundle(Path(str(self.fitted.bundle))).spec


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Wide:
    file = write_wide_sample(tmp_path_factory.mktemp("wide"))
    config = configuration(file)
    return Wide(file, config, fit_run(config, AS_OF, executor=LOCAL), score_run(config, AS_OF, executor=LOCAL))


def known() -> pl.DataFrame:
    """The events with the user they are of, without those of the monitor."""
    users = dict(links().iter_rows())
    user = pl.coalesce("user", pl.col("visitor").replace_strict(users, return_dtype=pl.Int64))
    return wide_log().with_columns(user=user).filter(pl.col("user") != MONITOR)


@pytest.mark.parametrize(
    "executor", ["local", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])], indirect=True
)
def test_a_run_with_every_family_gives_the_same_bytes_on_any_executor(
    wide: Wide, executor: Executor, tmp_path: Path
) -> None:
    config = configuration(wide.file, out=str(tmp_path / "out"))
    fitted = fit_run(config, AS_OF, executor=executor)
    assert Path(str(fitted.bundle)).name == Path(str(wide.fitted.bundle)).name
    assert score_run(config, AS_OF, executor=executor).run_id == wide.scored.run_id
    assert files(tmp_path / "out") == files(wide.out)


def test_the_sample_has_every_family_and_all_their_columns_are_published(wide: Wide) -> None:
    assert {family.name for family in EVERY_FAMILY} == set(FAMILIES) == set(wide.spec.families)
    names = [feature.name for feature in catalogue(wide.spec)]
    for family in EVERY_FAMILY:
        assert {feature.name for feature in family.features(wide.spec)} <= set(names), family.name
    table = published(wide.out, "features")
    assert table.columns == ["user_id", *names, "as_of"]
    assert dict(zip(names, table.select(names).dtypes, strict=True)) == {
        feature.name: feature.dtype for feature in catalogue(wide.spec)
    }


def test_rows_are_accounted_for_with_links_exclusions_and_machines(wide: Wide) -> None:
    log = wide_log()
    excluded = log.height - known().height
    assert 0 < log.filter(pl.col("user").is_null() & (pl.col("visitor") == visitor_of(MONITOR))).height < excluded
    for record in (wide.fitted, wide.scored):
        rows = dict(record.counts["rows"])
        assert rows == {
            "read": log.height,
            "left_out": 0,
            "excluded": excluded,
            "rejected": 0,
            "duplicate": 0,
            "merged": 0,
            "after_as_of": 0,
            "kept": log.height - excluded,
        }
    assert wide.scored.counts["users"] == published(wide.out, "features").height == USERS
    machines = known().filter(pl.col("bot"))["kind"].value_counts()
    for kind, number in machines.iter_rows():
        assert wide.scored.counts["events"][f"{kind}_machine"]["kept"] == number > 0


def test_check_counts_the_same_rows(wide: Wide) -> None:
    rows = dict(check_run(wide.config, AS_OF, executor=LOCAL).counts["rows"])
    told = wide.scored.counts["rows"]
    assert rows.pop("read") == told["read"] == sum(rows.values())
    # Who stands behind an anonymous id is known once the links were followed.
    assert rows["passed"] >= told["kept"]


def test_visits_before_the_login_are_the_users(wide: Wide) -> None:
    expected = known().filter(pl.col("kind") == "view").group_by("user").len()
    found = published(wide.out, "features").select("user_id", "view_count_total")
    assert dict(found.filter(pl.col("view_count_total") > 0).iter_rows()) == dict(expected.iter_rows())


@pytest.mark.parametrize(
    ("name", "kind", "condition"),
    [
        ("shoes", "purchase", pl.col("category") == "shoes"),
        ("dear", "purchase", pl.col("amount") >= 15),
        ("open", "open", ~pl.col("bot")),
        ("open_machine", "open", pl.col("bot")),
        ("click_machine", "click", pl.col("bot")),
    ],
)
def test_derived_types_and_machines_count_what_they_say(name: str, kind: str, condition: pl.Expr, wide: Wide) -> None:
    expected = known().filter((pl.col("kind") == kind) & condition).group_by("user").len()
    found = published(wide.out, "features").select("user_id", f"{name}_count_total")
    assert expected.height > 5
    assert dict(found.filter(pl.col(f"{name}_count_total") > 0).iter_rows()) == dict(expected.iter_rows())


def test_rules_over_columns_of_families(wide: Wide) -> None:
    table = published(wide.out, "features")
    rules = {
        "shoe lovers": (pl.col("shoes_count_30d") >= 1) & (pl.col("distinct_categories_30d") >= 1),
        "browsers": pl.col("session_pages_30d") > 1,
    }
    members = published(wide.out, "memberships")
    taken = pl.lit(value=False)
    for name, rule in rules.items():
        # Both are of the primary group: the first that holds takes the user.
        expected = table.filter(rule & ~taken)["user_id"].to_list()
        taken |= rule
        assert members.filter(pl.col("segment") == name)["user_id"].to_list() == expected
        assert 0 < len(expected) < USERS
    assert cluster_features(wide.config, wide.spec) == ("session_count_30d", "dear_count_30d", "tenure_days")


@pytest.mark.parametrize(
    ("target", "days", "condition"),
    [
        ("buys", 7, pl.lit(value=True)),
        ("buys_dear", 14, pl.col("amount") >= 15),
        ("buys_dear_shoes", 14, (pl.col("amount") >= 15) & (pl.col("category") == "shoes")),
    ],
)
def test_labels_of_targets_on_types_and_derived_types(target: str, days: int, condition: pl.Expr, wide: Wide) -> None:
    anchor = AS_OF - timedelta(days=days)
    tested = in_test(stable_hash(pl.col("user")), wide.config.model.test_users)
    there = known().filter(before(anchor) & tested)["user"]
    hits = known().filter(~before(anchor) & before(AS_OF) & (pl.col("kind") == "purchase") & condition)["user"]
    told = wide.fitted.counts["models"][target]
    assert told["rows"] == there.n_unique()
    assert told["positives"] == len(set(hits) & set(there)) > 0


def test_families_that_a_rule_names_come_by_themselves(wide: Wide, tmp_path: Path) -> None:
    start = TOML.index("families = ")
    alone = TOML[:start] + TOML[TOML.index("\n", start) :]
    shutil.copytree(wide.file.parent, tmp_path / "copy", ignore=shutil.ignore_patterns("out"))
    file = tmp_path / "copy" / "tamis.toml"
    file.write_text(alone, encoding="utf-8")
    config = configuration(file, targets=[])
    fit_run(config, AS_OF, executor=LOCAL)
    score_run(config, AS_OF, executor=LOCAL)
    fewer, table = published(Path(config.out), "features"), published(wide.out, "features")
    assert {"session_pages_30d", "distinct_categories_30d"} <= set(fewer.columns) < set(table.columns)
    assert "cart_items_left" not in fewer.columns
    assert fewer.equals(table.select(fewer.columns))


# ------------------------------------------------------------------------------------------------------- one day more


CORE = {"features__families": [], "segments": []}


@pytest.mark.parametrize("features", [{}, pytest.param(CORE, marks=pytest.mark.slow)], ids=["families", "core"])
def test_one_day_more_is_a_run_from_nothing_and_reads_that_day_alone(
    features: dict[str, object], tmp_path: Path
) -> None:
    day = AS_OF - timedelta(days=1)
    file = write_wide_sample(tmp_path / "log", wide_log().filter(before(day)))
    config = configuration(file, **WITHOUT_MODELS, **features)
    bundle = Path(str(fit_run(config, day, executor=LOCAL).bundle))
    score_run(config, day, executor=LOCAL, bundle=bundle)
    # The day itself, an event again that came two days before, and one that is late.
    repeated = wide_log().filter(before(day) & ~before(day - timedelta(days=2))).tail(1)
    late = wide_log().filter(before(day)).head(1).with_columns(id=pl.lit("late"))
    today = pl.concat([wide_log().filter(~before(day)), repeated.with_columns(pl.col("at").dt.offset_by("1d")), late])
    today.write_parquet(file.parent / "log" / f"{day}.parquet")
    seen: list[ProgressEvent] = []
    record = score_run(config, AS_OF, executor=LOCAL, bundle=bundle, progress=seen.append)
    assert [event.total for event in seen if event.stage == "read events" and event.done == 0] == [1]
    assert record.counts["rows"]["duplicate"] == 1
    assert {name.partition("/")[0] for name in of_day(Path(config.out))} >= {*TABLES, *LEDGER, "_manifests"}
    assert_from_nothing(config, AS_OF, bundle, record, tmp_path / "fresh")


@pytest.mark.slow
@pytest.mark.parametrize("features", [{}, CORE], ids=["families", "core"])
def test_any_next_run_is_a_run_from_nothing(features: dict[str, object], tmp_path: Path) -> None:
    """Days without a run, a day before, a file that is corrected, one that is gone: after any of them."""
    file = write_wide_sample(tmp_path / "log")
    config = configuration(file, **WITHOUT_MODELS, **features)
    first = AS_OF - timedelta(days=12)
    bundle = Path(str(fit_run(config, first, executor=LOCAL).bundle))
    days = [first, first + timedelta(days=10), first + timedelta(days=3), AS_OF]
    for number, day in enumerate(days):
        log = file.parent / "log" / f"{AS_OF - timedelta(days=14 - number)}.parquet"
        if number == 1:
            pl.read_parquet(log)[1:].write_parquet(log)
        elif number == 3:
            log.unlink()
        record = score_run(config, day, executor=LOCAL, bundle=bundle)
        assert_from_nothing(config, day, bundle, record, tmp_path / f"fresh {number}")


def of_day(out: Path, day: date = AS_OF) -> dict[str, bytes]:
    return {name: data for name, data in files(out).items() if f"as_of={day}" in name}


def assert_from_nothing(config: Config, day: date, bundle: Path, record: RunRecord, out: Path) -> None:
    """The day again without a store and without its tables; what was published for other dates stays."""
    shutil.copytree(config.out, out, ignore=shutil.ignore_patterns("_rollups", "_work", f"as_of={day}*"))
    fresh = config.model_copy(update={"out": str(out)})
    again = score_run(fresh, day, executor=LOCAL, bundle=bundle)
    counts = {name: count for name, count in record.counts.items() if name != "ledger_corrected"}
    assert (again.run_id, again.counts) == (record.run_id, counts)
    assert published_files(out) == published_files(Path(config.out))


def published_files(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(out).items() if "as_of=" in name}
