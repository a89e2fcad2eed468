from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from engine.config import Config
from engine.errors import ConfigError, DataError
from engine.execution.local import LocalExecutor
from engine.execution.protocol import Executor
from engine.history.warning_codes import warning_code
from engine.pipeline import run, score_run
from engine.quality.published import read_quality
from engine.quality.reconcile import OUTCOMES
from engine.quality.trend import trends
from engine.record import RunRecord
from tests.samples import AS_OF, SHOP, configuration, files, shop, write_sample

BEFORE = date(2026, 2, 28)
RULE = """
[[sources.rules]]
name = "small"
holds = "total < 60"
action = "quarantine"
[[sources.rules]]
name = "not_tiny"
holds = "total > 2"
"""


class Sample(NamedTuple):
    file: Path
    record: RunRecord


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    file = write_sample(tmp_path_factory.mktemp("sample"))
    return Sample(file, run(configuration(file), BEFORE, executor=LocalExecutor("local", 1)))


@pytest.fixture
def copied(sample: Sample, tmp_path: Path) -> Path:
    shutil.copytree(sample.file.parent, tmp_path / "sample")
    return tmp_path / "sample" / "tamis.toml"


def scored(file: Path, as_of: date = AS_OF, executor: Executor | None = None) -> tuple[Config, RunRecord]:
    config = configuration(file)
    return config, score_run(config, as_of, executor=executor or LocalExecutor("local", 1))


def with_toml(file: Path, *, rules: str = "", more: str = "") -> Path:
    text = file.read_text(encoding="utf-8")
    head, tail = text.split('amount = "total"\n', 1)
    file.write_text(f'{head}amount = "total"\n{rules}{tail}{more}', encoding="utf-8")
    return file


def table(config: Config, as_of: date = AS_OF) -> pl.DataFrame:
    found = read_quality(Path(config.out), as_of)
    assert found is not None
    return found


def whole(found: pl.DataFrame, name: str = "shop") -> dict[tuple[str, str | None], float]:
    rows = found.filter((pl.col("name") == name) & pl.col("day").is_null())
    return {(metric, column): value for metric, column, value in rows.select("metric", "column", "value").iter_rows()}


def test_dq09_each_run_publishes_its_measurements(sample: Sample) -> None:
    found = table(configuration(sample.file), BEFORE)
    assert found.select("scope", "name").unique().sort("scope", "name").rows() == [
        ("contacts", "contacts"),
        ("run", "run"),
        ("source", "mail"),
        ("source", "shop"),
    ]
    assert whole(found)["freshness_days", None] == 1
    assert set(found["status"]) == {"none"}


def test_dq08_the_rows_add_up_to_the_counts_of_the_manifest_and_the_users(sample: Sample) -> None:
    found, counts = table(configuration(sample.file), BEFORE), sample.record.counts
    of_run = {metric: value for (metric, _), value in whole(found, "run").items()}
    assert {name: of_run[f"rows_{name}"] for name in counts["rows"]} == counts["rows"]
    assert of_run["rows_read"] == sum(of_run[f"rows_{name}"] for name in OUTCOMES)
    assert of_run["users"] == of_run["users_scored"] + of_run["users_withheld"]
    assert of_run["users_scored"] == counts["users"] == sample.record.tables["segments"].rows
    days = found.filter(pl.col("day").is_not_null()).group_by("name", "day").agg(
        read=pl.col("numerator").filter(pl.col("metric") == "rows_read").sum(),
        others=pl.col("numerator").filter(pl.col("metric") != "rows_read").sum(),
    )  # fmt: skip
    assert days.height > 100
    assert (days["read"] == days["others"]).all()
    assert days["read"].sum() == counts["rows"]["read"]
    # The log has events of the day itself, which are after the day before.
    assert counts["rows"]["after_as_of"] > 0


@pytest.mark.slow
def test_the_second_date_knows_the_first(copied: Path) -> None:
    config, _ = scored(copied)
    found = table(config).filter(pl.col("metric") == "rows_kept", pl.col("day").is_null(), pl.col("name") == "shop")
    before = whole(table(config, BEFORE))["rows_kept", None]
    value = found["value"].item()
    line = next(line for line in trends(Path(config.out), AS_OF, "shop", "rows_kept").lines)
    assert (line.value, line.previous, line.change) == (value, before, (value - before) / before)
    assert line.trend == ((BEFORE, before), (AS_OF, value))
    assert [line.trend for line in trends(Path(config.out), BEFORE, "shop", "rows_kept").lines] == [((BEFORE, before),)]


