from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from engine.bundle import load_bundle
from engine.bundle_store import current_bundle
from engine.config import Config
from engine.errors import ConfigError, DataError, ExitCode, HeldError
from engine.execution.local import LocalExecutor
from engine.execution.protocol import Executor
from engine.pipeline import fit_run, run, score_run
from engine.propensity.spec import best_trial
from engine.record import RunRecord
from jobs.app import app
from tests.samples import configuration, files
from tests.tastes_sample import (
    EARLY,
    FIRST_DAY,
    LATE,
    STRANGERS,
    TOML,
    USERS,
    buyers,
    customers_log,
    tastes_log,
    write_tastes,
)

LOCAL = LocalExecutor(threads=1)
TARGETS = ["buys", "again"]
SETTINGS: dict[str, object] = {"value__min_customers": 20, "model__gate": "warn"}


@dataclass(frozen=True)
class Fitted:
    """A log, and what a fit of it made."""

    file: Path
    record: RunRecord

    @property
    def bundle(self) -> Path:
        return Path(str(self.record.bundle))

    @property
    def warnings(self) -> list[str]:
        return list(self.record.counts["warnings"])

    def elsewhere(self, folder: Path, **overrides: object) -> Config:
        """The same log and a copy of the output."""
        shutil.copytree(self.file.parent / "out", folder / "out")
        return configuration(self.file, out=str(folder / "out"), **overrides)


def tamis(command: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, [command, *arguments])


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """Fitted on the weeks in which customers have a taste."""
    file = write_tastes(tmp_path_factory.mktemp("early"), tastes_log(EARLY))
    return Fitted(file, fit_run(configuration(file), EARLY, executor=LOCAL))


