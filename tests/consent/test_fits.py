from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.bundle import load_bundle
from engine.config import Config
from engine.execution.local import LocalExecutor
from engine.explanation import Question, explain_run
from engine.pipeline import fit_run, score_run
from engine.validation import validate_run
from engine.why.why import why
from tests.consent.logs import saved
from tests.consent.sample import MAILS, NO, PROFILING, USERS, YESTERDAY, consents, scored, write
from tests.consent.test_runs import same
from tests.published import published_tables
from tests.samples import AS_OF, configuration

LOCAL = LocalExecutor(threads=1)
WITHDRAWN = range(2, 30, 3)


def fitted(folder: Path, log: pl.DataFrame, keep: set[int] | None = None, **targets: object) -> Config:
    """A fit with a log of consents; `keep` leaves other users out of the files."""
    config = configuration(write(folder))
    saved(log, folder / "consents.parquet")
    if keep is not None:
        for file in (*folder.glob("shop/*.parquet"), *folder.glob("mail/*.parquet")):
            saved(pl.read_parquet(file).filter(pl.col("customer").is_in(list(keep))), file)
    config = config.model_copy(
        update={"targets": tuple(target.model_copy(update=targets) for target in config.targets)}
    )
    fit_run(config, AS_OF, executor=LOCAL)
    return config


def bundle_of(config: Config) -> dict[str, str]:
    [folder] = [path for path in (Path(config.out) / "_bundles").iterdir() if path.is_dir()]
    found = load_bundle(folder)
    return {
        "models": repr(found.models),
        "edges": repr(found.rfm_edges),
        "clusters": repr(found.clusters),
        "drift": repr(found.drift),
        "full": repr(found.engagement_full_at),
    }


def test_gd01_a_fit_learns_from_nobody_who_did_not_agree(tmp_path: Path) -> None:
    log = consents([(user, PROFILING, NO, YESTERDAY) for user in WITHDRAWN])
    everybody = set(range(1, USERS + 1))
    withheld = bundle_of(fitted(tmp_path / "withheld", log))
    # As if they had never been in the log of events.
    assert withheld == bundle_of(fitted(tmp_path / "without", log, everybody - {*WITHDRAWN}))
    assert withheld != bundle_of(fitted(tmp_path / "all", consents()))


@pytest.mark.slow
def test_a_withdrawal_after_the_day_of_the_fit_is_of_the_future(tmp_path: Path) -> None:
    later = consents([(user, PROFILING, NO, YESTERDAY + timedelta(days=1)) for user in WITHDRAWN])
    assert bundle_of(fitted(tmp_path / "later", later)) == bundle_of(fitted(tmp_path / "all", consents()))


@pytest.mark.slow
def test_gd02_a_target_learns_from_and_scores_those_who_agreed_to_its_purposes(tmp_path: Path) -> None:
    silent = set(range(3, 60, 4))
    log = consents([(user, MAILS, NO, YESTERDAY) for user in silent])
    config = fitted(tmp_path / "asking", log, purposes=(MAILS,))
    record, tables = scored(config, LOCAL)
    scores = tables["scores"]
    null = scores.filter(pl.col("propensity_buys").is_null())["user_id"].to_list()
    assert set(null) == silent
    assert scores.filter(pl.col("propensity_buys_class").is_null())["user_id"].to_list() == null
    # All else is there of them.
    assert scores.filter(pl.col("user_id").is_in(list(silent)))["engagement_score"].null_count() == 0
    assert record.counts["purposes"]["scores"] == {"buys": [MAILS]}
    # The model is that of a log that has only those who agreed.
    others = fitted(tmp_path / "others", log, set(range(1, USERS + 1)) - silent)
    assert bundle_models(config) == bundle_models(others)


def bundle_models(config: Config) -> list[str]:
    [folder] = [path for path in (Path(config.out) / "_bundles").iterdir() if path.is_dir()]
    return [model.text for model in load_bundle(folder).models]