@pytest.mark.slow
def test_dq07_rules_of_a_source_reject_and_count(copied: Path) -> None:
    total = pl.read_parquet(copied.parent / "shop")["total"]
    large, tiny = int((total >= 60).sum()), int((total <= 2).sum())
    assert large > 5
    config = configuration(with_toml(copied, rules=RULE))
    record = run(config, AS_OF, executor=LocalExecutor("local", 1))
    assert record.counts["rejected"] == {"shop": {"small": large}}
    rows = record.counts["rows"]
    assert rows["read"] == sum(number for name, number in rows.items() if name != "read")
    rejects = pl.read_parquet(f"{record.tables['rejects'].path}/*.parquet")
    assert set(rejects.select("source", "rule", "reason").rows()) == {
        ("shop", "small", "breaks the rule 'small': total < 60")
    }
    found = whole(table(config))
    assert found["reject_share", "small"] == found["invalid_share", None] == large / len(total)
    assert found["rule_share", "small"] == large / len(total)
    assert found["rule_share", "not_tiny"] == tiny / len(total)


def test_quarantined_rows_count_as_rejected_ones(copied: Path) -> None:
    config = configuration(with_toml(copied, rules=RULE), checks__max_reject_share=0.01)
    with pytest.raises(DataError, match="small ") as caught:
        run(config, AS_OF, executor=LocalExecutor("local", 1))
    assert caught.value.code == "rejects-too-many"


@pytest.mark.slow
def test_a_limit_that_warns(copied: Path) -> None:
    _, plain = scored(copied)
    more = '\n[[quality.limits]]\nmetric = "completeness"\nof = "contacts"\nat_least = 0.9\n'
    more += '\n[[quality.limits]]\nmetric = "freshness_days"\nat_most = 3\n'
    config, record = scored(with_toml(copied, more=more))
    [told] = [line for line in record.counts["warnings"] if line not in plain.counts["warnings"]]
    assert told == "quality: completeness of contacts region is 0.666667, expected at least 0.9"
    assert warning_code(told) == "quality-limit"
    found = table(config).filter(pl.col("status") != "none")
    assert found.select("name", "metric", "status").rows() == [
        ("mail", "freshness_days", "ok"),
        ("shop", "freshness_days", "ok"),
        ("contacts", "completeness", "warn"),
    ]


def test_a_limit_that_stops_publishes_nothing(copied: Path) -> None:
    more = '\n[[quality.limits]]\nmetric = "rows"\nchange = 0.5\naction = "stop"\n'
    with_toml(copied, more=more)
    before = files(copied.parent / "out" / "segments")
    # Three times the purchases.
    extra = pl.concat(
        [shop(seed=seed).with_columns(order=pl.format("{}-{}", pl.lit(seed), "order")) for seed in (8, 9)]
    )
    extra.cast(SHOP).write_parquet(copied.parent / "shop" / "more.parquet")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"rows of shop is \d+ and was 241, expected a change of at most 0.5") as caught:
        scored(copied)
    assert caught.value.code == "quality-stop"
    assert files(copied.parent / "out" / "segments") == before


def test_a_limit_on_nothing_is_told_before_any_work(copied: Path) -> None:
    more = '\n[[quality.limits]]\nmetric = "completeness"\nof = "contacts"\ncolumn = "regoin"\nat_least = 1\n'
    with pytest.raises(ConfigError, match="did you mean 'region'"):
        scored(with_toml(copied, more=more))


@pytest.mark.slow
def test_the_same_bytes_again_and_on_more_workers(copied: Path, tmp_path: Path) -> None:
    config, _ = scored(copied)
    first = files(Path(config.out) / "quality")
    shutil.rmtree(Path(config.out) / "_rollups")
    scored(copied, executor=LocalExecutor("local", 2))
    assert files(Path(config.out) / "quality") == first


@pytest.mark.slow
def test_days_measure_the_files_of_the_last_days_alone(tmp_path: Path) -> None:
    file = write_sample(tmp_path / "s")
    rows = pl.read_parquet(tmp_path / "s" / "shop")
    shutil.rmtree(tmp_path / "s" / "shop")
    (tmp_path / "s" / "shop").mkdir()
    for (day,), part in rows.group_by(pl.col("at").dt.date(), maintain_order=True):
        lost = pl.lit(None, pl.Float64) if str(day) >= "2026-02-20" else pl.col("total")
        part.with_columns(total=lost).write_parquet(tmp_path / "s" / "shop" / f"{day}.parquet")
    recent = rows.filter(pl.col("at").dt.date() >= date(2026, 2, 22)).height
    with_toml(file, more="\n[quality]\ndays = 7\n")
    config = configuration(file)
    run(config, AS_OF, executor=LocalExecutor("local", 1))
    found = whole(table(config))
    assert found["rows", None] == recent
    assert found["completeness", "amount"] == 0
    assert found["rows_read", None] == rows.height