@pytest.fixture(scope="module")
def later(early: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """Fitted again on weeks in which they buy at random, beside the first."""
    folder = tmp_path_factory.mktemp("later")
    shutil.copytree(early.file.parent, folder, dirs_exist_ok=True)
    return Fitted(folder / "tamis.toml", fit_run(configuration(folder / "tamis.toml"), LATE, executor=LOCAL))


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """What a fit said of customers who always bought at random."""
    frame = tastes_log(FIRST_DAY)
    strangers = [f"u{user}" for user in range(USERS, USERS + STRANGERS)]
    file = write_tastes(tmp_path_factory.mktemp("held"), frame.filter(~pl.col("customer").is_in(strangers)))
    return file, tamis("fit", "-c", str(file), "--as-of", str(LATE), "-q")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A log, and what a fit with trials and customer value printed."""
    file = write_tastes(tmp_path_factory.mktemp("tuned"), customers_log())
    changes = [part for key in SETTINGS for part in ("--set", f"{key.replace('__', '.')}={SETTINGS[key]}")]
    result = tamis("fit", "-c", str(file), "--as-of", str(LATE), "--tune", "3", "--json", *changes)
    assert result.exit_code == 0, result.stderr
    return file, json.loads(result.stdout)


# ------------------------------------------------------------------------------------------------------------ the gate


def test_a_model_that_fails_its_gate_gives_way_to_the_one_before(early: Fitted, later: Fitted) -> None:
    assert "kept_models" not in early.record.counts
    assert early.warnings == []
    kept = later.record.counts["kept_models"]
    assert list(kept) == TARGETS
    for name in TARGETS:
        assert kept[name][0].startswith("no: AUC 0.")
        [said] = [line for line in later.warnings if line.startswith(f"target {name!r}: the model of bundle")]
        assert f"bundle {early.bundle.name} stays" in said
        assert kept[name][0].removeprefix("no: ") in said
    assert any("rows get the score" in line for line in kept["again"])
    assert later.bundle.name != early.bundle.name
    for name in TARGETS:
        old, new = (files(bundle / "targets" / name) for bundle in (early.bundle, later.bundle))
        assert old["model.txt"] == new["model.txt"]
        assert old["model.json"] == new["model.json"]
    assert current_bundle(later.file.parent / "out") == later.bundle


def test_a_repeated_fit_gives_the_same_bundle_beside_an_earlier_one(
    early: Fitted, later: Fitted, tmp_path: Path
) -> None:
    config = later.elsewhere(tmp_path)
    again = fit_run(config, LATE, executor=LocalExecutor(threads=2))
    assert again.run_id == later.record.run_id
    assert files(Path(config.out)) == files(later.file.parent / "out")
    assert Path(str(fit_run(config, EARLY, executor=LOCAL).bundle)).name == early.bundle.name
    assert files(Path(config.out) / "_bundles" / early.bundle.name) == files(early.bundle)
    assert current_bundle(Path(config.out)) == Path(config.out) / "_bundles" / later.bundle.name


def test_without_a_model_to_stay_the_bundle_is_held(held: tuple[Path, Result]) -> None:
    file, result = held
    assert (result.exit_code, result.stdout) == (ExitCode.HELD, "")
    assert result.stderr.startswith("error[model-held]: ")
    assert "\nhint: " in result.stderr
    assert all(f"  {name}: AUC 0." in result.stderr for name in TARGETS)
    [bundle] = (file.parent / "out" / "_bundles").glob("*/")
    assert bundle.name in result.stderr
    assert current_bundle(file.parent / "out") is None
    assert not any(model.spec.verdict.promoted for model in load_bundle(bundle).models)


def test_a_held_bundle_scores_only_after_it_was_promoted(held: tuple[Path, Result], tmp_path: Path) -> None:
    shutil.copytree(held[0].parent, tmp_path / "copy")
    arguments = ("-c", str(tmp_path / "copy" / "tamis.toml"))
    [bundle] = (tmp_path / "copy" / "out" / "_bundles").glob("*/")
    ran = tamis("run", *arguments, "--as-of", str(LATE), "-q")
    assert (ran.exit_code, ran.stderr) == (ExitCode.HELD, held[1].stderr)
    refused = tamis("score", *arguments, "--as-of", str(LATE), "-q")
    assert refused.exit_code == ExitCode.USAGE
    assert refused.stderr.startswith("error[bundle-missing]: ")
    assert f"{bundle.name} is held" in refused.stderr
    assert not (tmp_path / "copy" / "out" / "scores").exists()
    promoted = tamis("bundle", "promote", bundle.name, *arguments)
    assert promoted.exit_code == 0, promoted.stderr
    scored = tamis("score", *arguments, "--as-of", str(LATE), "--json")
    assert scored.exit_code == 0, scored.stderr
    answer = json.loads(scored.stdout)
    assert Path(answer["bundle"]).name == bundle.name
    said = [line for line in answer["counts"]["warnings"] if "did not pass its gate" in line]
    assert [line.partition("'")[2].partition("'")[0] for line in said] == TARGETS


@pytest.mark.slow
def test_run_takes_an_older_bundle_when_the_fit_is_held(early: Fitted, tmp_path: Path) -> None:
    config = early.elsewhere(tmp_path)
    other = config.model_copy(update={"targets": ()})
    assert fit_run(other, EARLY + timedelta(days=1), executor=LOCAL).bundle != str(early.bundle)
    with pytest.raises(HeldError):
        fit_run(config.model_copy(update={"out": str(tmp_path / "empty")}), LATE, executor=LOCAL)
    record = run(config, LATE, executor=LOCAL)
    assert Path(str(record.bundle)).name == early.bundle.name
    assert record.counts["warnings"][0].endswith(f"the bundle {early.bundle.name} was used again")
    assert "is held back" in record.counts["warnings"][0]
    assert "models" not in record.counts
    # The next fit is due a week later, not with the next run.
    again = run(config, LATE, executor=LOCAL)
    assert again.bundle == record.bundle
    assert again.counts["warnings"] == record.counts["warnings"][1:]


def test_with_gate_warn_a_fit_only_warns(held: tuple[Path, Result], tmp_path: Path) -> None:
    result = tamis(
        "fit", "-c", str(held[0]), "--out", str(tmp_path), "--as-of", str(LATE), "--set", "model.gate=warn", "--json"
    )
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert current_bundle(tmp_path) == Path(answer["bundle"])
    assert sum("did not pass its gate" in line for line in answer["counts"]["warnings"]) == len(TARGETS)


# -------------------------------------------------------------------------------------------- trials, value, executors


def test_trials_are_in_the_bundle(tuned: tuple[Path, dict[str, Any]]) -> None:
    _, answer = tuned
    bundle = load_bundle(Path(answer["bundle"]))
    assert [model.spec.target.name for model in bundle.models] == TARGETS
    for model in bundle.models:
        assert len(model.spec.tuned) == 3
        assert len({trial.settings.model_dump_json() for trial in model.spec.tuned}) == 3
        assert model.spec.settings == best_trial(model.spec.tuned).settings
        assert model.spec.tuned[0].settings.leaves == 3
    assert bundle.value is not None
    assert bundle.drift is not None


@pytest.mark.parametrize(
    "executor", ["local", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])], indirect=True
)
def test_trials_value_and_drift_give_the_same_bundle_on_any_executor(
    tuned: tuple[Path, dict[str, Any]], executor: Executor, tmp_path: Path
) -> None:
    file, answer = tuned
    config = configuration(file, out=str(tmp_path), model__tune=3, **SETTINGS)
    assert fit_run(config, LATE, executor=executor).run_id == answer["run_id"]
    assert files(tmp_path) == files(file.parent / "out")


class Unused(LocalExecutor):
    """Nothing may be read."""

    def map(self, *_: object, **__: object) -> list[Any]:
        message = "a task ran"
        raise AssertionError(message)


def test_without_optuna_nothing_is_read(early: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    config = configuration(early.file, out=str(tmp_path / "out"), model__tune=2)
    with pytest.raises(ConfigError) as caught:
        fit_run(config, EARLY, executor=Unused())
    assert caught.value.code == "tune-not-installed"
    assert not (tmp_path / "out").exists()
    untargeted = config.model_copy(update={"targets": ()})
    assert fit_run(untargeted, EARLY, executor=LOCAL).counts["models"] == {}


VALUED = {"value__min_customers": 20, "targets": []}


@pytest.fixture
def valued(tmp_path: Path) -> tuple[Path, Path]:
    """A log that has changed since the fit: BG/NBD and Gamma-Gamma had a maximum then, and have none now."""
    file = write_tastes(tmp_path, customers_log())
    before = Path(str(fit_run(configuration(file, **VALUED), LATE - timedelta(days=7), executor=LOCAL).bundle))
    tastes_log().write_parquet(tmp_path / "log" / "000.parquet")
    return file, before


def test_value_that_cannot_be_fitted_gives_way_to_the_one_before(valued: tuple[Path, Path]) -> None:
    file, before = valued
    record = fit_run(configuration(file, **VALUED), LATE, executor=LOCAL)
    assert [line.partition(" ")[0] for line in record.counts["kept_value"]] == ["BG/NBD", "Gamma-Gamma"]
    [said] = [line for line in record.counts["warnings"] if line.startswith("customer value: that of bundle")]
    assert f"{before.name} stays" in said
    assert all(problem in said for problem in record.counts["kept_value"])
    now = Path(str(record.bundle))
    assert now.name != before.name
    assert (now / "value.json").read_bytes() == (before / "value.json").read_bytes()
    assert current_bundle(file.parent / "out") == now
    ran = run(configuration(file, **VALUED, refit_after_days=1), LATE + timedelta(days=1), executor=LOCAL)
    assert f"{now.name} stays" in " ".join(ran.counts["warnings"])
    assert ran.counts["kept_value"]


@pytest.mark.parametrize(
    "changes",
    [{"value__horizon_days": 30}, {"value__min_customers": 21}, {"currency_digits": 0}, {}],
)
def test_without_value_that_could_stay_the_fit_stops(
    valued: tuple[Path, Path], changes: dict[str, object], tmp_path: Path
) -> None:
    file, before = valued
    changes = changes or {"out": str(tmp_path / "elsewhere")}
    with pytest.raises(DataError, match=r"BG/NBD .* runs to ") as caught:
        fit_run(configuration(file, **{**VALUED, **changes}), LATE, executor=LOCAL)
    assert caught.value.code == "value-fit"
    assert current_bundle(file.parent / "out") == before


# -------------------------------------------------------------------------------------------------------------- alarms


def test_a_leak_raises_an_alarm(tmp_path: Path) -> None:
    frame = tastes_log(FIRST_DAY)
    weeks = [EARLY - timedelta(days=7 * step) for step in range(4)]
    leaked = buyers(frame, weeks[3], weeks[2])
    ahead = [f"u{user}" in leaked for user in range(USERS + STRANGERS)]
    file = write_tastes(tmp_path, frame, bought_later=ahead)
    changes = {"contacts__model_columns": ["region", "bought_later"], "model__train_anchors": 1, "model__gate": "warn"}
    config = configuration(file, **changes)
    said = fit_run(config, EARLY, executor=LOCAL).counts["warnings"]
    [buys, again] = [line for line in said if "alone tells the label" in line]
    assert buys.startswith("model 'buys': feature 'bought_later' alone tells the label: AUC 1.000")
    assert again.startswith("model 'again': feature 'bought_later'")
    assert any("region, bought_later (contacts.model_columns)" in line for line in said)
    assert buys in score_run(config, EARLY, executor=LOCAL).counts["warnings"]


def test_users_who_go_by_two_names_raise_an_alarm(tmp_path: Path) -> None:
    file = write_tastes(tmp_path, tastes_log(FIRST_DAY, mail_prefix="mail-"))
    said = fit_run(configuration(file, model__gate="warn"), LATE, executor=LOCAL).counts["warnings"]
    for name in TARGETS:
        [alarm] = [line for line in said if line.startswith(f"target {name!r}") and "identifier" in line]
        assert "only 0 have any other event" in alarm
        assert f"while {USERS + STRANGERS} users have others" in alarm


def test_no_alarm_without_a_reason(early: Fitted) -> None:
    assert all(model.spec.alarms == () for model in load_bundle(early.bundle).models)


# ------------------------------------------------------------------------------------------------------ drift and nulls


def test_a_score_run_publishes_drift_and_is_silent_after_the_fit(early: Fitted, tmp_path: Path) -> None:
    config = early.elsewhere(tmp_path)
    record = score_run(config, EARLY, executor=LOCAL)
    assert record.counts["warnings"] == []
    table = pl.read_parquet(f"{record.tables['drift'].path}/*.parquet", hive_partitioning=False)
    reference = load_bundle(early.bundle).drift
    assert reference is not None
    assert sorted(table["column"]) == sorted(column.column for column in reference.columns)
    assert {f"propensity_{name}" for name in TARGETS} <= set(table.filter(pl.col("kind") == "score")["column"])
    assert set(table["rows"]) == {USERS + STRANGERS}
    assert table["psi"].to_list() == [0.0] * table.height


def test_a_log_that_has_changed_drastically_is_warned_of(early: Fitted, tmp_path: Path) -> None:
    file = write_tastes(
        tmp_path / "changed",
        tastes_log(EARLY)
        .filter((pl.col("kind") != "open") | (pl.col("customer") == "u1"))
        .with_columns(pl.col("total") * 100),
    )
    record = score_run(configuration(file), EARLY, executor=LOCAL, bundle=early.bundle)
    [features] = [line for line in record.counts["warnings"] if "features are distributed otherwise (PSI)" in line]
    assert features.startswith(f"since the fit of {EARLY} ")
    assert "days_since_open" in features
    assert "rfm_monetary" in features
    assert any("lack values" in line and "days_since_open" in line for line in record.counts["warnings"])


def test_users_outside_a_population_have_no_score(early: Fitted, tmp_path: Path) -> None:
    record = score_run(early.elsewhere(tmp_path), EARLY, executor=LOCAL)
    scores = pl.read_parquet(f"{record.tables['scores'].path}/*.parquet").sort("user_id")
    features = pl.read_parquet(f"{record.tables['features'].path}/*.parquet").sort("user_id")
    outside = features["days_since_purchase"].is_null()
    assert STRANGERS <= outside.sum() < USERS
    for name in (f"propensity_again{end}" for end in ("", "_percentile", "_decile", "_class")):
        assert scores[name].is_null().equals(outside), name
        assert scores[name.replace("again", "buys")].null_count() == 0


# ------------------------------------------------------------------------------------------------------- command line


def test_fit_and_run_from_the_command_line(tuned: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    file, answer = tuned
    assert set(answer["counts"]["models"]) == set(TARGETS)
    assert Path(answer["bundle"]).parent == file.parent / "out" / "_bundles"
    shutil.copytree(file.parent, tmp_path / "copy")
    copied = ("-c", str(tmp_path / "copy" / "tamis.toml"), "--as-of", str(LATE))
    # The settings that the trials found are those of the bundle: whoever does not ask for trials uses them too.
    changes = [part for key in SETTINGS for part in ("--set", f"{key.replace('__', '.')}={SETTINGS[key]}")]
    ran = tamis("run", *copied, "--json", *changes)
    assert ran.exit_code == 0, ran.stderr
    assert Path(json.loads(ran.stdout)["bundle"]).name == Path(answer["bundle"]).name
    assert "models" not in json.loads(ran.stdout)["counts"]
    refused = tamis("score", *copied, "-q")
    assert refused.exit_code == ExitCode.USAGE
    assert "value differ" in refused.stderr


# ------------------------------------------------------------------------------------------- attributes of little use


def test_attributes_of_little_use_are_told_and_do_no_harm(tmp_path: Path) -> None:
    people = 2_000
    number = pl.int_range(people, eager=True)
    purchases = [
        pl.DataFrame({"user": number.filter(number % (2 + week % 3) > 0)}).with_columns(
            at=pl.lit(datetime(2025, 12, 29, 12, tzinfo=UTC) + timedelta(weeks=week))
        )
        for week in range(5)
    ]
    frame = pl.concat(purchases).select(
        customer=pl.format("u{}", "user"), kind=pl.lit("purchase"), at="at", total=pl.lit(5.0)
    )
    toml = TOML.replace('send = "send"\nopen = "open"\n', "")
    file = write_tastes(tmp_path, frame, toml)
    pl.DataFrame(
        {
            "customer": [f"u{user}" for user in range(10_000)],
            "shop": [f"shop {user}" for user in range(10_000)],
            "same": [1] * 10_000,
            "empty": pl.Series([None] * 10_000, dtype=pl.Int64),
        }
    ).write_parquet(tmp_path / "contacts.parquet")
    changes = ("--set", 'contacts.model_columns=["shop", "same", "empty"]', "--set", "model.gate=warn")
    result = tamis("run", "-c", str(file), "--as-of", str(EARLY), "--json", *changes)
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    for name in TARGETS:
        about = [line for line in answer["counts"]["warnings"] if line.startswith(f"model {name!r}: ")]
        assert any("'shop' has " in line and "the 255 most frequent are kept" in line for line in about)
        assert any("no training row has a value of: 'empty'" in line for line in about)
    for model in load_bundle(Path(answer["bundle"])).models:
        assert [dict(model.spec.importance)[name] for name in ("same", "empty")] == [0, 0]