@pytest.mark.slow
def test_other_purposes_need_another_fit(tmp_path: Path) -> None:
    config = fitted(tmp_path / "one", consents())
    assert config.consent is not None
    other = config.model_copy(update={"consent": config.consent.model_copy(update={"process": (PROFILING, MAILS)})})
    from engine.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        score_run(other, AS_OF, executor=LOCAL)
    assert "consent" in str(caught.value)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = fitted(
        tmp_path_factory.mktemp("asked") / "one", consents([(7, PROFILING, NO, YESTERDAY), (8, MAILS, NO, YESTERDAY)])
    )
    score_run(config, AS_OF, executor=LOCAL)
    return config


@pytest.mark.slow
def test_gd05_why_says_that_a_user_is_withheld(one: Config) -> None:
    from engine.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        why(one, AS_OF, "7")
    assert caught.value.hint == "Nothing was computed of this user: the user has not agreed to profiling."
    with pytest.raises(ConfigError) as unknown:
        why(one, AS_OF, "7777")
    assert "agreed" not in str(unknown.value.hint)


def test_why_says_that_a_segment_asks_for_more(one: Config) -> None:
    answer = why(one, AS_OF, "8", "mailable")
    [seen] = answer.segments
    assert seen.rule is not None
    assert seen.rule.holds
    assert seen.membership is None
    assert seen.problem == "the segment is only for users who agreed to email_marketing"


def test_explain_says_that_a_user_is_withheld(one: Config) -> None:
    found = explain_run(one, AS_OF, Question(("7", "9", "7777"), None, 3, "en"), executor=LOCAL)
    assert found.scores["user_id"].to_list() == [9]
    told = found.record.counts["warnings"]
    assert "nothing is computed of '7': the user has not agreed to profiling" in told
    assert any("1 of the asked users have no event before" in line for line in told)


@pytest.mark.slow
def test_features_of_accounts_are_those_of_users_who_agreed(tmp_path: Path) -> None:
    log = consents([(user, PROFILING, NO, YESTERDAY) for user in WITHDRAWN])
    tables = []
    for name, keep in (("withheld", None), ("without", set(range(1, USERS + 1)) - {*WITHDRAWN})):
        folder = tmp_path / name
        file = write(folder)
        file.write_text(file.read_text() + '\n[accounts]\ncolumn = "region"\n')
        saved(log, folder / "consents.parquet")
        if keep is not None:
            for part in (*folder.glob("shop/*.parquet"), *folder.glob("mail/*.parquet")):
                saved(pl.read_parquet(part).filter(pl.col("customer").is_in(list(keep))), part)
        config = configuration(file)
        fit_run(config, AS_OF, executor=LOCAL)
        score_run(config, AS_OF, executor=LOCAL)
        tables.append(published_tables(Path(config.out), AS_OF)["features"])
    assert any(name.startswith("account_") for name in tables[0].columns)
    assert same(*tables)


@pytest.mark.slow
def test_validation_leaves_out_who_is_withheld_by_then(tmp_path: Path) -> None:
    earlier = AS_OF - timedelta(days=14)
    config = configuration(write(tmp_path))
    fit_run(config, earlier, executor=LOCAL)
    score_run(config, earlier, executor=LOCAL)
    before = validate_run(config, earlier, executor=LOCAL)
    log = consents([(user, PROFILING, NO, YESTERDAY - timedelta(days=3)) for user in WITHDRAWN])
    saved(log, tmp_path / "consents.parquet")
    after = validate_run(config, earlier, executor=LOCAL)
    # They are told apart from those who are no longer in the log.
    assert after.record.counts["unknown"] == before.record.counts["unknown"]
    assert after.record.counts["withheld"] == before.record.counts["withheld"] + len(WITHDRAWN)
    row = after.matured[0].row()
    assert row["withheld"] == after.record.counts["withheld"]
    assert row["published"] == row["unscored"] + row["unknown"] + row["withheld"] + row["rows"]
    told = f"{row['withheld']} of {row['published']} published users are withheld since"
    assert any(told in line for line in after.record.counts["warnings"])
    # Nor is it counted what they did.
    assert 0 < after.matured[0].counts.with_event < before.matured[0].counts.with_event
