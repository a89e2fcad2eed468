from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.asked_users import as_stored
from engine.bundle import load_bundle
from engine.bundle_store import current_bundle
from engine.config import Config
from engine.errors import ConfigError
from engine.execution.local import LocalExecutor
from engine.explanation import Question, explain_run
from engine.pipeline import fit_run, score_run
from engine.propensity.explain import contributions
from engine.propensity.matrix import feature_matrix
from engine.propensity.predict import load_scorer
from engine.validation import validate_run
from engine.validation_table import validation_file
from tests.samples import TOML, configuration, files, write_sample

LOCAL = LocalExecutor(threads=1)
DAY = date(2026, 2, 15)
REGULARS = """
[[targets]]
name = "returns"
preset = "repeat_purchase"
horizon_days = 10
"""


@dataclass(frozen=True)
class Sample:
    """A log that was fitted and scored as of a day whose horizon has passed."""

    file: Path
    config: Config

    @property
    def out(self) -> Path:
        return Path(self.config.out)

    def copy(self, folder: Path) -> Config:
        shutil.copytree(self.out, folder / "copy")
        return configuration(self.file, out=str(folder / "copy"))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    file = write_sample(tmp_path_factory.mktemp("sample"), toml=TOML + REGULARS)
    config = configuration(file)
    fit_run(config, DAY, executor=LOCAL)
    score_run(config, DAY, executor=LOCAL)
    return Sample(file, config)


def published(out: Path, table: str) -> pl.DataFrame:
    return pl.read_parquet(f"{out}/{table}/as_of={DAY}/*.parquet", hive_partitioning=False).sort("user_id")


@pytest.mark.slow
def test_reasons_are_those_of_the_published_scores(sample: Sample) -> None:
    before = files(sample.out)
    ids = ("3", "17", "9999", "42", "abc", "3")
    found = explain_run(sample.config, DAY, Question(ids[:5], top=400), executor=LOCAL)
    assert files(sample.out) == before
    assert found.unknown == ("9999", "abc")
    assert found.record.counts["warnings"] == [f"2 of the asked users have no event before {DAY}: '9999', 'abc'"]
    scores, features = published(sample.out, "scores"), published(sample.out, "features")
    folder = current_bundle(sample.out)
    assert folder is not None
    assert found.record.bundle == str(folder)
    assert found.scores["user_id"].unique().to_list() == [3, 17, 42]
    for model in load_bundle(folder).models:
        name = model.spec.target.name
        own = features.filter(pl.col("user_id").is_in([3, 17, 42]))
        matrix = feature_matrix(own, model.spec.features, model.spec.codes)
        parts, _ = contributions(load_scorer(model.text, model.spec).booster, matrix, 1)
        for row, user in enumerate(own["user_id"]):
            [score] = scores.filter(pl.col("user_id") == user)[f"propensity_{name}"]
            told = found.scores.filter((pl.col("user_id") == user) & (pl.col("target") == name))
            assert told["probability"].to_list() == [score]
            reasons = found.reasons.filter((pl.col("user_id") == user) & (pl.col("target") == name))
            if score is None:
                assert reasons.is_empty()
                continue
            added = dict(reasons.select("feature", "contribution").iter_rows())
            assert added == {
                feature: parts[row, place] for place, feature in enumerate(model.spec.features) if parts[row, place]
            }
            assert reasons["rank"].to_list() == list(range(1, reasons.height + 1))
            for feature, value in reasons.select("feature", "value").iter_rows():
                given = own[row, feature]
                assert (given is None) == (value is None)
                assert feature != "region" or value == given


@pytest.mark.slow
def test_who_is_outside_the_population_has_no_reasons_for_that_target(sample: Sample) -> None:
    # Every tenth user never buys.
    found = explain_run(sample.config, DAY, Question(("10", "20", "30", "3")), executor=LOCAL)
    assert found.record.counts["outside_population"] == {"buys": 0, "returns": 3}
    nulls = found.scores.filter(pl.col("probability").is_null())
    assert nulls.select("user_id", "target").rows() == [(10, "returns"), (20, "returns"), (30, "returns")]
    assert set(found.reasons.select("user_id", "target").rows()).isdisjoint(nulls.select("user_id", "target").rows())


@pytest.mark.slow
def test_the_table_of_reasons_is_written_and_is_the_same_each_time(sample: Sample, tmp_path: Path) -> None:
    question = Question(tuple(map(str, range(1, 60))), target="buys", top=2, language="fr")
    first, second = (
        explain_run(sample.config, DAY, question, executor=LocalExecutor(threads=threads), to=tmp_path / name)
        for threads, name in ((1, "first"), (2, "second"))
    )
    assert files(tmp_path / "first") == files(tmp_path / "second")
    table = pl.read_parquet(f"{tmp_path}/first/*.parquet")
    assert table.equals(first.reasons)
    assert table.equals(second.reasons)
    assert set(table["target"]) == {"buys"}
    assert set(table["rank"]) <= {1, 2}
    assert table["sentence"].str.contains("la probabilité$").all()
    assert table.select("user_id", "rank").equals(table.select("user_id", "rank").sort("user_id", "rank"))
    assert first.record.tables["reasons"].rows == table.height


def test_an_unknown_target_is_refused_with_a_suggestion(sample: Sample) -> None:
    with pytest.raises(ConfigError, match="'buy'") as caught:
        explain_run(sample.config, DAY, Question(("3",), target="buy"), executor=LOCAL)
    assert caught.value.code == "target-unknown"
    assert "buys" in caught.value.message


def test_a_folder_that_holds_something_is_refused(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("keep me")
    with pytest.raises(ConfigError) as caught:
        explain_run(sample.config, DAY, Question(("3",)), executor=LOCAL, to=tmp_path)
    assert caught.value.code == "folder-not-empty"


def test_scores_that_have_changed_since_are_told(sample: Sample, tmp_path: Path) -> None:
    config = sample.copy(tmp_path)
    # The same day is scored by another bundle than the one that is asked for.
    bundle = fit_run(config, DAY - timedelta(days=7), executor=LOCAL).bundle
    assert bundle is not None
    question = Question(tuple(map(str, range(1, 30))))
    assert explain_run(config, DAY, question, executor=LOCAL).record.counts["warnings"] == []
    other = explain_run(config, DAY, question, executor=LOCAL, bundle=Path(bundle))
    [warning] = other.record.counts["warnings"]
    assert "have another published score than these reasons are for" in warning
    unpublished = explain_run(config, DAY + timedelta(days=1), question, executor=LOCAL)
    assert ["nothing is published for the day" in line for line in unpublished.record.counts["warnings"]] == [True]


def test_nobody_known_gives_an_empty_answer(sample: Sample) -> None:
    found = explain_run(sample.config, DAY, Question(("77777",)), executor=LOCAL)
    assert found.unknown == ("77777",)
    assert found.reasons.is_empty()
    assert found.scores.is_empty()
    assert as_stored(found.unknown, "Int64") == {"77777": 77777}


def test_validation_stands_beside_the_figures_of_the_training(sample: Sample, tmp_path: Path) -> None:
    config = sample.copy(tmp_path)
    validation = validate_run(config, DAY, executor=LOCAL)
    folder = current_bundle(Path(config.out))
    assert folder is not None
    specs = {model.spec.target.name: model.spec for model in load_bundle(folder).models}
    assert [entry.target.name for entry in validation.matured] == ["buys", "returns"]
    for entry in validation.matured:
        row = entry.row()
        metrics = specs[entry.target.name].metrics
        assert row["bundle"] == folder.name
        assert row["auc_at_training"] == metrics.auc
        assert row["base_rate_at_training"] == metrics.base_rate
        nulls = published(Path(config.out), "scores")[f"propensity_{entry.target.name}"].null_count()
        assert (row["unscored"], row["unknown"]) == (nulls, 0)
        assert validation_file(Path(config.out), entry.target.name, DAY).exists()
